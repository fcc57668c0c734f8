"""Stage train_vqvae: train the VQ-VAE that encodes a curve as 64 tokens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spiro_diffusion.compute import distributed, runtime
from spiro_diffusion.dataset.raw_curves import read_table
from spiro_diffusion.dataset.signals import load_rows, pieces, rows_of
from spiro_diffusion.dataset.splits import rows_of_part
from spiro_diffusion.models.vqvae import VQVAE, LossWeights, VQVAEConfig, save_vqvae
from spiro_diffusion.physiology import dequantise, time_grid
from spiro_diffusion.training import loop
from spiro_diffusion.training.autoencoding import AutoencodingRecipe, VQVAETask
from spiro_diffusion.training.log import Log


@dataclass(frozen=True)
class Params(loop.Recipe):
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
    def autoencoding(self) -> AutoencodingRecipe:
        """The part that the task reads."""
        weights = LossWeights(self.volume_weight, self.commitment_weight)
        return AutoencodingRecipe(self.warmup_epochs, self.token_noise, weights)

    @property
    def network(self) -> VQVAEConfig:
        """The part that decides shapes."""
        return VQVAEConfig(self.width, self.blocks, self.groups, self.code_width, self.codes)


def train_vqvae(params: Params, *, signals: Path, curves: Path, vqvae: Path, metrics: Path) -> None:
    """Train the VQ-VAE on the train participants; keep the epoch that reads the curves of those to choose by best."""
    run = loop.fingerprint(params, [signals, curves], Path(__file__))
    with runtime.start().exact().applied() as compute:
        table = read_table(curves, ["seqn", "btps"])
        learned = np.sort(np.concatenate([rows_of_part(table, "train"), rows_of_part(table, "choosing")]))
        counted = np.empty((len(learned), time_grid.N_SAMPLES), dtype=np.float32)
        for part, some in pieces(load_rows(signals, len(table), (time_grid.N_SAMPLES,)), learned):
            counted[part] = some
        table = table.iloc[learned]
        target = torch.from_numpy(dequantise.before(counted, table["btps"].to_numpy())).to(compute.device)
        flow = torch.from_numpy(counted).to(compute.device)
        torch.manual_seed(params.seed)
        model = VQVAE(params.network).to(compute.device)
        train, choosing = rows_of(table, "train", compute.device), rows_of(table, "choosing", compute.device)
        task = VQVAETask(model, flow, target, train, choosing, params.autoencoding)
        log = Log(metrics)
        fitted = loop.fit(task, params, train, compute, "train_vqvae", run, log)
        if distributed.rank() == 0:
            save_vqvae(vqvae, params.network, fitted.weights)
        log.close()
        loop.done(run, "train_vqvae")
