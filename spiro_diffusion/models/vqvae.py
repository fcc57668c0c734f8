"""VQ-VAE of forced expirations: 512 samples of flow → 64 tokens x 128 → flow and its spread.

A curve is cut into 64 patches of 8 bins; residual convolutions between the patches encode it, a
grouped quantiser (product quantisation, Jegou et al. 2011) names each token by one narrow code a group, and
the decoder gives the mean flow of each bin, the SD of what the codes do not determine, and where the effort
begins and ends.

References: van den Oord et al. 2017 (VQ-VAE, EMA codebook); Zeghidour et al. 2021 (k-means start,
dead codes revived); Yu et al. 2022 (narrow codes); Seitzer et al. 2022 (beta-NLL); Elfwing et al. 2018 (SiLU).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiro_diffusion.core.errors import within
from spiro_diffusion.models.checkpoint import Constants, load_checkpoint, rebuilt, save_checkpoint
from spiro_diffusion.models.header import configured
from spiro_diffusion.models.layers import Conv, Norm, activated, zero_linear
from spiro_diffusion.models.quantiser import Quantised, Quantiser
from spiro_diffusion.physiology import time_grid

PATCH = 8  # bins a token
TOKENS = time_grid.N_SAMPLES // PATCH
CHANNELS = 128
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


class Block(nn.Module):
    """Residual block over patches: (B, 64, width) → the same. Starts as the identity."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.spread = Conv(width, width, dilation=dilation)
        self.mix = zero_linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(activated(self.spread(self.norm(x, silu=True))))


def _blocks(width: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, 2 ** (i % 4)) for i in range(number)))  # dilation 1, 2, 4, 8: the whole blow


class VQVAE(nn.Module):
    """Encoder, quantiser, decoder; flow (B, 512) in L/s in and out."""

    widths_s: Tensor

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.register_buffer("widths_s", torch.tensor(time_grid.WIDTHS_S, dtype=torch.float32), persistent=False)
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
        fine = activated(self.fine(hidden)).reshape(tokens.shape[0], -1, FINE)  # (B, 512, FINE)
        mean, spread, begun, going = self.out(activated(self.smooth(fine))).float().unbind(-1)
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
    (`dequantise.before`), whose rounding no token needs to hold. `noise` on the codes makes the encoder give what
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


def constants() -> Constants:
    """What decides a curve beside weights and shapes."""
    units = {"flow": FLOW_UNIT, "volume": VOLUME_UNIT, "tail_flow": TAIL_FLOW}
    return {"time_grid": {"edges_s": time_grid.EDGES_S}, "patch": PATCH, "units": units}


def save_vqvae(path: Path, config: VQVAEConfig, weights: dict[str, Tensor]) -> None:
    """Write the model."""
    save_checkpoint(path, "vqvae", weights, {"network": asdict(config)}, constants())


def load_vqvae(path: Path) -> VQVAE:
    """The trained VQ-VAE, in eval mode on the CPU.

    Raises SpiroError where the checkpoint is missing, damaged, of another kind or of code with other constants.
    """
    tensors, config = load_checkpoint(path, "vqvae", constants())
    network = configured(VQVAEConfig, config, "network", path)
    return rebuilt(lambda: VQVAE(network), tensors, path)
