"""Grouped vector quantisation whose codebooks follow the data by exponential averages."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from spiro_diffusion.compute import distributed


class Quantised(NamedTuple):
    vectors: Tensor  # (B, 64, groups x code_width) entries of the codebooks; gradients pass unchanged
    codes: Tensor  # (B, 64, groups) positions in the codebooks
    commitment: Tensor  # () mean squared distance of the encoder to its codes


class Quantiser(nn.Module):
    """Grouped nearest-code quantiser whose codebooks follow the data by exponential averages.

    In training mode each call moves the codebooks; codes that are hardly used take the place of
    vectors of the batch. In eval mode it is a fixed map, and quantising twice changes nothing.
    """

    DECAY = 0.99  # of the averages, as in van den Oord et al. 2017
    DEAD = 0.02  # a code used less often than this share of an even use is revived; half of all tokens are silence

    codebook: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, groups: int, code_width: int, codes: int) -> None:
        super().__init__()
        self.groups, self.code_width, self.codes = groups, code_width, codes
        start = torch.randn(groups, codes, code_width)
        self.register_buffer("codebook", start)
        self.register_buffer("uses", torch.ones(groups, codes))
        self.register_buffer("sums", start.clone())

    def nearest(self, vectors: Tensor) -> Tensor:
        """Codes (groups, N) nearest to vectors (groups, N, d)."""
        size = (self.codebook**2).sum(-1)[:, None]
        return torch.baddbmm(size, vectors, self.codebook.transpose(1, 2), alpha=-2).argmin(-1)

    def _chosen(self, nearest: Tensor, dtype: torch.dtype) -> Tensor:
        """Codes (G, N) → one-hot (G, N, K): sums by matrix product have one order, unlike atomic adds on a GPU."""
        return (nearest[..., None] == torch.arange(self.codes, device=nearest.device)).to(dtype)

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, 64, groups) → vectors (B, 64, groups x code_width)."""
        picked = self._picked(codes.reshape(-1, self.groups).T)
        return picked.transpose(0, 1).reshape(*codes.shape[:-1], -1)

    def forward(self, tokens: Tensor) -> Quantised:
        tokens = tokens.float()
        vectors = tokens.detach().reshape(-1, self.groups, self.code_width).transpose(0, 1)  # (G, N, d)
        nearest = self.nearest(vectors)
        codes = nearest.transpose(0, 1).reshape(*tokens.shape[:-1], self.groups)
        quantised = self.lookup(codes)
        if self.training:
            self._follow(vectors, nearest)
        commitment = ((tokens - quantised) ** 2).mean()
        return Quantised(quantised + (tokens - tokens.detach()), codes, commitment)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, nearest: Tensor) -> None:
        chosen = self._chosen(nearest, vectors.dtype)
        uses = distributed.total(chosen.sum(1))
        sums = distributed.total(chosen.transpose(1, 2) @ vectors)
        self.uses.lerp_(uses, 1 - self.DECAY)
        self.sums.lerp_(sums, 1 - self.DECAY)
        self.codebook.copy_(self.sums / self.uses.clamp_min(1e-3)[..., None])
        # half of all tokens are silence: what is revived must be what the codebook serves worst
        missed = ((vectors - self._picked(nearest)) ** 2).sum(-1)  # (G, N)
        worst = missed.topk(min(self.codes, missed.shape[1]), dim=1).indices
        fresh = vectors.gather(1, worst[..., None].expand(-1, -1, self.code_width))
        fresh = F.pad(fresh, (0, 0, 0, self.codes - fresh.shape[1]))
        fresh = distributed.from_first(fresh)
        even = self.uses.mean(1, keepdim=True)
        dead = self.uses < self.DEAD * even
        little = 2 * self.DEAD * even.expand_as(self.uses)  # it lives on only if it is used soon
        self.codebook.copy_(torch.where(dead[..., None], fresh, self.codebook))
        self.sums.copy_(torch.where(dead[..., None], fresh * little[..., None], self.sums))
        self.uses.copy_(torch.where(dead, little, self.uses))

    def _picked(self, nearest: Tensor) -> Tensor:
        """Codes (G, N) → their vectors (G, N, code_width)."""
        return self.codebook.gather(1, nearest[..., None].expand(-1, -1, self.code_width))

    @torch.no_grad()
    def start(self, tokens: Tensor, generator: torch.Generator, iterations: int = 10) -> None:
        """k-means (Lloyd) of encoder outputs (B, 64, groups x code_width) as the first codebooks."""
        vectors = tokens.float().reshape(-1, self.groups, self.code_width).transpose(0, 1)
        picked = torch.randperm(vectors.shape[1], generator=generator, device=vectors.device)[: 64 * self.codes]
        vectors = vectors[:, picked]
        centres = vectors[:, : self.codes]
        if centres.shape[1] < self.codes:  # fewer vectors than codes: repeat them, apart by a little
            centres = centres.repeat(1, -(-self.codes // centres.shape[1]), 1)[:, : self.codes]
            noise = torch.randn(centres.shape, generator=generator, device=centres.device)
            centres = centres + 1e-3 * noise
        self.codebook.copy_(centres)
        uses = torch.ones_like(self.uses)
        for _ in range(iterations):
            chosen = self._chosen(self.nearest(vectors), vectors.dtype)
            uses = chosen.sum(1)
            means = chosen.transpose(1, 2) @ vectors / uses.clamp_min(1)[..., None]
            self.codebook.copy_(torch.where(uses[..., None] > 0, means, self.codebook))
        self.uses.copy_(uses.clamp_min(1))
        self.sums.copy_(self.codebook * self.uses[..., None])


def codebook_use(codes: NDArray, size: int) -> dict[str, float]:
    """Perplexity and share in use of codes (n, tokens, groups), means of the groups' codebooks of `size` entries."""
    flat = codes.reshape(-1, codes.shape[-1])
    counts = np.stack([np.bincount(column, minlength=size) for column in flat.T])
    share = counts / counts.sum(axis=1, keepdims=True)
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return {"perplexity": float(np.exp(entropy).mean()), "codes_in_use": float((counts > 0).mean())}
