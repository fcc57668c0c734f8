"""Stage report: all plots and pages, from what the stages before it stored. It draws nothing from a model."""

from pathlib import Path

from spiro_diffusion.reporting import completion_report
from spiro_diffusion.reporting import report as pages


def report(*, metrics: Path) -> None:
    """Write the plots and reports of `metrics/resample`, `metrics/evaluate` and `metrics/reconstruct`."""
    pages.make(metrics, metrics / "evaluate", pages.training_logs(metrics))
    completion_report.write(metrics / "reconstruct")
