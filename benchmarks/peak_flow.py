"""What each estimator of peak flow makes of counted curves: errors of PEF, and of what its tangent gives.

Usage: python benchmarks/peak_flow.py

2,000 simulated best efforts are taken as they leave the lung, without tremor and counter: their highest 10 ms is the
true peak, and the tangent there gives the true time zero. The same efforts with tremor, turbulence and whole
millilitres are then measured; errors of FEV1 and BEV are those that time zero makes in the same curve. Prints a table
for docs/spirometry.md.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.signal import savgol_coeffs

from spiro_diffusion.physiology import counter, spirometry
from spiro_diffusion.physiology.peak_flow import peak_flow
from spiro_diffusion.physiology.spirometry import SAMPLE_PERIOD_S
from spiro_diffusion.simulation import expiration, simulator

PEOPLE, SAMPLES = 2000, 700
Peaks = tuple[NDArray, NDArray]  # flow (n,) and its place (n,) in samples


def mean_of(width: int) -> Callable[[NDArray], Peaks]:
    """The steepest chord over some samples."""

    def peaks(flow: NDArray) -> Peaks:
        v = spirometry.volume(flow)
        slope = (v[:, width:] - v[:, :-width]) / (width * SAMPLE_PERIOD_S)
        place = slope.argmax(axis=1)
        return slope.max(axis=1), place  # the chord goes through its begin

    return peaks


def fit_of(width: int) -> Callable[[NDArray], Peaks]:
    """The highest local parabola, without a limit."""

    def peaks(flow: NDArray) -> Peaks:
        fitted = correlate1d(flow, savgol_coeffs(width, 2), axis=1, mode="constant")
        return fitted.max(axis=1), fitted.argmax(axis=1) + 0.5

    return peaks


def ours(flow: NDArray) -> Peaks:
    """The library's."""
    peak = peak_flow(flow, SAMPLE_PERIOD_S)
    return peak.flow, peak.sample + 0.5


ESTIMATORS = {
    "highest sample": fit_of(3),
    "20 ms mean": mean_of(2),
    "80 ms mean (2005)": mean_of(8),
    "parabola over 5": fit_of(5),
    "parabola over 7": fit_of(7),
    "parabola over 5, limited (`pef`)": ours,
}


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    people = simulator._people("G", PEOPLE, rng)
    sessions = simulator._sessions(people[people["blown"]].reset_index(drop=True), rng)
    fvc = sessions["fvc"].to_numpy()[:, None]
    knots = simulator._knots(sessions, simulator.SHAPES)
    shape = simulator.SHAPES.drawn(knots, rng)
    effort = expiration.best_effort(knots.pef, knots.bev, shape.onset)
    smooth = np.pad(expiration.flow(expiration.lungs(knots, shape), effort, SAMPLES), ((0, 0), (20, 0)))
    rough = fvc * (smooth + simulator.SHAPES.flutter.drawn(smooth, rng))
    smooth *= fvc
    measured = counter.flow(counter.count(rough, 1.085, rng), 1.085)

    true_peak, place = fit_of(3)(smooth)
    true_zero = place - spirometry.volume_at(spirometry.volume(smooth), place) / (true_peak * SAMPLE_PERIOD_S)
    v = spirometry.volume(measured)
    bev, fev1 = (spirometry.volume_at(v, true_zero + samples) for samples in (0, 100))
    print("| estimator | PEF: bias, SD | time zero: bias, SD | FEV1: bias, 99 % | BEV: bias, 99 % |")
    print("| --- | --- | --- | --- | --- |")
    for name, estimator in ESTIMATORS.items():
        found, place = estimator(measured)
        zero = place - spirometry.volume_at(v, place.astype(float)) / (found * SAMPLE_PERIOD_S)
        pef = 100 * (found / true_peak - 1)
        t0 = 1000 * SAMPLE_PERIOD_S * (zero - true_zero)
        off_fev1 = 1000 * (spirometry.volume_at(v, zero + 100) - fev1)
        off_bev = 1000 * (spirometry.volume_at(v, zero) - bev)
        print(
            f"| {name} | {pef.mean():+.1f} %, {pef.std():.1f} % | {t0.mean():+.1f} ms, {t0.std():.1f} ms "
            f"| {off_fev1.mean():+.1f} mL, {np.percentile(np.abs(off_fev1), 99):.1f} mL "
            f"| {off_bev.mean():+.1f} mL, {np.percentile(np.abs(off_bev), 99):.1f} mL |"
        )


if __name__ == "__main__":
    main()
