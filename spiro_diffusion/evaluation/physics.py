"""Physical plausibility: rates of curves that are impossible or not as requested, against held-out curves."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.evaluation.bootstrap import Resamples
from spiro_diffusion.evaluation.figures import MIN_PEOPLE, Tree, from_resamples, too_few

FALL_L = 0.05  # volume may not fall by more: the counter and the tremor stay below 0.01 L
SECOND_PEAK_L_S = 0.5  # rise of the 100 ms mean flow after the peak, and ...
SECOND_PEAK_SHARE = 0.1  # ... share of the peak flow that it reaches too: 0 of 3,560 stand-in curves of grades A to C
PLATEAU_L = 0.025  # largest volume in the last second (ATS/ERS 2019), or ...
PLATEAU_S = 15.0  # ... an expiration of this length, ends an effort well
BEV_SHARE, BEV_L = 0.05, 0.100  # of FVC; L: the larger is the limit of the back-extrapolated volume (ATS/ERS 2019)
LIMITS = {"fvc": (0.2, 10.0), "fev1": (0.1, 8.0), "pef": (0.3, 20.0)}  # L, L, L/s: beyond any person of 6 to 79 years
READ = ("fvc", "fev1", "pef", "bev", "fet", "last_second", "fall", "second_peak")  # indices that the rules look at
RATES = ("falling", "second_peak", "no_plateau", "large_bev", "implausible", "any")


def violations(indices: dict[str, NDArray], people: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """1.0 where a curve breaks a rule, 0.0 where it keeps it, NaN where the rule does not apply.

    A plateau is required of grades A and B, a small back-extrapolated volume of A, B and C; without a grade,
    both are required. `indices` are (n,) or (n, draws); so are the results.
    """
    shape = indices["fvc"].shape
    column = (len(people), *(1,) * (len(shape) - 1))
    grade = people["grade"].to_numpy() if "grade" in people else np.full(len(people), "A")

    def requested(grades: str) -> NDArray[np.bool_]:
        return np.isin(grade, list(grades)).reshape(column)

    i = indices
    with np.errstate(invalid="ignore"):
        outside = np.zeros(shape, dtype=bool)
        for name, (low, high) in LIMITS.items():
            outside |= ~((i[name] >= low) & (i[name] <= high))  # not determined is outside too
        found = {
            "falling": i["fall"] > FALL_L,
            "second_peak": (i["second_peak"] > SECOND_PEAK_L_S) & (i["second_peak"] > SECOND_PEAK_SHARE * i["pef"]),
            "no_plateau": (i["last_second"] > PLATEAU_L) & (i["fet"] < PLATEAU_S),
            "large_bev": i["bev"] > np.maximum(BEV_SHARE * i["fvc"], BEV_L),
            "implausible": outside,
        }
    counted = {
        **found,
        "no_plateau": found["no_plateau"] & requested("AB"),
        "large_bev": found["large_bev"] & requested("ABC"),
    }
    result = {name: rule.astype(float) for name, rule in found.items()}
    result["no_plateau"] = np.where(requested("AB"), result["no_plateau"], np.nan)
    result["large_bev"] = np.where(requested("ABC"), result["large_bev"], np.nan)
    result["any"] = np.any(list(counted.values()), axis=0).astype(float)
    return result


class Side(NamedTuple):
    """Violations of n curves with their weights (n,) and the resamples of their participants."""

    violations: dict[str, NDArray]
    weights: NDArray
    resamples: Resamples

    def rate(self, name: str) -> tuple[NDArray[np.float64], int]:
        """Share (1 + B,) of curves that break a rule, and the participants to whom the rule applies."""
        columns = self.violations[name].reshape(len(self.weights), -1)
        requested = ~np.isnan(columns)
        w = self.weights * requested.mean(axis=1)
        mean = np.where(requested, columns, 0.0).sum(axis=1) / np.maximum(requested.sum(axis=1), 1)
        return self.resamples.means(mean, w), len(np.unique(self.resamples.person[w > 0]))


def rates(real: Side, candidate: Side) -> Tree:
    """Share of violations of the candidate, of held-out curves, and their difference, for each rule."""
    result: Tree = {}
    for name in RATES:
        (of_real, first), (of_candidate, second) = real.rate(name), candidate.rate(name)
        people = min(first, second)
        if people < MIN_PEOPLE:
            result |= {k: too_few(people) for k in (name, f"{name}_real", f"{name}_difference")}
            continue
        result[name] = from_resamples(of_candidate)
        result[f"{name}_real"] = from_resamples(of_real)
        result[f"{name}_difference"] = from_resamples(of_candidate - of_real)
    return result
