"""Write the table of figures into README.md and README.zh-CN.md, from the committed files in metrics/.

    python -m benchmarks.readme_figures

The default run: metrics/main.json and params.yaml. Full size: metrics/full/, which `benchmarks.results_page` writes.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spiro_diffusion.core.artifacts import read_json, write_text
from spiro_diffusion.core.params import read_params
from spiro_diffusion.pipeline.headline import FIGURES

BEGIN, END = "<!-- figures: python -m benchmarks.readme_figures -->\n", "<!-- end of figures -->"
FULL = Path("metrics/full")


class Row(NamedTuple):
    figure: str  # its name among the headline figures
    english: str
    chinese: str
    best: str
    formatted: Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _ml(value: float) -> str:
    return f"{value:.0f} mL"


def _two(value: float) -> str:
    return f"{value:.2f}"


ROWS = (
    Row("ae_ml", "VQ-VAE round trip: median error of FEV1", "VQ-VAE 往返：FEV1 的误差中位数", "0 mL", _ml),
    Row(
        "cover", "held-out FEV1 within the 80 % prediction interval", "留出的 FEV1 在 80 % 预测区间内", "80 %", _percent
    ),
    Row("auc", "two-sample test on clinical indices, AUC", "临床指标的双样本检验，AUC", "0.50", _two),
    Row("fine", "two-sample test on the fine shape, AUC", "曲线细节的双样本检验，AUC", "0.50", _two),
    Row("copies", "memorisation: nearest to a training curve", "记忆：与训练曲线最近的比例", "50 %", _percent),
    Row("useful", "value as training data, over training curves", "作为训练数据的价值，与训练曲线之比", "1.00", _two),
    Row("cut_ml", "completed after a cut at 1 s: median error of FVC", "1 s 处中断后补全：FVC 误差中位数", "low", _ml),
)
FILES = {"evaluate/summary.json": "summary.json", "reconstruct/summary.json": "reconstruct.json"}  # of metrics/full/


def full(root: Path, figure: str) -> float:
    """A headline figure of the run at full size."""
    file, key = FIGURES[figure]
    return float(read_json(root / FULL / FILES[file])[key])


def table(root: Path, chinese: bool = False) -> str:
    """The table as Markdown, with a line on the data of each column."""
    main: dict[str, Any] = read_json(root / "metrics/main.json")
    judged = read_json(root / FULL / "about.json")["judged"]
    simulated = read_params(root / "params.yaml")["download"]["participants"]
    trained = (judged["training_participants"], judged["training_curves"], judged["participants"])
    if chinese:
        head = "| 指标 | 理想值 | 默认运行 | 全尺寸 |"
        sentence = (
            "默认运行：{:,} 名模拟受试者的 {:,} 条曲线。全尺寸：按 NHANES 校准的替代数据，不是 NHANES；\n"
            "用 {:,} 名受试者的 {:,} 条曲线训练，用 {} 名留出的受试者检验。"
        )
    else:
        head = "| figure | ideal | default run | full size |"
        sentence = (
            "Default run: {:,} simulated participants, {:,} curves. Full size: a stand-in calibrated to NHANES, not\n"
            "NHANES itself; trained on {:,} participants with {:,} curves, judged on {} held-out participants."
        )
    rows = []
    for row in ROWS:
        words, best = (row.chinese, row.best.replace("low", "低")) if chinese else (row.english, row.best)
        rows.append(
            f"| {words} | {best} | {row.formatted(main[row.figure])} | {row.formatted(full(root, row.figure))} |"
        )
    return "\n".join(
        [head, "| --- | --- | --- | --- |", *rows, "", sentence.format(simulated, main["curves"], *trained), ""]
    )


def with_table(page: str, root: Path, chinese: bool = False) -> str:
    """A README with this table in its place."""
    return re.sub(f"{BEGIN}.*?{END}", lambda _: BEGIN + table(root, chinese) + END, page, count=1, flags=re.S)


if __name__ == "__main__":
    for name in ("README.md", "README.zh-CN.md"):
        text = Path(name).read_text(encoding="utf-8")
        write_text(Path(name), with_table(text, Path(), chinese="zh" in name))
