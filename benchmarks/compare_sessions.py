"""Simulated sessions beside real ones: how their efforts differ, and whether they can be told apart.

Usage: python benchmarks/compare_sessions.py FOLDER   (it holds sessions.csv and sessions.npz of the real loops)

Sessions of three or more efforts: 91 of 62 adults of 18 to 39 years, and simulated people of these ages with their
efforts of grades A and B. Both classifiers of shape_auc.py, folds by person, mean and SD over 20 drawings of as
many simulated sessions. The simulator's three constants of a session (length, force, loss) were chosen on these
sessions: the figures are in-sample.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spiro_diffusion.physiology import counter, spirometry
from spiro_diffusion.simulation.simulator import simulate

AGES = (18, 39)
FEWEST = 3  # efforts
SHORTEST_S = 1.5  # of an effort
PEOPLE, DRAWS = 2500, 20
MODELS = {
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=60, max_depth=3, random_state=0),
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000)),
}


def main(folder: Path) -> None:
    """Print quantiles of each figure and the AUCs."""
    if not (folder / "sessions.npz").exists():
        print(f"{folder}: no sessions.npz there; nothing is compared")
        return
    real, simulated = features(real_efforts(folder)), features(simulated_efforts())
    quantiles = [0.1, 0.5, 0.9]
    table = {"real": real.quantile(quantiles).T, "simulated": simulated.quantile(quantiles).T}
    print(f"{len(real)} real sessions, {len(simulated)} simulated")
    print(pd.concat(table, axis=1).round(3).to_string())
    for name, make in MODELS.items():
        scores = [_auc(real, simulated, make, draw) for draw in range(DRAWS)]
        print(f"AUC, {name}: {np.mean(scores):.3f}, SD over {DRAWS} draws {np.std(scores):.3f}")


def real_efforts(folder: Path) -> pd.DataFrame:
    """Indices of the efforts in sessions.npz, until their greatest volume."""
    table = pd.read_csv(folder / "sessions.csv")
    ends = np.cumsum(table["samples"])
    volumes = np.split(np.load(folder / "sessions.npz", allow_pickle=False)["volume_l"].astype(float), ends[:-1])
    volumes = [volume[: volume.argmax() + 1] - min(volume[0], 0) for volume in volumes]
    efforts = [np.diff(volume, prepend=0.0) / spirometry.SAMPLE_PERIOD_S for volume in volumes]
    found = _indices(efforts).assign(person=table["person"], number=table["trial"])
    return found.assign(session=table["person"].astype(str) + "/" + table["visit"].astype(str))


def simulated_efforts() -> pd.DataFrame:
    """Indices of efforts of grades A and B at the real people's ages, before a bronchodilator."""
    tables = simulate("G", PEOPLE, 5)
    raw = tables["SPXRAW"].merge(tables["DEMO"][["SEQN", "RIDAGEYR"]], on="SEQN")
    kept = raw["RIDAGEYR"].between(*AGES) & (raw["SPATTYPE"] == "Pre") & raw["SPAQEFF"].isin(["A", "B"])
    raw = raw[kept].reset_index(drop=True)
    rows = zip(raw["SPXRAW"], raw["SPAFACT"], strict=True)
    efforts = [counter.flow(counts[None], factor)[0] for counts, factor in rows]
    return _indices(efforts).assign(person=raw["SEQN"], number=raw["SPAMANU"], session=raw["SEQN"])


def _indices(efforts: list[np.ndarray]) -> pd.DataFrame:
    points = np.array([len(effort) for effort in efforts])
    flow = np.zeros((len(efforts), points.max()))
    for row, effort in zip(flow, efforts, strict=True):
        row[: len(effort)] = effort
    return spirometry.indices(flow, points).to_pandas()


def features(efforts: pd.DataFrame) -> pd.DataFrame:
    """One row a session: how much its efforts differ, all without unit; index: the person."""
    efforts = efforts[efforts["fet"] > SHORTEST_S].sort_values(["session", "number"])
    rows, persons = [], []
    for _, session in efforts.groupby("session"):
        if len(session) < FEWEST:
            continue
        row = {
            f"{name}, CV": session[name].std() / session[name].mean() for name in ("fev1", "fvc", "pef", "bev", "fet")
        }
        for name in ("fev1", "fvc", "pef"):
            first, second = session[name].nlargest(2)
            row |= {
                f"{name}, second short of best": 1 - second / first,
                f"{name}, first": session[name].iloc[0] / first,
            }
        rows.append(row)
        persons.append(session["person"].iloc[0])
    return pd.DataFrame(rows, index=persons)


def _auc(real: pd.DataFrame, simulated: pd.DataFrame, make: Callable[[], ClassifierMixin], draw: int) -> float:
    rows = np.random.default_rng(draw).choice(len(simulated), len(real), replace=False)
    x = np.concatenate([real.to_numpy(), simulated.to_numpy()[rows]])
    labels = np.repeat([1, 0], len(real))
    groups = np.concatenate([real.index, simulated.index[rows]])
    predicted = np.zeros(len(x))
    for train, test in StratifiedGroupKFold(5, shuffle=True, random_state=draw).split(x, labels, groups):
        predicted[test] = make().fit(x[train], labels[train]).predict_proba(x[test])[:, 1]
    return float(roc_auc_score(labels, predicted))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
