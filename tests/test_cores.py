"""Parts of a request on the cores of a CPU."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny
import torch

from spiro_diffusion.api import SpiroGenerator
from spiro_diffusion.compute import cores
from spiro_diffusion.core.batching import batches

CPU = torch.device("cpu")
PARTS = list(batches(10, 2))


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parts_come_in_order_each_computed_on_one_thread() -> None:
    both = threading.Barrier(2, timeout=30)

    def compute(part: slice) -> tuple[int, int]:
        if part.start < 4:
            both.wait()  # the first two are computed at once
        return part.start, torch.get_num_threads()

    assert list(cores.in_order(PARTS, compute, CPU)) == [(part.start, 1) for part in PARTS]
    assert torch.get_num_threads() == 2


def test_a_single_part_has_all_threads_and_one_thread_takes_part_after_part() -> None:
    assert list(cores.in_order(PARTS[:1], lambda _: torch.get_num_threads(), CPU)) == [2]
    torch.set_num_threads(1)
    here = {threading.get_ident()}
    assert set(cores.in_order(PARTS, lambda _: threading.get_ident(), CPU)) == here


def test_the_first_error_ends_the_request_and_the_threads_return() -> None:
    def compute(part: slice) -> int:
        if part.start == 4:
            raise MemoryError
        return part.start

    found = cores.in_order(PARTS, compute, CPU)
    assert [next(found), next(found)] == [0, 2]
    with pytest.raises(MemoryError):
        next(found)
    assert torch.get_num_threads() == 2


def test_curves_are_the_same_bytes_however_many_threads_draw_them(models: Path) -> None:
    generator = tiny.lively(SpiroGenerator.from_checkpoint(models, device="cpu"))._torch
    people = pd.DataFrame({"age": np.linspace(20, 70, 200), "height": 170.0, "sex": 1})
    drawn = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        drawn.append(generator.sample(people, 1, 3, batch=64, progress=False).tobytes())
    assert drawn[0] == drawn[1]
