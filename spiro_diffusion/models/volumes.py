"""Bend a drawn curve so that it has the volumes that were drawn for it.

The facts of an effort say its FEV0.5, FEV1, FEV3, FVC and FEF25-75; the curve that is drawn for them misses them by
some per cent, which hardly changes one curve and would hide how little the efforts of one person differ. So the expired
volume is bent by a smooth rising function of itself, a monotone cubic (Fritsch and Butland 1984) through these volumes:
flow is scaled by a factor that changes slowly.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spiro_diffusion.models.layers import table
from spiro_diffusion.physiology import time_grid

EDGES_S = tuple(time_grid.EDGES_S.tolist())
TIMES_S = (0.5, 1.0, 3.0)  # after time zero: where volumes are met, and at the end
LEAST = 0.03  # of the whole volume: steps below it, drawn or target, are left as they are
MOST = 1.5  # by which a step is stretched or shrunk at most


class TargetVolumes(NamedTuple):
    """Volumes and flow that a curve must have, (B,) each."""

    fev05: Tensor  # L
    fev1: Tensor
    fev3: Tensor
    fvc: Tensor
    fef2575: Tensor  # L/s


def with_volumes(flow: Tensor, target: TargetVolumes) -> Tensor:
    """Flow (B, bins) in L/s bent to the target volumes, then to the time from a quarter to three quarters of FVC."""
    flow, target = flow.double(), TargetVolumes(*(value.double() for value in target))  # sums alike on any machine
    edges = table(EDGES_S, flow.dtype, flow.device)
    times = torch.zeros_like(flow[:, : len(TIMES_S)]) + table(TIMES_S, flow.dtype, flow.device)
    values = torch.stack(target[:3], dim=1)
    bent = _bent(flow, edges, times, values, target.fvc)
    quarter = _reached(_volume(bent, edges), edges, 0.25 * target.fvc)
    last = quarter + 0.5 * target.fvc / target.fef2575.clamp(min=1e-3)
    times, order = torch.cat([times, last.clamp(max=19.0)[:, None]], dim=1).sort(dim=1)
    values = torch.cat([values, 0.75 * target.fvc[:, None]], dim=1).gather(1, order)
    return _bent(bent, edges, times, values, target.fvc).float()


def _bent(flow: Tensor, edges: Tensor, times: Tensor, values: Tensor, fvc: Tensor) -> Tensor:
    """Flow (B, bins) bent to have expired `values` (B, k) in L at the times (B, k) in s, which rise, and FVC in all."""
    volume = _volume(flow, edges)
    end, zero = volume[:, -1:].clamp(min=1e-3), torch.zeros_like(volume[:, :1])
    steps = _rises(torch.cat([zero, _at(volume, edges, times), volume[:, -1:]], dim=1)).clamp(min=0)
    target = _rises(torch.cat([zero, values, fvc[:, None]], dim=1))
    whole = (fvc[:, None] / end).clamp(1 / MOST, MOST)
    small = torch.minimum(steps / end, target / fvc[:, None]) < LEAST
    factor = torch.where(small, whole, target / steps.clamp(min=1e-6)).clamp(1 / MOST, MOST)  # mean of each step
    inner = 2 * factor[:, 1:] * factor[:, :-1] / (factor[:, 1:] + factor[:, :-1])
    slopes = torch.cat([factor[:, :1], inner, factor[:, -1:]], dim=1)
    knots = torch.cat([zero, steps.cumsum(1)], dim=1)
    middle = (volume[:, 1:] + volume[:, :-1]) / 2
    step = (middle[:, :, None] > knots[:, None, 1:-1]).sum(2)  # (B, bins): between which volumes
    u = ((middle - knots.gather(1, step)) / steps.gather(1, step).clamp(min=1e-6)).clamp(0, 1)
    first, second, mean = slopes.gather(1, step), slopes.gather(1, step + 1), factor.gather(1, step)
    slope = first + u * (6 * mean - 4 * first - 2 * second + 3 * u * (first + second - 2 * mean))
    return torch.where(flow > 0, flow * slope, flow)


def _volume(flow: Tensor, edges: Tensor) -> Tensor:
    """Volume (B, edges) in L of flow (B, bins)."""
    return torch.cat([torch.zeros_like(flow[:, :1]), (flow * (edges[1:] - edges[:-1])).cumsum(1)], dim=1)


def _rises(values: Tensor) -> Tensor:
    """Steps (B, k - 1) between values (B, k)."""
    return values[:, 1:] - values[:, :-1]


def _at(volume: Tensor, edges: Tensor, times: Tensor) -> Tensor:
    """Volume (B, k) at times (B, k), on straight lines between the edges."""
    right = (edges < times[..., None]).sum(2).clamp(1, len(edges) - 1)
    low, high = volume.gather(1, right - 1), volume.gather(1, right)
    share = (times - edges[right - 1]) / (edges[right] - edges[right - 1])
    return low + share.clamp(0, 1) * (high - low)


def _reached(volume: Tensor, edges: Tensor, level: Tensor) -> Tensor:
    """When (B,) the volume (B, edges) reaches a level (B,), s."""
    right = (volume < level[:, None]).sum(1, keepdim=True).clamp(1, len(edges) - 1)
    low, high = volume.gather(1, right - 1)[:, 0], volume.gather(1, right)[:, 0]
    left, width = edges[right[:, 0] - 1], edges[right[:, 0]] - edges[right[:, 0] - 1]
    return left + width * ((level - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
