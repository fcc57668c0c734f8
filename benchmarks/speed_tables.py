"""The figures of `benchmarks/models.py` as ratios, targets and Markdown."""

import json
import statistics
import time
from pathlib import Path
from typing import Any

from spiro_diffusion.core import artifacts
from spiro_diffusion.core.errors import SpiroError

ORIGIN, OURS = "origin's loop", "origin's network, our engine"
OURS_FREE, DEFAULT = "the same, free batch", "our network"
MEASURED = Path("benchmarks/measured.json")  # against which tests/test_page_figures.py compares the pages


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """This project over the origin's loop, part by part."""
    rate = {(r["part"], r["who"]): r["curves_per_s"] for r in rows}
    return {f"{part}: {who}": rate[part, who] / rate[part, ORIGIN] for part, who in rate if who != ORIGIN}


def targets(kind: str, rows: list[dict[str, Any]], over: dict[str, float]) -> list[dict[str, Any]]:
    """What was aimed at on this kind of device, and what was reached."""
    trained = ("train VQ-VAE", "train U-Net")
    factors = {OURS: 6.0, OURS_FREE: 30.0} if kind == "cuda" else {OURS: 1.0, DEFAULT: 1.5}
    found = [
        {"what": f"{part}: {who}, over the origin's loop", "target": factor, "reached": over[f"{part}: {who}"]}
        for part in trained
        for who, factor in factors.items()
    ]
    default = {r["part"]: r for r in rows if r["who"] == DEFAULT}
    finished = {"target": 20_000.0 if kind == "cuda" else 100.0, "reached": default["sample"]["curves_per_s"]}
    found.append({"what": "finished curves/s", **finished})
    if kind == "cuda":
        reached = default["train U-Net"]["share_of_limit"]
        found.append({"what": "share of the limit, training our U-Net", "target": 0.35, "reached": reached})
    return found


def tables(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    where, limits = result["machine"], result["ceilings"]
    lines = [
        f"{where['device']}, {where['cpu']}, {where['cores']} cores, load {where['load']}, "
        f"PyTorch {where['torch']}, commit {where['commit']}, graphs {'on' if where['graphs'] else 'off'}",
        "",
        "ceilings: "
        + ", ".join(f"{k} {v['flops'] / 1e12:.2f} TFLOP/s, {v['bandwidth'] / 1e9:.0f} GB/s" for k, v in limits.items()),
        "",
        "| part | who | type | batch | curves/s | over the origin's loop | MFLOP a curve | MB a curve | TFLOP/s | "
        "share of the matrix ceiling | GB/s | share of the limit |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in result["rows"]:
        over = result["ratios"].get(f"{r['part']}: {r['who']}")
        lines.append(
            f"| {r['part']} | {r['who']} | {r['dtype']} | {r['batch']} | {r['curves_per_s']:,.0f} | "
            f"{f'{over:.1f}' if over else ''} | {r['work']['flops'] / 1e6:,.1f} | {r['work']['bytes'] / 1e6:,.2f} | "
            f"{r['flops_per_s'] / 1e12:.3f} | {r['flop_utilisation']:.1%} | {r['bytes_per_s'] / 1e9:,.1f} | "
            f"{r['share_of_limit']:.0%} |"
        )
    lines += ["", "| target | aimed at | reached | |", "| --- | ---: | ---: | --- |"]
    for aim in result["targets"]:
        verdict = "met" if aim["reached"] >= aim["target"] else "missed"
        lines.append(f"| {aim['what']} | {aim['target']:,.2f} | {aim['reached']:,.2f} | {verdict} |")
    lines += [
        "",
        "| growth | curves | s | peak MB | exponent of time, of memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for part, found in result["growth"].items():
        for i, p in enumerate(found["points"]):
            last = i == len(found["points"]) - 1 and "time_exponent" in found
            exponents = f"{found['time_exponent']:.2f}, {found['memory_exponent']:.2f}" if last else ""
            seconds = statistics.median(p["seconds"])
            lines.append(f"| {part} | {p['curves']:,} | {seconds:.3f} | {p['peak_bytes'] / 1e6:,.0f} | {exponents} |")
    for name, kernels in result.get("profile", {}).items():
        lines += ["", f"| {name} | calls | us | share |", "| --- | ---: | ---: | ---: |"]
        lines += [f"| {k['kernel']} | {k['calls']} | {k['us']:.0f} | {k['share']:.1%} |" for k in kernels]
    lines += ["", "| agreement of a fast path with the plain one | difference | allowed |", "| --- | ---: | ---: |"]
    lines += [f"| {a['path']} | {a['difference']:.1e} | {a['allowed']:.2g} |" for a in result["agreement"]]
    return "\n".join(lines)


def insert(page: Path, result: dict[str, Any]) -> None:
    """Put the tables of a run between the marks of its kind of device on a page, and into the file of measurements."""
    kind = "CPU" if result["machine"]["device"] == "CPU" else "GPU"
    before, _, rest = page.read_text(encoding="utf-8").partition(f"<!-- {kind}: begin -->")
    _, mark, after = rest.partition(f"<!-- {kind}: end -->")
    if not mark:
        raise SpiroError(f"{page}: has no marks for a {kind}")
    shown = tables(result)
    artifacts.write_text(page, f"{before}<!-- {kind}: begin -->\n{shown}\n{mark}{after}")
    record(f"speed_{kind.lower()}", "curves of one shape, untrained weights", "python -m benchmarks.models", shown)


def record(name: str, data: str, command: str, shown: str) -> None:
    """Store the tables that a page shows, with today's date and the machine that their first line names."""
    rows = [line for line in shown.splitlines() if line.strip("| :-")]
    found = {"date": time.strftime("%Y-%m-%d"), "machine": rows[0], "data": data, "command": command, "figures": rows}
    measured = artifacts.read_json(MEASURED) | {name: found}
    artifacts.write_text(MEASURED, json.dumps(measured, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
