"""Nothing that is read can run, nothing that is installed is unknown, nothing secret is committed."""

import ast
import configparser
import importlib.metadata
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LOCK: dict[str, Any] = runpy.run_path(str(ROOT / ".ci" / "lock.py"))
CODE = [file for folder in ("spiro_diffusion", "stages", "benchmarks", ".ci") for file in (ROOT / folder).rglob("*.py")]
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"read_pickle", "to_pickle", "extractall", "unsafe_load", "full_load"}  # of anything
NAMES = {"eval", "exec", "__import__"}


def dangers(source: str) -> Iterator[str]:
    """What in Python source would run what a file says, or unpack it anywhere."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        yield from (f"{line}: imports {name}" for name in modules if name.partition(".")[0] in PICKLES)
        if isinstance(node, ast.Call):
            yield from (f"{line}: {message}" for message in _call(node))


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    keywords = {k.arg: k.value for k in node.keywords}
    constants = {key: value.value for key, value in keywords.items() if isinstance(value, ast.Constant)}
    if name in NAMES or name.rpartition(".")[2] in CALLS or name in ("torch.load", "torch.save", "torch.jit.load"):
        yield name
    if name in ("np.load", "numpy.load") and constants.get("allow_pickle") is not False:
        yield f"{name} without allow_pickle=False"
    if constants.get("allow_pickle") is True or constants.get("shell") is True:
        yield f"{name} with allow_pickle or shell"
    if name == "yaml.load" and ast.unparse(keywords.get("Loader", ast.Constant(None))) not in ("_Loader", "SafeLoader"):
        yield "yaml.load with a loader that makes objects"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load('a')",
        "np.load('a')",
        "np.load('a', allow_pickle=True)",
        "np.savez('a', allow_pickle=True)",
        "pd.read_pickle('a')",
        "yaml.load(text, Loader=yaml.Loader)",
        "archive.extractall()",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_check_finds_what_it_looks_for(source: str) -> None:
    assert list(dangers(source))


def test_no_code_loads_a_pickle_or_runs_what_a_file_says() -> None:
    assert len(CODE) > 80
    assert [f"{file.relative_to(ROOT)}:{message}" for file in CODE for message in dangers(file.read_text())] == []


def test_no_secret_is_in_dvcs_configuration() -> None:
    text = (ROOT / ".dvc" / "config").read_text()
    config = configparser.ConfigParser(interpolation=None)
    config.read_string(re.sub(r"^\s+", "", text, flags=re.MULTILINE))
    keys = {key for section in config.sections() for key in config[section]}
    assert "analytics" in keys, "the configuration was read"
    assert not [key for key in keys if re.search(r"password|secret|token|key|credential", key)]
    assert not re.search(r"://[^/\s]*:[^/\s]*@", text), "no address names a password"
    assert ".dvc/config.local" in "\n".join(
        f".dvc{line}" for line in (ROOT / ".dvc/.gitignore").read_text().splitlines()
    )


def test_the_lock_pins_every_package_by_hash_and_torch_by_version() -> None:
    blocks = re.split(r"\n(?=\S)", LOCK["LOCK"].read_text())
    blocks = [block for block in blocks if not block.startswith("#")]
    assert len(blocks) > 100
    assert [block for block in blocks if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", block)] == []
    assert "torch" not in LOCK["pins"](LOCK["LOCK"].read_text())
    (version,) = LOCK["pins"](LOCK["TORCH"].read_text()).values()
    assert importlib.metadata.version("torch").partition("+")[0] == version


def test_a_pin_can_be_added_changed_and_taken_out() -> None:
    pinned = LOCK["pins"]("# head\nPy_YAML==6.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\nnumpy==2.4.6\n")
    assert pinned == {"py-yaml": "6.0", "numpy": "2.4.6"}
    assert LOCK["changed"](pinned, ["numpy==2.5.0", "boto3==1.0", "py.yaml-"]) == {"boto3": "1.0", "numpy": "2.5.0"}
    with pytest.raises(ValueError, match="pins no version"):
        LOCK["pins"]("numpy>=2\n")
