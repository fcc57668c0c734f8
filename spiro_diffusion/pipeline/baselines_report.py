"""Stage baselines_report: write the evaluation report again, with the baselines included."""

from pathlib import Path

from spiro_diffusion.reporting import report


def baselines_report(*, metrics: Path) -> None:
    """Write the plots and the report of `metrics/baselines`."""
    report.make(metrics, metrics / "baselines", {})
