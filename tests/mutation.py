"""Damaged and hostile forms of the three files that users feed: curves, people, checkpoints; and what a reader owes.

A case is a number: `case(rng)` gives its reader and bytes, `judge` feeds them. A reader owes a right result or a
SpiroError of one short line; anything else is raised as `Failed` or as the exception that it was.
"""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tiny
import torch
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import REQUIRED, check_range, conditioned, read_people
from spiro_diffusion.models import conditioning
from spiro_diffusion.models.latent_diffusion import load_cldm
from spiro_diffusion.models.vqvae import load_vqvae
from spiro_diffusion.physiology import spirometry, time_grid
from spiro_diffusion.user_curves import read

Rng = np.random.Generator
MESSAGE = 600  # characters of a line that people still read
TRAINED = {"age": [6.0, 79.0], "height": [100.0, 200.0]}
MOST_ROWS = 100_000  # of a CSV that is made longer
CELLS = ["", "nan", "NA", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e999", "9" * 400, "-0", "0x10", "1_000", "1,5"]
CELLS += ["True", "'", '"', "\0", "\n", "\r\n", "=1+1", "١٢", "🫁", "\x1b[2J", " " * 3000, "a" * 70000, "2020-01-01"]
CELLS += ["1+2j", "[1]", "{}", "None", "<script>", "../../etc/passwd", "9007199254740993", "18446744073709551616"]
LEAVES: list[Any] = [-1, 0, 1, 2, 7, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, float("nan"), float("inf"), "x", "", None]
LEAVES += [True, [], {}, [[]], [1, 2], [0], [10**9] * 3, {"width": 1}, "a" * 10000, [1] * 10000]


class Failed(Exception):
    """A reader gave neither a right result nor a line."""


class Sample(NamedTuple):
    reader: str
    data: bytes


def samples(folder: Path) -> list[Sample]:
    """Sound files."""
    time = np.arange(300) * 0.01
    flow = 8 * np.exp(-time) * np.minimum(time / 0.08, 1)
    rows = [f"{t:.2f},{f:.4f}" for t, f in zip(time, flow, strict=True)]
    volume = [f"{t:.2f},{v:.4f}" for t, v in zip(time, np.cumsum(flow) * 0.01, strict=True)]
    several = [f"{name},{row}" for name in ("first", "second", "3") for row in rows]
    drawn = [f"{person},{draw},{row}" for person in (0, 1) for draw in (0, 1) for row in rows]
    texts = {
        "curves": ["time_s,flow_l_s", *rows],
        "curves volume": ["time_s,volume_l", *volume],
        "curves several": ["curve,time_s,flow_l_s", *several],
        "curves drawn": ["person,draw,time_s,flow_l_s", *drawn],
        "people": ["age,height,sex", *(f"{age},{150 + age / 4},{('male', 'f', 1)[age % 3]}" for age in range(20, 79))],
        "people more": [
            "id,age,height,sex,grade,test_type",
            "a,45,175,male,A,Pre",
            "b,30,165,female,,Bron",
            "c,8,125,1,D,",
        ],
    }
    found = [Sample(name.split()[0], ("\n".join(lines) + "\n").encode()) for name, lines in texts.items()]
    folder.mkdir(parents=True, exist_ok=True)
    models = tiny.models(folder)
    return found + [Sample(name, (models / f"{name}.safetensors").read_bytes()) for name in ("vqvae", "cldm")]


# --- damage ---------------------------------------------------------------------------------------------------


def of_bytes(data: bytes, rng: Rng) -> bytes:
    """Some bytes changed, lost, put in or said twice; or the end lost."""
    mutated = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(mutated) + 1))
        some = int(rng.choice([1, 2, 8, 100, 5000]))
        kind = rng.integers(0, 6)
        if kind == 0 and at < len(mutated):
            mutated[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del mutated[at : at + some]
        elif kind == 2:
            mutated[at:at] = rng.bytes(some)
        elif kind == 3:
            mutated[at:at] = mutated[at : at + some] * int(rng.integers(1, 4))
        elif kind == 4:
            mutated[at : at + some] = bytes([int(rng.choice([0, 255, 10, 34, 44]))]) * some
        else:
            del mutated[at:]
    return bytes(mutated)


def of_text(data: bytes, rng: Rng) -> bytes:
    """Cells, columns, rows or the encoding of a CSV changed."""
    table = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(int(rng.integers(1, 4))):
        row, kind = table[int(rng.integers(0, len(table)))], int(rng.integers(0, 9))
        column = int(rng.integers(0, len(table[0])))
        if kind <= 2 and row:
            row[min(column, len(row) - 1)] = str(rng.choice(np.array(CELLS, dtype=object)))
        elif kind == 3:  # a column twice, perhaps under a name that means the same
            name = str(rng.choice(["{}", " {}", "{}.1"])).format(table[0][column % len(table[0])])
            table = [[*line, line[column] if column < len(line) else ""] for line in table]
            table[0][-1] = name if rng.random() < 0.5 else name.upper()
        elif kind == 4:
            table = [line[:column] + line[column + 1 :] for line in table]
        elif kind == 5:
            table = (
                [table[0], *(table[i] for i in rng.permutation(np.arange(1, len(table))))] if len(table) > 1 else table
            )
        elif kind == 6:
            table = table[: 1 + int(rng.integers(0, len(table)))]
        elif kind == 7:
            table = (table + table[1:] * int(rng.choice([1, 3, 20])))[:MOST_ROWS]
        else:  # each row a name of its own
            table = [[*line, str(i) if i else "curve"] for i, line in enumerate(table)]
        table = [line for line in table if line] or [[""]]
    separator = str(rng.choice([",", ",", ",", ",", ";", "\t"]))
    end = str(rng.choice(["\n", "\n", "\n", "\r\n", "\r"]))
    text = end.join(separator.join(line) for line in table) + end
    encoding = str(rng.choice(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, errors="replace")


def of_checkpoint(data: bytes, rng: Rng) -> bytes:
    """The header of safetensors or the configuration changed; what else it says still fits."""
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    kind = int(rng.integers(0, 6))
    names = [name for name in header if name != "__metadata__"]
    name = names[int(rng.integers(0, len(names)))]
    if kind <= 2:
        head = json.loads(header["__metadata__"]["spiro"])
        for _ in range(int(rng.integers(1, 3))):
            head = _with_a_leaf(head, rng)
        header["__metadata__"]["spiro"] = json.dumps(head)
        if rng.random() < 0.05:
            header["__metadata__"]["spiro"] = "[" * int(rng.choice([100, 10**5]))
    elif kind == 3:
        field = str(rng.choice(["dtype", "shape", "data_offsets"]))
        values: dict[str, list[Any]] = {
            "dtype": ["F64", "F16", "BF16", "I8", "U64", "F8_E4M3", "BOOL", "C64", "?"],
            "shape": [[], [0], [2**40]],
        }
        values["data_offsets"] = [[0, 0], [0, 2**62], [8, 4], [-1, 4], [0, len(body)]]
        options = values[field]
        header[name][field] = options[int(rng.integers(0, len(options)))]
    elif kind == 4:
        if rng.random() < 0.5:
            del header[name]
        else:
            header[f"{name}x"] = header.pop(name)
    else:
        length = int(rng.choice([0, 1, 7, 10**6, 2**40, 2**63 - 1]))
        return struct.pack("<Q", length) + data[8:]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def _with_a_leaf(value: Any, rng: Rng) -> Any:
    """A copy in which one leaf or branch is another, a key is gone or a key is new."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        keys = sorted(value)
        key = keys[int(rng.integers(0, len(keys)))]
        draw = rng.random()
        if draw < 0.08:
            return {k: v for k, v in value.items() if k != key}
        if draw < 0.16:
            return value | {"more": 1}
        return value | {key: _with_a_leaf(value[key], rng)}
    return LEAVES[int(rng.integers(0, len(LEAVES)))]


def damaged(sample: Sample, rng: Rng) -> bytes:
    """The file after one kind of damage, or two."""
    mutate = of_text if sample.reader in ("curves", "people") else of_checkpoint
    data = mutate(sample.data, rng) if rng.random() < 0.7 else of_bytes(sample.data, rng)
    return of_bytes(data, rng) if rng.random() < 0.1 else data


# --- what a reader owes ---------------------------------------------------------------------------------------


def judge(sample: Sample, data: bytes, path: Path) -> str:
    """`read` or `refused`. Raises Failed where a result is wrong or a message is no short line."""
    path.write_bytes(data)
    try:
        READERS[sample.reader](path)
    except SpiroError as error:
        message = str(error)
        if len(message) > MESSAGE + len(str(path)) or re.search(r"[\x00-\x1f\x7f]", message):
            raise Failed(f"no short line: {message[:300]!r}") from error
        return "refused"
    return "read"


def _curves(path: Path) -> NDArray:
    curves = read(path)
    _hold(len(curves.names) == len(curves.flow) == len(curves.points) > 0, "as many names as curves")
    _hold(len(set(curves.names)) == len(curves.names), "names are told apart")
    _hold(np.isfinite(curves.flow).all(), "flow is finite")
    _hold(((curves.points >= 0) & (curves.points <= curves.flow.shape[1])).all(), "curves end in the array")
    volume = curves.flow.cumsum(1) * 0.01
    _hold(volume.max() < 13, "no lung holds more")
    spirometry.indices(curves.flow[:50], curves.points[:50])
    return np.concatenate(curves.curves())


def _people(path: Path) -> NDArray:
    table = conditioned(read_people(path))
    _hold(set(table["sex"]) <= {1, 2}, "two sexes")
    _hold(np.isfinite(table[["age", "height"]].to_numpy(float)).all(), "ages and heights are numbers")
    check_range(table, TRAINED)
    codes = conditioning.encode(table)
    _hold(codes.shape == (len(table), len(conditioning.NAMES)), "a row a person")
    required = [conditioning.NAMES.index(name) for name in REQUIRED]
    _hold(np.isfinite(codes[:, required]).all(), "age, height and sex are known")
    return table[["age", "height", "sex"]].to_numpy(float).ravel()


def _vqvae(path: Path) -> NDArray:
    model = load_vqvae(path)
    with torch.inference_mode():
        model.encode(torch.zeros(1, time_grid.N_SAMPLES))
    return _weights(model)


def _cldm(path: Path) -> NDArray:
    model, made_from = load_cldm(path)
    check_range(conditioned(tiny_person()), made_from)
    _hold(all(torch.isfinite(v).all() for v in model.state_dict().values()), "weights are finite")
    return _weights(model)


def _weights(model: torch.nn.Module) -> NDArray:
    return torch.cat([value.double().ravel() for value in model.state_dict().values()]).numpy()


def tiny_person() -> Any:
    """Someone whom every model knows."""
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame({"age": [40.0], "height": [170.0], "sex": [1]})


# Each gives all numbers that it read, (n,).
READERS: dict[str, Callable[[Path], NDArray]] = {"curves": _curves, "people": _people, "vqvae": _vqvae, "cldm": _cldm}


def _hold(is_so: Any, what: str) -> None:
    if not is_so:
        raise Failed(f"does not hold: {what}")
