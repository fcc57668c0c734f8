"""Agreement of the indices: with the published values (SPX), and of a curve before and after resampling.

Bland and Altman 1986: the bias is the mean difference, the limits of agreement are 1.96 SD around it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spiro_diffusion.dataset import raw_curves

PUBLISHED = {  # index: column of SPX, its units in one of ours
    "fev05": ("SPXNFEV5", 1000),
    "fev075": ("SPXNFEV7", 1000),
    "fev1": ("SPXNFEV1", 1000),
    "fev3": ("SPXNFEV3", 1000),
    "fev6": ("SPXNFEV6", 1000),
    "fvc": ("SPXNFVC", 1000),
    "pef": ("SPXNPEF", 1000),
    "fef2575": ("SPXNF257", 1000),
    "bev": ("SPXNEV", 1000),
    "fet": ("SPXNFET", 1),
}
ROUND_TRIP = ["fev05", "fev075", "fev1", "fev3", "fev6", "fvc", "bev", "pef", "fef2575", "t99"]
VOLUMES = {"fev05", "fev075", "fev1", "fev3", "fev6", "fvc", "bev"}
DIGITS = 5  # of figures in L, mL, %: beyond them there is only rounding
OUTLIER_L = 0.150  # two efforts of one person repeat within it (ATS/ERS 2019); a best effort should agree so well
MATCH_L = 0.050  # an effort this near to a published volume is taken for its source
RECORD_S = 0.5  # a record is cut short if the published expiratory time is so much longer


def published(repaired: Path, cycles: list[str]) -> pd.DataFrame:
    """Published best values before the bronchodilator, by participant: L, L/s, s under our names; missing NaN."""
    columns = ["SEQN", *dict.fromkeys(column for column, _ in PUBLISHED.values())]
    tables = [raw_curves.read_table(repaired / f"SPX_{cycle}.parquet", columns) for cycle in cycles]
    spx = pd.concat(tables, ignore_index=True)
    values = {name: spx[column].astype(float) / units for name, (column, units) in PUBLISHED.items()}
    return pd.DataFrame(values).set_axis(pd.Index(spx["SEQN"].astype(np.int64), name="seqn"))


def with_published(table: pd.DataFrame, best_values: pd.DataFrame) -> dict[str, Any]:
    """Agreement of each participant's best effort with the published values.

    Args:
        table: curves with indices, `best`, `acceptable`, `test_type`.
        best_values: what `published` gives.

    Returns:
        `participants` compared; for each index `bias`, `sd`, `lower`, `upper` (limits of agreement),
        `median_absolute` in L, L/s or s, and `n`; `outliers` of FEV1 or FVC beyond 150 mL by reason.
    """
    best = table[table["best"]].set_index("seqn")
    published_best = best_values.reindex(best.index)
    best, published_best = best[published_best["fvc"].notna()], published_best[published_best["fvc"].notna()]
    figures = {name: bland_altman(best[name].to_numpy(), published_best[name].to_numpy()) for name in PUBLISHED}
    discrepant = ((best["fev1"] - published_best["fev1"]).abs() > OUTLIER_L) | (
        (best["fvc"] - published_best["fvc"]).abs() > OUTLIER_L
    )
    pre = table[(table["test_type"] == "Pre") & table["seqn"].isin(best.index[discrepant])]
    reasons = [
        _reason(computed, published_row, pre[pre["seqn"] == computed.Index])
        for computed, published_row in zip(
            best[discrepant].itertuples(), published_best[discrepant].itertuples(), strict=True
        )
    ]
    counts = {reason: reasons.count(reason) for reason in sorted(set(reasons))}
    return {"participants": len(best), "indices": figures, "outliers": {"participants": len(reasons), **counts}}


def bland_altman(computed: NDArray, published_values: NDArray) -> dict[str, float | int]:
    """Bias, SD, limits of agreement and median absolute difference, ours less theirs; pairs with a NaN left out."""
    difference = (computed - published_values)[~np.isnan(computed - published_values)]
    if len(difference) < 2:
        return {"n": len(difference)}
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    figures = {
        "bias": bias,
        "sd": sd,
        "lower": bias - 1.96 * sd,
        "upper": bias + 1.96 * sd,
        "median_absolute": float(np.median(np.abs(difference))),
    }
    return {"n": len(difference)} | {name: round(value, DIGITS) for name, value in figures.items()}


def _reason(best: Any, published: Any, efforts: pd.DataFrame) -> str:
    """Why a best effort is far from the published FEV1 or FVC, whichever is further."""
    name = max(("fev1", "fvc"), key=lambda index: abs(getattr(best, index) - getattr(published, index)))
    near = ((efforts[name] - getattr(published, name)).abs() < MATCH_L).to_numpy()
    if (near & efforts["acceptable"].to_numpy()).any():
        return "published_is_another_effort"
    if near.any():
        return "published_is_an_unaccepted_effort"
    if published.fet > best.fet + RECORD_S:
        return "record_ends_early"
    return "no_effort_matches"


def round_trip(before: pd.DataFrame, after: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Errors of indices of curves that went through the grid: mL for volumes, % for flows, ms for times.

    For each index `bias`, percentiles `p50`, `p99` and `max` of the absolute error, and how many curves have it
    `undetermined` only after the grid.
    """
    figures = {}
    for name in ROUND_TRIP:
        error = errors(before, after, name)
        absolute = np.abs(error)
        p50, p99, most = np.percentile(absolute, [50, 99, 100])
        figure = {"bias": error.mean(), "p50": p50, "p99": p99, "max": most}
        lost = int((after[name].isna() & before[name].notna()).sum())
        figures[name] = {key: round(float(value), DIGITS) for key, value in figure.items()} | {"undetermined": lost}
    return figures


def errors(before: pd.DataFrame, after: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Errors of one index, without NaN: mL for a volume, ms for a time, % for a flow."""
    difference = (after[name] - before[name]).to_numpy()
    if name not in VOLUMES and name != "t99":
        difference = 100 * difference / before[name].to_numpy()
    else:
        difference = 1000 * difference
    return difference[~np.isnan(difference)]


def unit(name: str) -> str:
    """Unit of what `errors` gives."""
    return "mL" if name in VOLUMES else "ms" if name == "t99" else "%"
