"""Write spiro_diffusion/simulation/population.json: what the simulator knows of the population, from the CDC's files.

Usage: python benchmarks/calibrate_population.py FOLDER   (it holds DEMO_G.xpt, BMX_G.xpt and SPX_G.xpt)

Only published values are read, no curves, and only summaries are written. The model of each value is

    value = correction(sex, age) + slope x log(height / 165 cm) + shift(ethnicity) + spread(age) x e

where e has a skewed marginal (its quantiles). As normal scores the values are held together by a covariance
matrix and by a bend each, a multiple of the ratio's squared score less 1: in obstruction and in very fast
emptying the others leave the line of the middle. FVC, PEF and the emptying after 1 s (FEV1/FVC) are
logarithms over a reference value; the others are named in main.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyreadstat
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from spiro_diffusion.physiology import reference
from spiro_diffusion.simulation import population
from spiro_diffusion.simulation.expiration import LEFT

AGES = [6, 8, 10, 12, 14, 16, 18, 21, 25, 35, 50, 65, 80]  # years: knots of the corrections
SIZE_AGES = [2, 4, *AGES]  # of height and body-mass index
SPREAD_AGES = [6, 12, 18, 30, 50, 80]  # of the spreads
ETHNICITIES = [3, 1, 2, 4, 6, 7]  # RIDRETH3; the first is the one the others are compared with
LOWER = [0.0005, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35]
PROBABILITIES = [*LOWER, 0.5, *(1 - p for p in reversed(LOWER))]
AGE_BANDS = [0, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30, 40, 50, 60, 65, 70, 75, 80, 81]


def hats(x: pd.Series, knots: list[int]) -> NDArray[np.float64]:
    """Design (n, knots) of a line from knot to knot."""
    return np.stack([np.interp(x, knots, unit) for unit in np.eye(len(knots))], axis=1)


def fit(y: pd.Series, people: pd.DataFrame, knots: list[int], with_height: bool) -> tuple[dict, NDArray[np.float64]]:
    """The terms of the model for one value, and e (n,)."""
    k = len(knots)
    by_sex = [hats(people["age"], knots) * (people["sex"] == sex).to_numpy()[:, None] for sex in (1, 2)]
    ethnicity = np.stack([people["ethnicity"] == e for e in ETHNICITIES[1:]], axis=1).astype(float)
    height = np.log(people["height"] / 165).to_numpy()[:, None] if with_height else np.empty((len(people), 0))
    design = np.concatenate([*by_sex, ethnicity, height], axis=1)
    terms = np.linalg.lstsq(design, y.to_numpy(), rcond=None)[0]
    residual = y - design @ terms
    spread = np.sqrt(np.linalg.lstsq(hats(people["age"], SPREAD_AGES), residual**2, rcond=None)[0])
    e = residual / (hats(people["age"], SPREAD_AGES) @ spread)
    table = {
        "ages": np.array(knots),
        "correction": terms[: 2 * k].reshape(2, k),
        "ethnicity": np.concatenate([[0.0], terms[2 * k : 2 * k + len(ETHNICITIES) - 1]]),
        "height": terms[-1] if with_height else 0.0,
        "spread": spread,
        "quantiles": np.quantile(e, PROBABILITIES),
    }
    return table, np.asarray(e)


def emptied(share: ArrayLike) -> NDArray[np.float64]:
    """How far a lung has emptied that has given this share of FVC: 1 is the mean of an exponential's time."""
    return np.log((1 + LEFT) / (1 + LEFT - np.asarray(share)))


def logit(share: pd.Series) -> pd.Series:
    """Log odds, of shares held within 0.02 and 0.995."""
    share = share.clip(0.02, 0.995)
    return pd.Series(np.log(share / (1 - share)), share.index)


def main(folder: Path) -> None:
    """Read three files of `folder`, write population.json."""
    demo, bmx, spx = [pyreadstat.read_xport(folder / f"{name}_G.xpt")[0] for name in ("DEMO", "BMX", "SPX")]
    people = demo.merge(bmx, on="SEQN", how="left").merge(spx, on="SEQN", how="left")
    names = {"RIDAGEYR": "age", "RIAGENDR": "sex", "RIDRETH3": "ethnicity", "BMXHT": "height", "BMXWT": "weight"}
    people = people.rename(columns=names)
    band = np.digitize(people["age"], AGE_BANDS) - 1
    tested = people["SPXNFVC"].notna()
    content: dict[str, Any] = {
        "age_bands": np.array(AGE_BANDS),
        "age_band_shares": np.bincount(band) / len(people),
        "blown_shares": np.bincount(band, tested) / np.bincount(band),
        "ethnicities": np.array(ETHNICITIES),
        "ethnicity_shares": people["ethnicity"].value_counts(normalize=True)[ETHNICITIES].to_numpy(),
        "spread_ages": np.array(SPREAD_AGES),
        "probabilities": np.array(PROBABILITIES),
    }

    measured = people[(people["age"] >= 2) & people["height"].notna() & people["weight"].notna()]
    mass_index = measured["weight"] / (measured["height"] / 100) ** 2
    log_mass_index = pd.Series(np.log(mass_index), mass_index.index)
    content["height"], _ = fit(np.log(measured["height"]), measured, SIZE_AGES, with_height=False)
    content["mass_index"], _ = fit(log_mass_index, measured, SIZE_AGES, with_height=False)

    good = people["SPXNQFVC"].isin(["A", "B"]) & people["SPXNQFV1"].isin(["A", "B"]) & people["height"].notna()
    good &= people["SPXNEV"].notna()
    people = people[good]
    person = (people["age"], people["height"], people["sex"])
    fvc, fet = people["SPXNFVC"] / 1000, people["SPXNFET"]
    most = {"1": 0.985, "3": 0.995, "6": 0.999}  # beyond these there is no line to be drawn to FVC
    share = {name: (people[f"SPXNFEV{name}"] / 1000 / fvc).clip(upper=highest) for name, highest in most.items()}
    share["5"] = (people["SPXNFEV5"] / 1000 / fvc).clip(upper=0.97 * share["1"])
    values = {
        "fvc": np.log(fvc / reference.gli_global("fvc", *person).m),
        "ratio": np.log(emptied(share["1"]) / emptied(reference.gli_global("ratio", *person).m)),
        "pef": np.log(people["SPXNPEF"] / 1000 / reference.hankinson("pef", *person, 0, extend=True).m),
        "early": logit(share["5"] / share["1"]),
        "late": logit((share["3"] - share["1"]) / (1 - share["1"])).where(fet > 6.6),
        "last": logit((share["6"] - share["3"]) / (1 - share["3"])).where(fet > 6.6),
        "fet": np.log(fet),
        "bev": np.log(np.maximum(people["SPXNEV"], 10) / 1000 / fvc),
    }
    content["values"], scores = {}, {}
    for name, value in pd.DataFrame(values, index=people.index).items():
        defined = value.notna()
        content["values"][name], e = fit(value[defined], people[defined], AGES, with_height=True)
        scores[name] = pd.Series(norm.ppf(pd.Series(e).rank() / (defined.sum() + 1)), index=value.index[defined])
    bent = pd.DataFrame(scores)
    bow = bent["ratio"] ** 2 - 1
    content["bends"] = bent.mul(bow, axis=0).mean().to_numpy() / 2
    content["bends"][bent.columns.get_loc("ratio")] = 0.0
    content["covariances"] = (bent - np.outer(bow, content["bends"])).cov().to_numpy()

    population.PATH.write_text(json.dumps(plain(content), indent=1) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Lists and numbers of arrays and dictionaries of them, rounded to 4 digits."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return np.round(value, 4).tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
