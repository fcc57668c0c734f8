"""Stage report: plots, pages and headline figures from stored results."""

from pathlib import Path

from spiro_diffusion.pipeline import headline
from spiro_diffusion.reporting import completion_report
from spiro_diffusion.reporting import report as pages


def report(*, metrics: Path) -> None:
    """Write the plots and reports of `metrics/resample`, `metrics/evaluate` and `metrics/reconstruct`."""
    pages.make(metrics, metrics / "evaluate", pages.training_logs(metrics))
    completion_report.write(metrics / "reconstruct")
    headline.write(metrics)
