"""The training loop: a killed run ends as an unbroken one, and nobody writes beside another."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from spiro_diffusion.compute import kernels
from spiro_diffusion.compute.runtime import Runtime, RuntimeParams, configure
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.models.layers import Conv
from spiro_diffusion.training import loop
from spiro_diffusion.training.log import Log

CPU = Runtime(torch.device("cpu"), torch.float32, save_every=0.0)
RECIPE = loop.Recipe(
    epochs=6, batch=8, lr=0.3, warmup=0.1, weight_decay=0.0, clip=1.0, ema=0.9, validate_every=2, seed=3
)


class Line:
    """Fit y = 2 x with noise on x, so that batches and draws both matter."""

    def __init__(self, die_in_epoch: int | None = None, rate: float = 1.0) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = nn.Linear(1, 1)
        self.x = torch.linspace(-1, 1, 40)[:, None]
        self.die_in_epoch, self.rate = die_in_epoch, rate
        self.started: list[int] = []

    def start_epoch(self, epoch: int, generator: torch.Generator) -> bool:
        if epoch == self.die_in_epoch:
            raise KeyboardInterrupt
        self.started.append(epoch)
        return False

    def draw(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        return (0.1 * torch.randn((rows, 1), generator=generator),)

    def loss(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        x = self.x[rows] + draws[0]
        loss = self.rate * ((self.model(x) - 2 * self.x[rows]) ** 2).mean()
        return {"loss": loss, "bias": x.mean()}

    def validate(self) -> dict[str, float]:
        return {"score": ((self.model(self.x) - 2 * self.x) ** 2).mean().item()}


class Kernel(Line):
    """The same with a convolution whose weights do not lie in memory as their shape says."""

    def __init__(self, die_in_epoch: int | None = None) -> None:
        super().__init__(die_in_epoch)
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 6), nn.Unflatten(1, (3, 2)), Conv(2, 2), nn.Flatten(1), nn.Linear(6, 1))


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fit(task: Line, run: str = "run", log: Log | None = None) -> loop.Fitted:
    return loop.fit(task, RECIPE, torch.arange(40), CPU, "toy", run, log)


def test_it_learns_and_keeps_the_best_validated_weights() -> None:
    fitted = fit(Line())
    scores = [h["score"] for h in fitted.history if "score" in h]
    assert len(scores) == 3
    task = Line()
    task.model.load_state_dict(fitted.weights)
    assert task.validate()["score"] == pytest.approx(min(scores))
    assert min(scores) < 0.2


@pytest.mark.parametrize("kind", [Line, Kernel])
def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_bytes(kind: type[Line]) -> None:
    unbroken = fit(kind())
    loop.done("run", "toy")
    with pytest.raises(KeyboardInterrupt):
        fit(kind(die_in_epoch=4))
    again = kind()
    resumed = fit(again)
    assert again.started == [4, 5]
    assert resumed.history == unbroken.history
    assert all(torch.equal(resumed.weights[k], unbroken.weights[k]) for k in unbroken.weights)
    once_more = kind()
    assert fit(once_more).history == unbroken.history, "killed before its stage had written the model"
    assert once_more.started == []
    loop.done("run", "toy")
    assert not list(Path(".scratch/toy").glob("*.safetensors")), "a finished run leaves no state behind"


def test_another_run_does_not_go_on_from_this_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(Line(die_in_epoch=4))
    other = Line()
    fit(other, run="other params")
    assert other.started == list(range(6))


def test_a_second_writer_is_refused() -> None:
    Path(".scratch/toy").mkdir(parents=True)
    with (
        artifacts.locked(Path(".scratch/toy/lock"), ""),
        pytest.raises(SpiroError, match="another run is training here"),
    ):
        fit(Line())


def test_a_loss_that_is_not_finite_ends_the_training() -> None:
    with pytest.raises(SpiroError, match="training diverged in epoch 0: the loss is nan; lower the learning rate"):
        fit(Line(rate=float("nan")))


def test_the_log_is_the_same_after_a_resume_and_without_dvclive(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(folder: str) -> dict[str, str]:
        return {p.relative_to(folder).as_posix(): p.read_text() for p in Path(folder).rglob("*.tsv")}

    log = Log(Path("a"))
    fit(Line(), log=log)
    log.close()
    loop.done("run", "toy")
    log = Log(Path("b"))
    with pytest.raises(KeyboardInterrupt):
        fit(Line(die_in_epoch=3), log=log)
    log = Log(Path("b"))
    fit(Line(), log=log)
    log.close()
    assert Path("a/metrics.json").read_bytes() == Path("b/metrics.json").read_bytes()
    loop.done("run", "toy")
    monkeypatch.setitem(sys.modules, "dvclive", None)
    log = Log(Path("c"))
    fit(Line(), log=log)
    log.close()
    assert set(files("a")) == {f"plots/metrics/{name}.tsv" for name in ("loss", "bias", "score")}
    assert files("a") == files("b") == files("c")
    assert len(files("a")["plots/metrics/loss.tsv"].splitlines()) == 1 + RECIPE.epochs


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [loop.learning_rate(step, 100, RECIPE) for step in range(100)]
    assert max(rates) == pytest.approx(RECIPE.lr)
    assert rates.index(max(rates)) in (9, 10)
    assert rates[-1] < 0.001 * RECIPE.lr


def test_the_settings_of_a_runtime_hold_while_it_computes_and_no_longer() -> None:
    def settings() -> tuple[int, bool, bool]:
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), kernels._allowed.get()

    before = settings()
    place = configure(RuntimeParams(device="cpu", threads=before[0] + 1, deterministic=True, kernels="off"))
    assert settings() == before
    with place.applied():
        assert settings() == (before[0] + 1, True, False)
    assert settings() == before


def test_the_state_of_a_training_outlives_an_edit_of_what_it_does_not_run_with(tmp_path: Path) -> None:
    package = Path(shutil.copytree(Path(loop.__file__).parents[1], tmp_path / "spiro_diffusion"))

    def run() -> str:
        return loop.fingerprint(RECIPE, [], package / "pipeline/train_vqvae.py")

    def edit(file: str) -> None:
        (package / file).write_text((package / file).read_text() + "# edited\n")

    first = run()
    for file in (
        "reporting/report.py",
        "cli/draw.py",
        "evaluation/judge.py",
        "models/unet.py",
        "pipeline/train_cldm.py",
    ):
        edit(file)
    assert run() == first
    for file in ("models/vqvae.py", "training/loop.py", "physiology/time_grid.py", "pipeline/train_vqvae.py"):
        before = run()
        edit(file)
        assert run() != before, file
