"""Training logs: DVCLive where it is installed, else plain files of the same format."""

from pathlib import Path
from typing import Any

from spiro_diffusion.compute import distributed
from spiro_diffusion.core import artifacts


def _live(folder: Path) -> Any:
    """DVCLive's logger; None on a bare GPU machine, which has no DVCLive."""
    try:
        from dvclive import Live  # noqa: PLC0415 (0.2 s, and only training logs)
    except ImportError:
        return None
    return Live(str(folder), dvcyaml=False, save_dvc_exp=False, report=None)


class Log:
    """One record an epoch under `folder`: `metrics.json` holds the last, `plots/metrics/*.tsv` all.

    Of several processes the first writes. A record's key names its file; `epoch` is the step.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes = distributed.rank() == 0
        self.live = _live(folder) if self.writes else None
        self.records: list[dict[str, float]] = []

    def step(self, record: dict[str, float]) -> None:
        self.records.append(record)
        if self.live is None:
            return
        self.live.step = int(record["epoch"])
        for key in sorted(record.keys() - {"epoch"}):  # the file keeps this order, also after a resume
            self.live.log_metric(key, record[key])
        self.live.make_summary()

    def close(self) -> None:
        """Write what is left."""
        if self.live is not None:
            self.live.end()
        if self.live is not None or not self.writes:
            return
        last: dict[str, Any] = {}
        keys = {key: None for record in self.records for key in record if key != "epoch"}
        for key in keys:
            rows = [(int(r["epoch"]), r[key]) for r in self.records if key in r]
            last[key] = rows[-1][1]
            text = f"step\t{key}\n" + "".join(f"{step}\t{value}\n" for step, value in rows)
            artifacts.write_text(self.folder / "plots" / "metrics" / f"{key}.tsv", text)
        last["step"] = int(self.records[-1]["epoch"])
        artifacts.write_json(self.folder / "metrics.json", last)
