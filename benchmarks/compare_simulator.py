"""The simulated source beside the CDC's published values: tables and a plot for docs/simulator.md.

Usage: python benchmarks/compare_simulator.py FOLDER [SEED]   (it holds DEMO_G.xpt, BMX_G.xpt and SPX_G.xpt)

6,652 simulated participants stand beside the 6,652 of SPX_G with a baseline FVC. Of the raw curves only the
counts of the codebook are compared. Prints Markdown; writes docs/simulator.png.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyreadstat
from matplotlib.figure import Figure

from spiro_diffusion.physiology import reference
from spiro_diffusion.simulation import simulator

PARTICIPANTS = 6652
COLUMNS = {  # of SPX: name, decimals
    "SPXNFVC": ("FVC (mL)", 0),
    "SPXNFEV1": ("FEV1 (mL)", 0),
    "SPXNPEF": ("PEF (mL/s)", 0),
    "SPXNF257": ("FEF25-75 (mL/s)", 0),
    "SPXNFET": ("FET (s)", 1),
    "SPXNEV": ("BEV (mL)", 0),
    "SPDNACC": ("acceptable curves", 0),
}
CODEBOOK = {  # SPXRAW_G: counts of 37,661 curves
    "grade A": ("SPAQEFF", "A", 19840),
    "grade B": ("SPAQEFF", "B", 6056),
    "grade C": ("SPAQEFF", "C", 9014),
    "grade D": ("SPAQEFF", "D", 2751),
    "plateau": ("SPAPLAT", "Y", 27602),
    "after the bronchodilator": ("SPATTYPE", "Bron", 2019),
}
CURVES, CURVES_PEOPLE = 37661, 6689
QUANTILES = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]


def good(demo: pd.DataFrame, bmx: pd.DataFrame, spx: pd.DataFrame) -> pd.DataFrame:
    """People whose FVC and FEV1 have grades A or B, with their height."""
    people = spx.merge(demo, on="SEQN").merge(bmx, on="SEQN")
    graded = people[["SPXNQFVC", "SPXNQFV1"]].isin(["A", "B"]).all(axis=1)
    return people[graded & people["BMXHT"].notna()]


def explained(people: pd.DataFrame, column: str) -> tuple[float, float]:
    """Share of the variance of the logarithm that cubic age, height and sex explain; residual SD."""
    age, height = people["RIDAGEYR"] / 10, people["BMXHT"] / 100
    terms = np.stack([age**0, age, age**2, age**3, height], axis=1)
    design = np.concatenate([terms, terms * (people["RIAGENDR"] == 1).to_numpy()[:, None]], axis=1)
    y = np.log(people[column].to_numpy())
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return 1 - residual.var() / y.var(), residual.std(ddof=design.shape[1])


def z_scores(people: pd.DataFrame) -> dict[str, np.ndarray]:
    """GLI Global z-scores of FEV1, FVC and their ratio."""
    person = (people["RIDAGEYR"], people["BMXHT"], people["RIAGENDR"])
    values = {"fev1": people["SPXNFEV1"] / 1000, "fvc": people["SPXNFVC"] / 1000}
    values["ratio"] = values["fev1"] / values["fvc"]
    return {name: reference.gli_global(name, *person).z(value) for name, value in values.items()}


def main(folder: Path, seed: int) -> None:
    """Print the tables, draw the plot."""
    real = [pyreadstat.read_xport(folder / f"{name}_G.xpt")[0] for name in ("DEMO", "BMX", "SPX")]
    tables = simulator.simulate("G", PARTICIPANTS, seed)
    made = [tables[name] for name in ("DEMO", "BMX", "SPX")]
    people, simulated = good(*real), good(*made)
    print(f"Grades A or B: {len(people):,} people of SPX_G, {len(simulated):,} simulated.\n")
    print("| | explained variance | residual SD | GLI Global z |\n| --- | --- | --- | --- |")
    names = {"SPXNFEV1": "fev1", "SPXNFVC": "fvc", "SPXNPEF": "", "SPXNF257": ""}
    scores, simulated_scores = z_scores(people), z_scores(simulated)
    for column, index in names.items():
        (share, sd), (made_share, made_sd) = explained(people, column), explained(simulated, column)
        z = ""
        if index:
            a, b = scores[index], simulated_scores[index]
            z = f"{a.mean():+.2f} ± {a.std():.2f} / {b.mean():+.2f} ± {b.std():.2f}"
        print(f"| {COLUMNS[column][0].split()[0]} | {share:.3f} / {made_share:.3f} | {sd:.3f} / {made_sd:.3f} | {z} |")
    a, b = scores["ratio"], simulated_scores["ratio"]
    print(f"| FEV1/FVC | | | {a.mean():+.2f} ± {a.std():.2f} / {b.mean():+.2f} ± {b.std():.2f} |")

    print("\n| mean GLI Global z by RIDRETH3 | 1 | 2 | 3 | 4 | 6 | 7 |\n| --- | --- | --- | --- | --- | --- | --- |")
    for index in ("fev1", "fvc"):
        groups = [
            f"{scores[index][people['RIDRETH3'] == e].mean():+.2f} / "
            f"{simulated_scores[index][simulated['RIDRETH3'] == e].mean():+.2f}"
            for e in (1, 2, 3, 4, 6, 7)
        ]
        print(f"| {index} | {' | '.join(groups)} |")

    head = " | ".join(f"{100 * q:.0f} %" for q in QUANTILES)
    print(f"\n| published / simulated | {head} |\n| --- |{' --- |' * len(QUANTILES)}")
    for column, (name, decimals) in COLUMNS.items():
        pairs = zip(real[2][column].quantile(QUANTILES), made[2][column].quantile(QUANTILES), strict=True)
        print(f"| {name} | " + " | ".join(f"{x:.{decimals}f} / {y:.{decimals}f}" for x, y in pairs) + " |")

    raw = tables["SPXRAW"]
    print("\n| share of curves | codebook | simulated |\n| --- | --- | --- |")
    for name, (column, value, count) in CODEBOOK.items():
        print(f"| {name} | {count / CURVES:.3f} | {(raw[column] == value).mean():.3f} |")
    print(f"| curves a participant | {CURVES / CURVES_PEOPLE:.2f} | {len(raw) / raw['SEQN'].nunique():.2f} |")
    print("\n| share of participants | " + " | ".join("ABCDF") + " |\n| --- | --- | --- | --- | --- | --- |")
    for column, name in (("SPXNQFVC", "FVC quality"), ("SPXNQFV1", "FEV1 quality")):
        counts = [table.loc[table[column] != "", column].value_counts(normalize=True) for table in (real[2], made[2])]
        print(
            f"| {name} | "
            + " | ".join(f"{counts[0].get(g, 0):.3f} / {counts[1].get(g, 0):.3f}" for g in "ABCDF")
            + " |"
        )
    _plot(real[2], made[2]).savefig(Path(__file__).parents[1] / "docs" / "simulator.png", dpi=90)


def _plot(real: pd.DataFrame, made: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    for axes, (column, (name, _)) in zip(figure.subplots(2, 4).flat, COLUMNS.items(), strict=False):
        low, high = real[column].min(), real[column].quantile(0.998)
        bins = np.linspace(low, high, 40) if column != "SPDNACC" else np.arange(-0.5, 12.5)
        axes.hist(real[column].dropna(), bins, density=True, color="#c9ced3", label="SPX_G, published")
        axes.hist(made[column].dropna(), bins, density=True, histtype="step", color="#c1121f", label="simulated")
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize=8)
    ratio = figure.axes[7]
    edges = np.linspace(0.4, 1, 40).tolist()
    ratio.hist(real["SPXNFEV1"] / real["SPXNFVC"], edges, density=True, color="#c9ced3")
    ratio.hist(made["SPXNFEV1"] / made["SPXNFVC"], edges, density=True, histtype="step", color="#c1121f")
    ratio.set_title("FEV1/FVC", fontsize=9, loc="left")
    ratio.set_yticks([])
    ratio.spines[["top", "right", "left"]].set_visible(False)
    ratio.tick_params(labelsize=8)
    figure.axes[6].legend(fontsize=7, frameon=False, loc="upper right")
    return figure


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
