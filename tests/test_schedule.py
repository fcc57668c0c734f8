"""Stages without DVC: those that do not wait for one another run at once, and one that fails ends the others."""

import os
import sys
import time
from pathlib import Path

import pytest
import yaml

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.pipeline import schedule
from spiro_diffusion.pipeline.schedule import Command

ROOT = Path(__file__).parents[1]


def python(code: str, *after: str) -> Command:
    return Command([sys.executable, "-c", f"import pathlib, sys, time\n{code}"], frozenset(after))


def test_dvc_yaml_says_who_waits_for_whom() -> None:
    waits = schedule.after(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert waits["download"] == frozenset()
    assert waits["encode"] == {"resample", "train_vqvae"}
    assert waits["train_reconstructor"] == {"download", "resample"}
    assert "reconstruct" not in waits["evaluate"]
    assert "evaluate" not in waits["reconstruct"]
    assert waits["report"] >= {"evaluate", "reconstruct", "train_vqvae", "train_cldm"}


def test_two_at_once_and_each_after_what_it_needs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    meet = """
pathlib.Path(sys.argv[0] + NAME).touch()
until = time.monotonic() + 20
while not pathlib.Path(sys.argv[0] + OTHER).exists():
    assert time.monotonic() < until, "the other does not run beside this one"
    time.sleep(0.01)
print("this is", NAME)
"""
    commands = {
        "first": python('pathlib.Path("made").touch()'),
        "left": python('assert pathlib.Path("made").exists(); NAME, OTHER = "left", "right"' + meet, "first"),
        "right": python('NAME, OTHER = "right", "left"' + meet, "first"),
        "last": python('print("this is last")', "left", "right", "of an earlier run"),
    }
    ended: list[str] = []
    schedule.run_all(commands, 2, tmp_path, dict(os.environ), lambda name, seconds: ended.append(name))
    assert ended[0] == "first"
    assert sorted(ended[1:3]) == ["left", "right"]
    assert ended[3] == "last"
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("==") or "this is" in line]
    at = lines.index("this is right")
    assert lines[at - 1] == "== right, which ran beside", "its lines are together, under its name"


def test_one_that_fails_ends_the_other(tmp_path: Path) -> None:
    commands = {
        "long": python("time.sleep(60)"),
        "fails": python("sys.exit(3)"),
        "never": python('pathlib.Path("begun").touch()', "fails"),
    }
    began = time.monotonic()
    with pytest.raises(SpiroError, match=r"^stage fails ended with exit status 3; stopped: long$"):
        schedule.run_all(commands, 2, tmp_path, dict(os.environ), lambda name, seconds: None)
    assert time.monotonic() - began < 20
    assert not (tmp_path / "begun").exists()
