"""Files are whole or absent, and the same content gives the same bytes."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    artifacts.write_json(file, {"kept": 1})

    def die_in_the_middle() -> None:
        with artifacts.atomic(file) as part:
            part.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        die_in_the_middle()
    assert artifacts.read_json(file) == {"kept": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_planted_link_is_not_followed_and_what_a_killed_write_left_goes(tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "a.txt"
    victim.write_text("theirs")
    (tmp_path / ".a.txt.part").symlink_to(victim)
    left = tmp_path / f".a.txt.{'0' * 16}.part"
    left.write_text("half")
    artifacts.write_text(file, "mine")
    assert (victim.read_text(), file.read_text()) == ("theirs", "mine")
    assert not left.exists()
    (tmp_path / ".a.txt.lock.part").symlink_to(victim)
    with pytest.raises(SpiroError, match="cannot be written"):
        artifacts.write_text(file, "again")
    assert victim.read_text() == "theirs"


def test_two_writers_of_a_file_do_not_meet(tmp_path: Path) -> None:
    with artifacts.atomic(tmp_path / "a") as part:
        part.write_text("first")
        with pytest.raises(SpiroError, match="another process is writing it"):
            artifacts.write_text(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "first"


def test_a_hardlink_into_the_cache_is_not_written_through(tmp_path: Path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    cache.write_text("old")
    os.link(cache, out)
    artifacts.write_text(out, "new")
    assert (cache.read_text(), out.read_text()) == ("old", "new")


def test_json_does_not_hide_a_nan_and_does_not_depend_on_order(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a", {"x": np.float32(1), "y": np.arange(2)})
    artifacts.write_json(tmp_path / "b", {"y": [0, 1], "x": 1.0})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "a", {"x": float("nan")})
    assert artifacts.read_json(tmp_path / "a") == {"x": 1.0, "y": [0, 1]}


def test_rows_appended_as_a_stream_are_what_numpy_would_save(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(10, 3, 4)).astype(np.float32)
    with artifacts.npy_rows(tmp_path / "stream.npy", array.shape) as append:
        append(array[:7])
        append(array[7:])
    np.save(tmp_path / "whole.npy", array)
    assert (tmp_path / "stream.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_a_stream_of_too_few_rows_takes_no_name(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="fewer or more rows"),
        artifacts.npy_rows(tmp_path / "stream.npy", (10, 3)) as append,
    ):
        append(np.zeros((9, 3), np.float32))
    assert not list(tmp_path.iterdir())


def test_a_missing_or_foreign_json_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("<html>")
    with pytest.raises(SpiroError, match="not a JSON file"):
        artifacts.read_json(tmp_path / "a.json")
    with pytest.raises(SpiroError, match="no such file"):
        artifacts.read_json(tmp_path / "b.json")


def test_arrays_come_back_and_their_bytes_depend_on_nothing_else(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.array(["x", "y"])}
    artifacts.write_npz(tmp_path / "one.npz", arrays)
    artifacts.write_npz(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = artifacts.read_npz(tmp_path / "one.npz")
    assert {name: values.tolist() for name, values in read.items()} == {k: v.tolist() for k, v in arrays.items()}
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        artifacts.write_npz(tmp_path / "objects.npz", {"o": np.array([{}], dtype=object)})
    assert not (tmp_path / "objects.npz").exists()


def test_a_missing_cut_or_foreign_npz_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with pytest.raises(SpiroError, match="no such file"):
        artifacts.read_npz(file)
    artifacts.write_npz(file, {"a": np.arange(100.0)})
    whole = file.read_bytes()
    pickled = io.BytesIO()
    np.savez(pickled, a=np.array([{}], dtype=object))
    single = io.BytesIO()
    np.save(single, np.arange(3))
    for wrong in (
        whole[:100],
        b"",
        b"<html>",
        whole[:60] + b"\0" * 40 + whole[100:],
        pickled.getvalue(),
        single.getvalue(),
    ):
        file.write_bytes(wrong)
        with pytest.raises(SpiroError, match=r"a\.npz: not a readable \.npz file"):
            artifacts.read_npz(file)


def test_files_are_written_where_there_is_no_fcntl_as_on_windows(tmp_path: Path) -> None:
    program = """
import os, sys, types, json, tempfile, pathlib, zipfile, numpy  # before the system is another by name
held = []
sys.platform = "win32"
sys.modules["fcntl"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda file, how, size: held.append(size))
del os.O_NOFOLLOW
from spiro_diffusion.core import artifacts
artifacts.write_json(pathlib.Path("a.json"), {"a": 1})
assert held == [1] and artifacts.read_json(pathlib.Path("a.json")) == {"a": 1}
def refuse(*_):
    raise PermissionError
sys.modules["msvcrt"].locking = refuse
try:
    artifacts.write_json(pathlib.Path("a.json"), {"a": 2})
except artifacts.SpiroError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "a.json: another process is writing it" in done.stdout
