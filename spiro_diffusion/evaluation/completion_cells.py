"""Coverage of the 90 % prediction intervals of completions in each subgroup.

One effort a person, so that the number of intervals that hold is binomial. Each cell's exact interval (Clopper and
Pearson 1934) is that of 95 % over all cells together (Bonferroni): it holds 0.90 in all of them at once, in 19 of 20
judges of intervals that are right.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from spiro_diffusion.core.vocabulary import SEXES
from spiro_diffusion.evaluation import groups, utility
from spiro_diffusion.evaluation.figures import MIN_PEOPLE

NOMINAL = 0.90
ENDS = (0.05, 0.95)
Cell = dict[str, float]


def cells(
    people: pd.DataFrame, draws: NDArray, truth: NDArray, obstructed: NDArray[np.bool_], cuts: int
) -> dict[str, Cell]:
    """Of n efforts, one a person: `people` in each group, share whose interval `holds`, and its exact interval `from`
    and `to`, corrected for the groups of so many cuts. Groups of fewer than MIN_PEOPLE are left out.

    Args:
        draws, truth: (n, draws) and (n,) of one index. obstructed: (n,), as predicted.
    """
    low, high = np.quantile(draws, ENDS, axis=1)
    covered = (low <= truth) & (truth <= high)
    covered_of_groups = {
        name: covered[rows] for name, rows in _groups(people, obstructed).items() if rows.sum() >= MIN_PEOPLE
    }
    found = {}
    for name, inside in covered_of_groups.items():
        exact = binomtest(int(inside.sum()), len(inside)).proportion_ci(1 - 0.05 / (cuts * len(covered_of_groups)))
        shares = {"holds": inside.mean(), "from": exact.low, "to": exact.high}
        found[name] = {"people": len(inside)} | {key: round(float(share), 4) for key, share in shares.items()}
    return found


def predicted_obstructed(people: pd.DataFrame, ratio: NDArray) -> NDArray[np.bool_]:
    """Of n efforts whose FEV1/FVC was drawn (n, draws): whether more than half of the draws are obstructed."""
    each = [utility.obstructed(people, draw) for draw in np.asarray(ratio).T]
    return np.asarray(np.nanmean(each, axis=0) > 0.5)


def _groups(people: pd.DataFrame, obstructed: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    age, sex = np.floor(people["age"].to_numpy(float)), people["sex"].to_numpy()
    found: dict[str, NDArray[np.bool_]] = {"all": np.full(len(people), True)}
    found |= {word: sex == code for code, word in SEXES.items()}
    found |= {f"{low}_{high}": (age >= low) & (age <= high) for low, high in groups.AGE_BANDS}
    origin = groups.ethnicity(people)
    found |= {word: origin == word for word in groups.ETHNICITIES.values()}
    return found | {"predicted_obstructed": obstructed, "predicted_unobstructed": ~obstructed}
