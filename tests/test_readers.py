"""The three files that users feed, damaged and hostile: a right result or one short line, never a crash.

benchmarks/fuzz_readers.py does this by the hour, with limits of time and memory.
"""

import json
import struct
import tracemalloc
import warnings
from pathlib import Path

import mutation
import numpy as np
import pytest
from mutation import Sample

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation.subjects import conditioned, read_people
from spiro_diffusion.models.latent_diffusion import load_cldm
from spiro_diffusion.models.vqvae import load_vqvae
from spiro_diffusion.user_curves import efforts, read

CASES = 300


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return mutation.samples(tmp_path_factory.mktemp("sound"))


def test_sound_files_are_read(samples: list[Sample], tmp_path: Path) -> None:
    assert {mutation.judge(sample, sample.data, tmp_path / "file") for sample in samples} == {"read"}


def test_damaged_and_hostile_files_are_read_rightly_or_refused_in_a_line(samples: list[Sample], tmp_path: Path) -> None:
    outcomes = []
    for number in range(CASES):
        rng = np.random.default_rng([0, 0, number])  # a case again: its number
        sample = samples[number % len(samples)]
        outcomes.append(mutation.judge(sample, mutation.damaged(sample, rng), tmp_path / "file"))
    assert outcomes.count("refused") > CASES / 2
    assert outcomes.count("read") > CASES / 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,height,sex,AGE\n45,175,male,50\n", "two columns are named age; keep one"),
        ("age,height,sex\n45,175,male,9\n", "not a readable CSV table"),
        ("age,height,sex\n45,True,male\n", "height is True in row 1; expected a number"),
        ("age,height,sex\n45,175,\x1b[2Jmale\n", r"sex is \x1b[2Jmale in row 1"),
        (f"age,height,sex\n45,175,{'x' * 10**6}\n", f"sex is {'x' * 60}... in row 1"),
        (f"age,height,sex\n{'9' * 400},175,male\n", "in row 1; expected a number"),
    ],
)
def test_what_a_user_may_write_into_a_table_of_people(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "people.csv"
    file.write_text(text)
    with pytest.raises(SpiroError) as error:
        conditioned(read_people(file))
    assert message in str(error.value)


@pytest.mark.parametrize("head", ["", "age,height,sex\n45,175,male\n"])
def test_megabytes_of_commas_are_counted_and_not_parsed(tmp_path: Path, head: str) -> None:
    file = tmp_path / "people.csv"
    file.write_text(head + "," * (4 << 20))
    tracemalloc.start()
    with pytest.raises(SpiroError, match="more than 2000 columns"):
        read_people(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_table_of_people_with_a_thousand_columns_more_is_read_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("," * 1000 + "age,height,sex\n" + "," * 1000 + "45,175,male\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert conditioned(read_people(file))["age"].tolist() == [45.0]


def test_a_small_file_cannot_ask_for_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves are held in one array, each as long as the longest."""
    file = tmp_path / "curves.csv"
    long = "".join(f"long,{i / 100:.2f},0.1\n" for i in range(5000))
    short = "".join(f"{name},{i / 100:.2f},3\n" for name in range(50) for i in range(12))
    file.write_text("curve,time_s,flow_l_s\n" + long + short)
    assert len(read(file).names) == 51
    monkeypatch.setattr(efforts, "MOST_SAMPLES", 50 * 5000)
    with pytest.raises(SpiroError, match="51 curves of up to 5000 samples are too many at once"):
        read(file)


def altered(data: bytes, **network: object) -> bytes:
    """A checkpoint whose configuration says something else."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    head = json.loads(header["__metadata__"]["spiro"])
    head["config"]["network"] |= network
    header["__metadata__"]["spiro"] = json.dumps(head)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 4096}, "does not fit the network that its config describes"),  # 0.4 GB, if it were made
        ({"width": 10**9}, "network: width is 1e+09; expected 1 to 4096"),
        ({"width": -1}, "network: width is -1; expected 1 to 4096"),
        ({"width": 16.5}, "network.width is 16.5; expected int"),
        ({"blocks": 10**6}, "network: blocks is 1e+06; expected 0 to 64"),
        ({"hidden": 1}, "network.hidden is not a parameter; known: width, blocks"),
    ],
)
def test_a_checkpoint_that_lies_about_its_network_is_refused(
    samples: list[Sample], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    (sound,) = [sample.data for sample in samples if sample.reader == "vqvae"]
    file = tmp_path / "a.safetensors"
    file.write_bytes(altered(sound, **change))
    with pytest.raises(SpiroError) as error:
        load_vqvae(file)
    assert message in str(error.value)


def test_a_diffusion_model_that_does_not_say_what_it_was_trained_on_is_refused(
    samples: list[Sample], tmp_path: Path
) -> None:
    (sound,) = [sample.data for sample in samples if sample.reader == "cldm"]
    file = tmp_path / "a.safetensors"
    file.write_bytes(sound.replace(b'\\"height\\": [', b'\\"hEight\\": ['))
    with pytest.raises(SpiroError, match=r"made_from\.hEight is not a parameter"):
        load_cldm(file)
