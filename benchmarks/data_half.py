"""Time and memory of the data half on full-size files, beside a plain pandas loop.

Usage: python benchmarks/data_half.py FOLDER   (it holds DEMO_G.xpt, BMX_G.xpt, SPX_G.xpt, SPXRAW_G.zip)
       python benchmarks/data_half.py --growth 200 800 3200   (numbers of simulated people)

Everything runs three times, and the fastest counts. Each stage runs as `dvc repro` runs it, in a process of
its own in a temporary folder. The loop does what a first script would: pandas.read_sas on everything, then
curve by curve numpy and scipy's interp1d to 512 samples, without repair, units, time zero, indices or plots.
Prints wall time and the largest resident size of each. With --growth, the same of repair to resample over the number
of curves, fastest of three, and the exponents of a power of it.
"""

import json
import math
import os
import shutil
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROUNDS = 3
ROOT = Path(__file__).parents[1]
STAGES = {
    "download": "--raw data/raw",
    "repair": "--raw data/raw --repaired data/repaired --metrics metrics/repair.json",
    "align": "--repaired data/repaired --aligned data/aligned.parquet --metadata data/metadata_aligned.csv "
    "--metrics metrics/align.json",
    "filter": "--aligned data/aligned.parquet --filtered data/filtered.parquet --metrics metrics/filter.json",
    "resample": "--repaired data/repaired --filtered data/filtered.parquet --signals data/signals_L512.npy "
    "--curves data/curves.parquet --metrics metrics/resample.json --plot-data metrics/plot_data.npz",
}


def plain_loop(folder: Path) -> None:
    """The same steps as a script would take them."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from scipy.interpolate import interp1d  # noqa: PLC0415

    demo = pd.read_sas(folder / "DEMO_G.xpt", format="xport")[["SEQN", "RIDAGEYR", "RIAGENDR"]]
    bmx = pd.read_sas(folder / "BMX_G.xpt", format="xport")[["SEQN", "BMXHT"]]
    with zipfile.ZipFile(folder / "SPXRAW_G.zip") as archive, tempfile.TemporaryDirectory() as unpacked:
        member = archive.extract(archive.namelist()[0], unpacked)
        raw = pd.read_sas(member, format="sas7bdat")
    table = raw.merge(demo, on="SEQN").merge(bmx, on="SEQN")
    signals, people = [], []
    for _, row in table.iterrows():
        curve = np.array(row["SPXRAW"].decode().split(","), dtype=float)
        if len(curve) <= 100 or np.isnan(row["BMXHT"]):
            continue
        old, new = np.linspace(0, 1, len(curve)), np.linspace(0, 1, 512)
        signals.append(interp1d(old, curve * row["SPAFACT"] / 10)(new).astype(np.float32))
        people.append((row["SEQN"], row["RIDAGEYR"], row["BMXHT"], row["RIAGENDR"]))
    np.save("signals.npy", np.stack(signals))
    pd.DataFrame(people, columns=["SEQN", "age", "height", "gender"]).to_csv("metadata.csv", index=False)


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds and the largest resident megabytes of a command."""
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    quiet = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
    before = Path.cwd()
    os.chdir(folder)
    process = os.posix_spawn(sys.executable, [sys.executable, *command], environment, file_actions=quiet)
    os.chdir(before)
    _, status, usage = os.wait4(process, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed; run it by hand to see why")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main(source: Path) -> None:
    """Print a row for each stage, and for the loop."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        params = (ROOT / "params.yaml").read_text().replace("source: simulated", f"source: {source}", 1)
        (folder / "params.yaml").write_text(params)
        rounds = []
        for _ in range(ROUNDS):
            rows = {}
            for stage, arguments in STAGES.items():
                rows[stage] = measured(["-m", f"stages.{stage}", *arguments.split()], folder)
            shutil.rmtree(folder / "data")
            rows["loop"] = measured([str(Path(__file__).resolve()), "--plain-loop", str(source)], folder)
            rounds.append(rows)
    rows = {name: min(found[name] for found in rounds) for name in rounds[0]}
    loop = rows.pop("loop")
    print("| | wall (s) | largest resident (MB) |\n| --- | --- | --- |")
    for stage, (seconds, size) in rows.items():
        print(f"| {stage} | {seconds:.1f} | {size:.0f} |")
    for label, stages in (("download to resample", list(rows)), ("repair to resample", list(rows)[1:])):
        seconds, size = sum(rows[s][0] for s in stages), max(rows[s][1] for s in stages)
        print(f"| **{label}** | **{seconds:.1f}** | **{size:.0f}** |")
    print(f"| plain pandas loop | {loop[0]:.1f} | {loop[1]:.0f} |")


def growth(people: list[int]) -> None:
    """Print time and memory of repair to resample for so many simulated people, and their exponents."""
    points = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in people:
            params = (ROOT / "params.yaml").read_text().replace("participants: 600", f"participants: {number}", 1)
            (folder / "params.yaml").write_text(params)
            simulated, *rest = STAGES.items()
            measured(["-m", f"stages.{simulated[0]}", *simulated[1].split()], folder)
            rounds = [
                [measured(["-m", f"stages.{stage}", *arguments.split()], folder) for stage, arguments in rest]
                for _ in range(ROUNDS)
            ]
            seconds = min(sum(s for s, _ in found) for found in rounds)
            size = max(size for found in rounds for _, size in found)
            curves = json.loads((folder / "metrics/align.json").read_text())["cycles"]["G"]["raw"]["curves"]
            points.append((curves, seconds, size))
            shutil.rmtree(folder / "data")
    print("| curves | repair to resample (s) | largest resident (MB) |\n| ---: | ---: | ---: |")
    for curves, seconds, size in points:
        print(f"| {curves:,} | {seconds:.1f} | {size:.0f} |")
    (n0, s0, m0), (n1, s1, m1) = points[0], points[-1]
    span = math.log(n1 / n0)
    print(
        f"exponents from the first to the last: {math.log(s1 / s0) / span:.2f} (time), {math.log(m1 / m0) / span:.2f}"
    )


if __name__ == "__main__":
    if sys.argv[1] == "--growth":
        growth([int(number) for number in sys.argv[2:]])
    elif sys.argv[1] == "--plain-loop":
        plain_loop(Path(sys.argv[2]))
    else:
        main(Path(sys.argv[1]).resolve())
