"""VQ-VAE of forced expirations: 512 samples of flow → 64 tokens x 128 → flow and its spread.

A curve is cut into 64 patches of 8 bins; residual convolutions between the patches encode it, a
grouped quantiser (product quantisation, Jegou et al. 2011) names each token by one narrow code a group, and
the decoder gives the mean flow of each bin, the SD of what the codes do not tell, and where the effort
begins and ends.

References: van den Oord et al. 2017 (VQ-VAE, EMA codebook); Zeghidour et al. 2021 (k-means start,
dead codes revived); Yu et al. 2022 (narrow codes); Seitzer et al. 2022 (beta-NLL); Elfwing et al. 2018 (SiLU).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiro_diffusion import distributed, grid
from spiro_diffusion.checkpoint import configured, load_checkpoint, rebuilt
from spiro_diffusion.errors import within
from spiro_diffusion.layers import Conv, Norm, zero_linear

TOKENS = 64
CHANNELS = 128
PATCH = grid.N_SAMPLES // TOKENS  # bins a token
FINE = 16  # channels of a bin in the decoder

FLOW_UNIT = 2.0  # L/s, about the SD of flow over a blow: what the network sees is near 1
VOLUME_UNIT = 2.0  # L
VOLUME_ERROR = 0.01  # L, the error of FEV1 and FVC that is aimed at
TAIL_FLOW = 0.1  # L/s: below it the asinh input is linear, so that the last second is seen too


@dataclass(frozen=True)
class VQVAEConfig:
    """What decides the shapes of the network."""

    width: int = 64  # channels between the patches
    blocks: int = 4  # residual blocks in the encoder and in the decoder
    groups: int = 2  # codes a token
    code_width: int = 4  # numbers a code stands for; few, so that codes are looked up by what matters (Yu et al. 2022)
    codes: int = 256  # entries of each group's codebook

    def __post_init__(self) -> None:
        within(self, width=(1, 4096), blocks=(0, 64), groups=(1, 64), code_width=(1, 128), codes=(1, 65536))


class Quantised(NamedTuple):
    vectors: Tensor  # (B, 64, groups x code_width) entries of the codebooks; gradients pass unchanged
    codes: Tensor  # (B, 64, groups) positions in the codebooks
    commitment: Tensor  # () mean squared distance of the encoder to its codes


class Decoded(NamedTuple):
    mean: Tensor  # (B, 512) mean flow while the effort lasts, L/s
    log_sd: Tensor  # (B, 512) logarithm of the SD of flow around it, L/s
    begun: Tensor  # (B, 512) logit that the effort has begun by this bin
    going: Tensor  # (B, 512) logit that the effort has not ended before this bin

    @property
    def flow(self) -> Tensor:
        """The effort, (B, 512) L/s: zero before it begins and after it ends, when a spirometer counts nothing.

        Both bins are the likeliest ones given all 512 logits, so that a doubt about one bin ends no effort: the
        likelihood of a change at a bin is the sum of the logits on its side of it.
        """
        begin = F.pad(self.begun.cumsum(1), (1, 0)).argmin(1, keepdim=True)
        end = F.pad(self.going.cumsum(1), (1, 0)).argmax(1, keepdim=True)
        bins = torch.arange(self.mean.shape[1], device=self.mean.device)
        return self.mean * ((bins >= begin) & (bins < end))


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


class Block(nn.Module):
    """Residual block over patches: (B, 64, width) → the same. Starts as the identity."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.spread = Conv(width, width, dilation=dilation)
        self.mix = zero_linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.silu(self.spread(self.norm(x, silu=True))))


def _blocks(width: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, 2 ** (i % 4)) for i in range(number)))  # dilation 1, 2, 4, 8: the whole blow


class VQVAE(nn.Module):
    """Encoder, quantiser, decoder; flow (B, 512) in L/s in and out."""

    widths_s: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("widths_s", torch.tensor(grid.WIDTHS_S, dtype=torch.float32), persistent=False)
        self.patch = nn.Linear(3 * PATCH, width)
        self.encoder = _blocks(width, config.blocks)
        self.narrow = nn.Linear(width, config.groups * config.code_width)
        self.quantiser = Quantiser(config.groups, config.code_width, config.codes)
        self.widen = nn.Linear(
            config.groups * config.code_width, CHANNELS, bias=False
        )  # codes → the token that is kept
        nn.init.orthogonal_(self.widen.weight)
        self.from_tokens = nn.Linear(CHANNELS, width)
        self.decoder = _blocks(width, config.blocks)
        self.straight = nn.Linear(width, PATCH)  # a linear way out, on which the rest improves
        self.fine = nn.Linear(width, FINE * PATCH)
        self.smooth = Conv(FINE, FINE)  # over bins, so that patches join
        self.out = Conv(FINE, 4)

    def volume(self, flow: Tensor) -> Tensor:
        """Volume at each bin's end, L: (B, 512)."""
        return (flow * self.widths_s).cumsum(-1)

    def narrowed(self, flow: Tensor) -> Tensor:
        """Encoder output before the quantiser, (B, 64, groups x code_width)."""
        seen = torch.stack(
            [flow / FLOW_UNIT, self.volume(flow) / VOLUME_UNIT, torch.asinh(flow / TAIL_FLOW) / 3], dim=-1
        )  # (B, 512, 3)
        hidden = self.encoder(self.patch(seen.reshape(len(flow), TOKENS, -1)))  # (B, 64, width)
        return self.narrow(hidden).float()

    def codes(self, flow: Tensor) -> Tensor:
        """flow (B, 512) → codes (B, 64, groups)."""
        return self.quantiser(self.narrowed(flow)).codes

    def encode(self, flow: Tensor) -> Tensor:
        """flow (B, 512) → tokens (B, 64, 128)."""
        return self.widen(self.quantiser(self.narrowed(flow)).vectors)

    def narrower(self) -> Tensor:
        """The inverse of `widen`, (128, groups x code_width): tokens times it are what they were made from."""
        return torch.linalg.pinv(self.widen.weight.float()).T

    def snap(self, tokens: Tensor, narrower: Tensor | None = None) -> Tensor:
        """The tokens of codes that are nearest to any tokens (B, 64, 128); who snaps often passes `narrower()`."""
        narrow = tokens.float() @ (self.narrower() if narrower is None else narrower)
        return self.widen(self.quantiser(narrow).vectors)

    def decode(self, tokens: Tensor) -> Decoded:
        """Tokens (B, 64, 128), taken as they are → what is read from them, (B, 512) each."""
        hidden = self.decoder(self.from_tokens(tokens))  # (B, 64, width)
        fine = F.silu(self.fine(hidden)).reshape(tokens.shape[0], -1, FINE)  # (B, 512, FINE)
        mean, spread, begun, going = self.out(F.silu(self.smooth(fine))).float().unbind(-1)
        mean = mean + self.straight(hidden).float().flatten(1)
        log_sd = 4.0 * torch.tanh(spread / 4.0) - 3.0  # SD between 1 mL/s and 2.7 L/s
        return Decoded(mean * FLOW_UNIT, log_sd, begun, going)

    def forward(
        self, flow: Tensor, quantise: bool = True, noise: Tensor | None = None
    ) -> tuple[Decoded, Quantised | None]:
        narrow = self.narrowed(flow)
        quantised = self.quantiser(narrow) if quantise else None
        vectors = quantised.vectors if quantised else narrow
        if noise is not None:  # in units of the codes' SD, so that the encoder cannot outgrow it
            vectors = vectors + noise * narrow.std()
        return self.decode(self.widen(vectors)), quantised


class Losses(NamedTuple):
    """Parts of the training loss, each () and already weighted."""

    total: Tensor
    flow: Tensor
    volume: Tensor
    ends: Tensor
    commitment: Tensor


@dataclass(frozen=True)
class LossWeights:
    """What the parts count beside the flow's likelihood."""

    volume: float
    commitment: float
    ends: float = 1.0
    sd_power: float = 0.5  # beta of beta-NLL


class Lasting(NamedTuple):
    """Where a real effort lies among the bins, (B, 512) each, 0 or 1."""

    begun: Tensor  # 1 from the first bin with flow on
    going: Tensor  # 1 up to the last bin with flow

    @classmethod
    def of(cls, flow: Tensor) -> "Lasting":
        """Of real curves (B, 512)."""
        there = flow.ne(0)
        return cls(there.cummax(1).values.to(flow.dtype), there.flip(1).cummax(1).values.flip(1).to(flow.dtype))


def reconstruction_loss(
    model: VQVAE,
    flow: Tensor,
    target: Tensor,
    quantise: bool,
    weights: LossWeights,
    noise: Tensor | None = None,
) -> Losses:
    """beta-NLL of the flow while the effort lasts (each bin weighed by its own spread, so that the slow tail
    counts), Huber loss of the volume in units of 10 mL, cross-entropy of begin and end, commitment.

    `target` (B, 512) is what is to be read back from curves `flow`: the same before the spirometer's counter
    (`uncounted.before`), whose rounding no token needs to hold. `noise` on the codes makes the encoder give what
    matters most room, and near codes near curves: what the diffusion gets a little wrong stays small.
    """
    decoded, quantised = model(flow, quantise, noise)
    lasting, log_sd = Lasting.of(flow), decoded.log_sd
    there = lasting.begun * lasting.going
    nll = 0.5 * ((target - decoded.mean) * (-log_sd).exp()) ** 2 + log_sd
    flow_loss = (there * nll * (weights.sd_power * 2 * log_sd.detach()).exp()).mean()
    volume_error = (model.volume(target) - model.volume(there * decoded.mean)) / VOLUME_ERROR
    volume = weights.volume * F.huber_loss(volume_error, torch.zeros_like(volume_error), delta=5.0)
    ends = weights.ends * (
        F.binary_cross_entropy_with_logits(decoded.begun, lasting.begun)
        + F.binary_cross_entropy_with_logits(decoded.going, lasting.going)
    )
    commitment = weights.commitment * quantised.commitment if quantised else torch.zeros_like(flow_loss)
    return Losses(flow_loss + volume + ends + commitment, flow_loss, volume, ends, commitment)


def load_vqvae(path: Path) -> VQVAE:
    """The trained VQ-VAE, in eval mode on the CPU.

    Raises SpiroError where the checkpoint is missing, damaged or of another kind.
    """
    tensors, config = load_checkpoint(path, "vqvae")
    network = configured(VQVAEConfig, config, "network", path)
    return rebuilt(lambda: VQVAE(network), tensors, path)
