"""The way back from 512 samples to 10 ms: errors of each interpolation of the volume between the grid's edges.

Usage: python benchmarks/grid_interpolation.py

Curves of 600 simulated participants, as counted. Prints a table for docs/spirometry.md: 99th percentile of
the absolute error of each index, and the lowest flow a smooth tail is given, beside the flow it had.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator, CubicSpline, PchipInterpolator

from spiro_diffusion.physiology import counter, spirometry, time_grid
from spiro_diffusion.simulation import simulator

VOLUMES = ("fev1", "fev3", "fev6", "fvc", "last_second")
TICKS = np.minimum(
    np.arange(time_grid.N_10MS + 1) * spirometry.SAMPLE_PERIOD_S - time_grid.LEAD_S, time_grid.EDGES_S[-1]
)


def straight(v: NDArray) -> NDArray:
    """Straight lines between the edges."""
    return np.stack([np.interp(TICKS, time_grid.EDGES_S, row) for row in v])


METHODS: dict[str, Callable[[NDArray], NDArray]] = {
    "straight lines": straight,
    "PCHIP": lambda v: PchipInterpolator(time_grid.EDGES_S, v, axis=1)(TICKS),
    "Akima": lambda v: Akima1DInterpolator(time_grid.EDGES_S, v, axis=1)(TICKS),
    "cubic spline": lambda v: CubicSpline(time_grid.EDGES_S, v, axis=1)(TICKS),
}


def main() -> None:
    """Print the table."""
    raw = simulator.simulate("G", 600, 0)["SPXRAW"]
    raw = raw[raw["SPXPTS"] > 100]
    counts = np.zeros((len(raw), simulator.MOST_POINTS), dtype=np.int16)
    for row, curve in zip(counts, raw["SPXRAW"], strict=True):
        row[: len(curve)] = curve
    flow = counter.flow(counts, raw["SPAFACT"].to_numpy())
    before = spirometry.indices(flow)
    v = time_grid.volume(time_grid.to_grid(flow, before.t0))
    print("| between the edges | FEV1 | FEV3 | FEV6 | FVC | last second | FEF25-75 | FEF50 | lowest flow |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, method in METHODS.items():
        back = np.diff(method(v), axis=1) / spirometry.SAMPLE_PERIOD_S
        after = spirometry.indices(back)
        cells = [f"{1000 * np.percentile(np.abs(getattr(after, i) - getattr(before, i)), 99):.2f} mL" for i in VOLUMES]
        for index in ("fef2575", "fef50"):
            error = np.abs(getattr(after, index) / getattr(before, index) - 1)
            cells.append(f"{100 * np.percentile(error, 99):.3f} %")
        lowest = np.median(back[:, time_grid.FINE_BINS :].min(axis=1))
        print(f"| {name} | {' | '.join(cells)} | {lowest:+.3f} L/s |")


if __name__ == "__main__":
    main()
