"""Stage train_vqvae: teach the VQ-VAE to write a curve as 64 tokens and read it back."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spiro_diffusion import codebook, distributed, grid, runtime, spirometry, training, uncounted
from spiro_diffusion.batching import batches
from spiro_diffusion.checkpoint import save_checkpoint
from spiro_diffusion.curves import read_table
from spiro_diffusion.log import Log
from spiro_diffusion.signals import load_rows, pieces, rows_of
from spiro_diffusion.stage import run_stage
from spiro_diffusion.vqvae import TOKENS, VQVAE, LossWeights, VQVAEConfig, reconstruction_loss


@dataclass(frozen=True)
class Params(training.Recipe):
    """The section `train_vqvae`: the recipe, the network, the loss."""

    warmup_epochs: int  # epochs without the quantiser, before k-means
    volume_weight: float
    commitment_weight: float
    token_noise: float  # SD of noise on the tokens in training, in units of theirs
    width: int
    blocks: int
    groups: int
    code_width: int
    codes: int

    def __post_init__(self) -> None:
        assert self.network  # whose values are checked before anything is read

    @property
    def weights(self) -> LossWeights:
        """Of the parts of the loss."""
        return LossWeights(self.volume_weight, self.commitment_weight)

    @property
    def network(self) -> VQVAEConfig:
        """The part that decides shapes."""
        return VQVAEConfig(self.width, self.blocks, self.groups, self.code_width, self.codes)


class VQVAETask:
    """Reconstruction of curves; see `training.Task`."""

    START_CURVES = 2048  # curves whose tokens start the codebooks
    BATCH = 64  # curves a validation step: larger pieces leave holes in memory that nothing fills

    def __init__(
        self, model: VQVAE, flow: Tensor, target: Tensor, train: Tensor, validation: Tensor, params: Params
    ) -> None:
        """Curves `flow` (n, 512) and what is to be read back, `target` (n, 512), see `uncounted.before`."""
        self.model, self.flow, self.target, self.params = model, flow, target, params
        self.train, self.validation = train, validation
        self.quantise = False

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        self.quantise = epoch >= self.params.warmup_epochs
        if epoch == self.params.warmup_epochs:
            rows = self.train[torch.randperm(len(self.train), generator=generator, device=self.train.device)]
            with torch.no_grad():
                self.model.quantiser.start(self.model.narrowed(self.flow[rows[: self.START_CURVES]]), generator)
        return epoch == self.params.warmup_epochs

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        if not self.params.token_noise:
            return ()
        shape = (rows, TOKENS, self.params.groups * self.params.code_width)
        return (self.params.token_noise * torch.randn(shape, generator=generator, device=self.flow.device),)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        noise = draws[0] if draws else None
        curves = self.flow[rows], self.target[rows]
        losses = reconstruction_loss(self.model, *curves, self.quantise, self.params.weights, noise)
        parts = losses._asdict()
        return {"loss": parts.pop("total")} | parts

    def validate(self) -> dict[str, float]:
        errors, codes = [], []
        for part in batches(len(self.validation), self.BATCH):
            flow = self.flow[self.validation[part]]
            decoded, quantised = self.model(flow, self.quantise)
            errors.append(_errors(flow.cpu().numpy(), decoded.flow.cpu().numpy()))
            if quantised is not None:
                codes.append(quantised.codes.cpu())
        absolute = {name: np.concatenate([some[name] for some in errors]) for name in errors[0]}
        figures = {"flow_rmse": float(np.sqrt(absolute.pop("flow_squared").mean()))}
        figures |= {name: float(np.nanmedian(each)) for name, each in absolute.items()}
        # before the codebooks are there nothing may be kept as the best
        figures["score"] = (
            (figures["fev1_ml"] + figures["fvc_ml"] + 10 * (figures["pef_percent"] + figures["fef2575_percent"]))
            if codes
            else 1e9
        )
        if codes:
            figures |= codebook.use(torch.cat(codes).numpy(), self.params.codes)
        return figures


def _errors(real: np.ndarray, read: np.ndarray) -> dict[str, np.ndarray]:
    """Absolute errors of the indices, and the mean squared error of flow, of each of n curves (n, 512)."""
    a = spirometry.indices(grid.to_10ms(real))
    b = spirometry.indices(grid.to_10ms(read))
    return {
        "fev1_ml": np.abs(a.fev1 - b.fev1) * 1000,
        "fvc_ml": np.abs(a.fvc - b.fvc) * 1000,
        "pef_percent": np.abs(b.pef / a.pef - 1) * 100,
        "fef2575_percent": np.abs(b.fef2575 / a.fef2575 - 1) * 100,
        "flow_squared": ((real - read) ** 2 * grid.WIDTHS_S).sum(1) / grid.WIDTHS_S.sum(),
    }


def train_vqvae(params: Params, *, signals: Path, curves: Path, vqvae: Path, metrics: Path) -> None:
    """Train the VQ-VAE on the train participants; keep the epoch that reads validation curves best."""
    place = runtime.start().exact()
    run = training.fingerprint(params, [signals, curves])
    table = read_table(curves, ["split", "btps"])
    learned = np.flatnonzero(table["split"].isin(["train", "validation"]))  # test participants are not looked at
    counted = np.empty((len(learned), grid.N_SAMPLES), dtype=np.float32)
    for part, some in pieces(load_rows(signals, len(table), (grid.N_SAMPLES,)), learned):
        counted[part] = some
    table = table.iloc[learned]
    target = torch.from_numpy(uncounted.before(counted, table["btps"].to_numpy())).to(place.device)
    flow = torch.from_numpy(counted).to(place.device)
    torch.manual_seed(params.seed)
    model = VQVAE(params.network).to(place.device)
    train = rows_of(table, "train", place.device)
    task = VQVAETask(model, flow, target, train, rows_of(table, "validation", place.device), params)
    log = Log(metrics)
    fitted = training.fit(task, params, train, place, "train_vqvae", run, log)
    if distributed.rank() == 0:
        save_checkpoint(vqvae, "vqvae", fitted.weights, {"network": asdict(params.network)})
    log.close()
    training.done(run, "train_vqvae")


if __name__ == "__main__":
    runtime.spread("stages.train_vqvae", sys.argv[1:])
    run_stage(train_vqvae, Params)
