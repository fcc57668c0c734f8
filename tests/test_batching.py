"""Batches on all cores give the bytes of one computation over all rows."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spiro_diffusion.core import batching
from spiro_diffusion.core.batching import by_rows, in_parallel
from spiro_diffusion.models import mixtures
from spiro_diffusion.physiology import dequantise, time_grid
from spiro_diffusion.reconstruction import monotone


def test_slices_cover_all_rows_once() -> None:
    for rows in (0, 1, 4, 5, 8, 9):
        parts = list(batching.batches(rows, 4))
        assert np.concatenate([np.empty(0, int), *(np.arange(rows)[part] for part in parts)]).tolist() == [*range(rows)]
        assert all(part.stop - part.start == 4 for part in parts[:-1])


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 8, 9])
def test_rows_are_computed_in_order_a_chunk_at_a_time(rows: int) -> None:
    sizes = []

    def function(x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        sizes.append(len(x))
        return x + y[:, None]

    x, y = np.random.default_rng(0).normal(size=(rows, 3)), np.arange(rows)
    np.testing.assert_array_equal(by_rows(function, 4, x, y), x + y[:, None], strict=True)
    assert sorted(sizes, reverse=True) == {0: [0], 1: [1], 4: [4], 5: [4, 1], 8: [4, 4], 9: [4, 4, 1]}[rows]


def test_few_rows_start_no_thread() -> None:
    found = []

    def function(x: NDArray[Any]) -> NDArray[Any]:
        found.append(threading.current_thread())
        return x

    by_rows(function, 4, np.zeros(4))
    assert found == [threading.current_thread()]
    by_rows(function, 4, np.zeros(5))
    assert threading.current_thread() not in found[1:]


def test_an_error_in_a_chunk_is_the_same_error_here() -> None:
    def refuse(x: NDArray[Any]) -> NDArray[Any]:
        raise ValueError(f"row {x[0]}")

    with pytest.raises(ValueError, match="row 0"):
        by_rows(refuse, 2, np.arange(5))


def test_rows_may_be_computed_on_all_cores_within_such_a_computation() -> None:
    x = np.random.default_rng(0).normal(size=(6, 9, 2))
    found = list(in_parallel(lambda i: by_rows(np.square, 2, x[i]), len(x)))
    np.testing.assert_array_equal(found, np.square(x))


def test_quantiles_are_those_of_all_rows_at_once() -> None:
    rng, n = np.random.default_rng(0), 2 * mixtures.ROWS + 7
    weights = rng.random((n, 4))
    log_weight = np.log(weights / weights.sum(axis=1, keepdims=True))
    parts = log_weight, rng.normal(size=(n, 4)), 0.1 + rng.random((n, 4)), rng.normal(size=n), 1 + rng.random(n)
    found = mixtures.quantiles(parts, (0.05, 0.5, 0.95))
    np.testing.assert_array_equal(found, mixtures._quantiles((0.05, 0.5, 0.95), *parts), strict=True)
    some = [part[-9:] for part in parts]
    np.testing.assert_array_equal(found[-9:], mixtures.quantiles(some, (0.05, 0.5, 0.95)))


def test_paths_are_those_of_all_rows_at_once() -> None:
    rng, n = np.random.default_rng(0), 2 * monotone.ROWS + 7
    times, volumes = (np.cumsum(0.1 + rng.random((n, 6)), axis=1) for _ in range(2))
    first, last = rng.random((2, n))
    at = np.broadcast_to(time_grid.EDGES_S, (n, time_grid.N_SAMPLES + 1))
    found = monotone.plain(times, volumes, first, last)
    np.testing.assert_array_equal(found, monotone._through(times, volumes, first, last, at), strict=True)


def test_curves_before_the_counter_do_not_depend_on_the_others() -> None:
    rng, n = np.random.default_rng(0), 2 * dequantise.CHUNK + 7
    time = time_grid.EDGES_S[:-1]
    flow = np.where(
        time >= 0, rng.uniform(3, 9, (n, 1)) * np.exp(-np.maximum(time, 0) / rng.uniform(0.3, 0.9, (n, 1))), 0
    )
    found = dequantise.before(flow, np.full(n, 1.08))
    for rows in (slice(0, 3), slice(n - 3, n)):
        np.testing.assert_array_equal(dequantise.before(flow[rows], np.full(3, 1.08)), found[rows])
