"""Stage baselines_report: the report of the evaluation once more, with the baselines beside the generator."""

from pathlib import Path

from spiro_diffusion.reporting import report


def baselines_report(*, metrics: Path) -> None:
    """Write the plots and the report of `metrics/baselines`."""
    report.make(metrics, metrics / "baselines", {})
