"""How long the slope for time zero and PEF should be: errors of each window on smooth expirations made real.

Usage: python benchmarks/slope_window.py

2,000 simulated best efforts are taken as they leave the lung, without tremor and counter: their highest
10 ms is the true peak, and the tangent there gives the true time zero. The same efforts with tremor,
turbulence and whole millilitres are then measured with windows of 10 to 120 ms; errors of FEV1 and BEV are
those that the window's time zero makes in the same curve. Prints a table for docs/spirometry.md.
"""

import numpy as np

from spiro_diffusion.physiology import counter, spirometry
from spiro_diffusion.simulation import expiration, simulator

PEOPLE, SAMPLES = 2000, 700


def main() -> None:
    """Print the table."""
    rng = np.random.default_rng(0)
    people = simulator._people("G", PEOPLE, rng)
    lungs, sessions = simulator._sessions(people[people["blown"]].reset_index(drop=True), rng)
    fvc = sessions["fvc"].to_numpy()[:, None]
    share = (sessions["pef"] / sessions["fvc"]).to_numpy()
    effort = expiration.best_effort(share, sessions["bev"].to_numpy())
    smooth = np.pad(fvc * expiration.flow(lungs, effort, SAMPLES), ((0, 0), (20, 0)))
    rough = smooth * (1 + simulator._unrest(smooth.shape, rng))
    measured = counter.flow(counter.count(rough, 1.085, rng), 1.085)

    spirometry.SLOPE_SAMPLES = 1
    truth = spirometry.indices(smooth)
    v = spirometry.volume(measured)
    at = truth.t0 / spirometry.SAMPLE_PERIOD_S
    from_true_zero = [spirometry.volume_at(v, at + samples) for samples in (0, 100)]  # BEV and FEV1
    print("| window | PEF: bias, SD | time zero: bias, SD | FEV1: bias, 99 % | BEV: bias, 99 % |")
    print("| --- | --- | --- | --- | --- |")
    for samples in (1, 2, 4, 6, 8, 10, 12):
        spirometry.SLOPE_SAMPLES = samples
        found = spirometry.indices(measured)
        pef = 100 * (found.pef / truth.pef - 1)
        t0 = 1000 * (found.t0 - truth.t0)
        fev1, bev = 1000 * (found.fev1 - from_true_zero[1]), 1000 * (found.bev - from_true_zero[0])
        print(
            f"| {10 * samples} ms | {pef.mean():+.1f} %, {pef.std():.1f} % | {t0.mean():+.1f} ms, {t0.std():.1f} ms "
            f"| {fev1.mean():+.1f} mL, {np.percentile(np.abs(fev1), 99):.1f} mL "
            f"| {bev.mean():+.1f} mL, {np.percentile(np.abs(bev), 99):.1f} mL |"
        )


if __name__ == "__main__":
    main()
