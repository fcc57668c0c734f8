"""The portable mode, which is the default, and the fast one, which leaves no trace in what DVC stores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repository import MAIN, ROOT, TINY, Repository

from spiro_diffusion.core import portable

SHOW = "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv, 'numpy' in sys.modules]))"
SETTLE = f"from spiro_diffusion.core import portable; portable.settle('toy'); {SHOW}"


def settled(folder: Path, params: str, **environment: str) -> tuple[dict[str, str], list[str], str]:
    """Environment and arguments of a program after `settle`, and what it said."""
    (folder / "params.yaml").write_text(params)
    plain = {key: value for key, value in os.environ.items() if key not in {*portable.KERNELS, *portable.CHOSEN}}
    done = subprocess.run(
        [sys.executable, "-c", SETTLE, "--out", "a b"],
        cwd=folder,
        env=plain | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    settings, arguments, has_numpy = json.loads(done.stdout)
    assert not has_numpy, "the settings come before NumPy"
    return settings, arguments, done.stderr


def test_a_stage_starts_anew_with_the_settings_and_its_arguments(tmp_path: Path) -> None:
    settings, arguments, output = settled(tmp_path, "runtime: {}")
    assert settings.items() >= (portable.KERNELS | portable.WAITS).items()
    assert arguments[1:] == ["--out", "a b"]
    assert output == ""


def test_variables_of_the_user_are_named_and_not_used_but_in_the_fast_mode(tmp_path: Path) -> None:
    variables = {"MKL_CBWR": "AVX2", "GOMP_SPINCOUNT": "7"}
    settings, _, output = settled(tmp_path, "runtime: {portable: true}", **variables)
    assert settings["MKL_CBWR"] == "COMPATIBLE"
    assert output.splitlines() == ["toy: not used: MKL_CBWR=AVX2; a portable run sets its own"]
    assert "OMP_WAIT_POLICY" not in settings, "how threads wait was chosen"
    settings, _, output = settled(tmp_path, "runtime: {portable: false}", **variables)
    assert (settings["MKL_CBWR"], output) == ("AVX2", "")
    assert "ATEN_CPU_CAPABILITY" not in settings


@pytest.fixture
def fresh(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def test_fast_results_are_stored_nowhere_and_a_portable_run_redoes_them(fresh: Repository) -> None:
    stages, lock = ["download", "repair", "align"], fresh.folder / "dvc.lock"
    cache = fresh.folder / ".dvc" / "cache"
    fast = ["python", "-m", "spiro_diffusion.pipeline.fast"]
    output = fresh(*fast, "align")
    assert "A fast run: the last digits of its outputs" in output
    assert (fresh.folder / "data/aligned.parquet").exists()
    assert not lock.exists()
    assert not list(cache.glob("runs/*"))
    assert "Running stage" not in fresh(*fast, "align"), "what it has made is not made again"
    assert fresh.repro("align") == stages
    before = lock.read_bytes()
    fresh.set({"align": {"min_points": 120}})
    assert "Running stage 'align'" in fresh(*fast, "align")
    assert lock.read_bytes() == before
    assert fresh.repro("align") == ["align"]


def test_dvc_alone_does_not_run_a_fast_stage(fresh: Repository) -> None:
    fresh.set({"runtime": {"portable": False}})
    output = fresh("dvc", "repro", "download", fails=True)
    assert "download: params.yaml: runtime.portable is false, and DVC would store fast results as portable" in output
    fresh.set({"runtime": {"portable": "no"}})
    assert "runtime.portable is 'no'; expected bool" in fresh("dvc", "repro", "download", fails=True)


LIMITED = {  # to what every x86-64 processor has
    "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
}


def ran(folder: Path, arguments: list[str], through: list[str], environment: dict[str, str]) -> dict[Path, bytes]:
    """What `pipeline.run`, started through another program or by itself, has made in the folder, by path."""
    command = [*through, sys.executable, "-m", "spiro_diffusion.pipeline.run", *arguments, "--folder", str(folder)]
    variables = {"PYTHONPATH": str(ROOT)} | environment
    subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, check=True)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name != "times.json"]
    return {file.relative_to(folder): file.read_bytes() for file in files}


def differing(one: dict[Path, bytes], other: dict[Path, bytes]) -> list[str]:
    """Names of the files that are not the same in both."""
    return [str(name) for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def test_the_data_half_needs_no_setting(tmp_path: Path) -> None:
    """No digit that the processor decides reaches a file."""
    requested = ["--set", "download.participants=60", "--last", "resample"]
    limits: dict[str, dict[str, str]] = {"all": {}, "few": LIMITED}
    made = [ran(tmp_path / name, requested, [], {portable.FAST: "1"} | limit) for name, limit in limits.items()]
    assert Path("data/signals_L512.npy") in made[0]
    assert differing(*made) == []


def test_a_stage_bound_to_one_core_makes_the_same_bytes(tmp_path: Path) -> None:
    """Two threads take turns on it: the sums are split as on two cores."""
    tiny = TINY["train_vqvae"] | {"epochs": 2, "warmup_epochs": 1, "validate_every": 1}
    changes = ["download.participants=60", *(f"train_vqvae.{key}={value}" for key, value in tiny.items())]
    requested = [word for change in changes for word in ("--set", change)]
    ran(tmp_path / "one", [*requested, "--last", "resample"], [], {})
    shutil.copytree(tmp_path / "one", tmp_path / "all")
    requested += ["--first", "train_vqvae", "--last", "train_vqvae"]
    cores: dict[str, list[str]] = {"one": ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))], "all": []}
    made = [ran(tmp_path / name, requested, bound, {}) for name, bound in cores.items()]
    assert Path("models/vqvae.safetensors") in made[0]
    assert differing(*made) == []


WATCH = """
import runpy, sys
from unittest.mock import patch
import torch, yaml
from torch.utils._python_dispatch import TorchDispatchMode
used = set()
class Watch(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__.removeprefix("_foreach_").removesuffix("_")
        tensors = [a for a in torch.utils._pytree.tree_leaves(args) if isinstance(a, torch.Tensor)]
        used.update(f"{name} {tensor.dtype}".replace("torch.", "") for tensor in tensors)
        return function(*args, **(kwargs or {}))
stages = yaml.safe_load(open("dvc.yaml"))["stages"]
for name in ("train_vqvae", "encode", "train_cldm", "evaluate", "train_reconstructor", "reconstruct"):
    words = stages[name]["cmd"].split()
    with patch("sys.argv", words[2:]), Watch():
        runpy.run_module(f"stages.{name}", run_name="__main__")
print(*sorted(used), sep="\\n")
"""
TRIGONOMETRY = {"acos", "asin", "atan", "cos", "sin", "tan", "tanh"}
OF_MKL = TRIGONOMETRY | {"erf", "erfc", "erfinv", "exp", "log", "log10", "log2", "sqrt"}  # of PyTorch, by MKL
WITHOUT_APPROXIMATION = {f"{name} float32" for name in ("cos", "erf", "erfinv", "exp", "log", "sin", "tanh")}


def test_no_stage_has_mkl_compute_a_function_from_an_approximation(done: Repository, tmp_path: Path) -> None:
    """MKL begins a square root with `rsqrtps`, a common logarithm and one of float64 with `rcpps`: what these
    instructions give differs between Intel and AMD, and MKL_CBWR does not keep its vector functions from them."""
    repository = Repository.copy(done, tmp_path / "repository")
    epoch: dict[str, object] = {"epochs": 1, "validate_every": 1}
    repository.set({"train_vqvae": epoch | {"warmup_epochs": 1}})
    repository.set({"train_cldm": epoch | {"facts_epochs": 1, "student_epochs": 1}})
    repository.environment = portable.KERNELS | portable.WAITS
    used = set(repository(sys.executable, "-c", WATCH).splitlines())
    of_mkl = {function for function in used if function.split(" ")[0] in OF_MKL}
    assert {"exp float32", "log float32", "sin float32"} < of_mkl
    assert of_mkl <= WITHOUT_APPROXIMATION


IMITATED = ("haswell", "zen3")  # an Intel and an AMD processor, both without AVX-512, which any real one can imitate


GRADIENTS = """
import hashlib, torch
from spiro_diffusion.compute import portable_products
from spiro_diffusion.models.vqvae import VQVAE, VQVAEConfig
portable_products.settle()
torch.set_num_threads(2)
torch.manual_seed(0)
model = VQVAE(VQVAEConfig())
decoded, _ = model(4 * torch.rand(16, 512))
(decoded.mean.square().mean() + decoded.going.mean()).backward()
found = [p.grad.contiguous().numpy().tobytes() for p in model.parameters() if p.grad is not None]
print(hashlib.sha256(b"".join(found)).hexdigest())
"""


@pytest.fixture
def imitate() -> str:
    """The program that runs a command as on another processor."""
    program = str(ROOT / "tests" / "cpuid_as")
    probe = subprocess.run([program, IMITATED[0], "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"CPUID cannot be trapped here: {probe.stderr.strip() or 'no gcc'}")
    return program


def test_gradients_are_the_same_bytes_on_this_an_intel_and_an_amd_processor(imitate: str) -> None:
    found = set()
    for processor in ([], *([imitate, name] for name in IMITATED)):
        command = [*processor, sys.executable, "-c", GRADIENTS]
        environment = os.environ | portable.KERNELS | portable.WAITS | {"PYTHONPATH": str(ROOT)}
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1


@pytest.mark.skipif(os.environ.get("SPIRO_PROOF") != "1", reason="takes minutes: `make proof` runs it")
def test_the_pipeline_makes_the_same_bytes_on_a_core_of_an_intel_and_on_all_of_an_amd_processor(
    tmp_path: Path, imitate: str
) -> None:
    """tests/cpuid.c answers CPUID for another processor; what this one lacks it cannot add."""
    cores = sorted(os.sched_getaffinity(0))
    locks = []
    for processor, bound_cores in zip(IMITATED, (cores[:1], cores), strict=True):
        repository = Repository(tmp_path / processor)
        repository.set({"runtime": {"threads": 2}})
        bound = ["taskset", "--cpu-list", ",".join(map(str, bound_cores))]
        repository(*bound, imitate, processor, "dvc", "repro", OMP_NUM_THREADS=str(len(bound_cores)))
        locks.append(repository.lock())
    assert list(locks[0]) == MAIN
    assert locks[0] == locks[1]
