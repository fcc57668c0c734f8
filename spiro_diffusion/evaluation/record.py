"""The record of an evaluation, `judge.json`: data, participants, figures of each candidate, targets."""

import dataclasses
from pathlib import Path
from typing import Any

from spiro_diffusion.core.artifacts import read_json, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.evaluation.figures import Tree, from_json, to_json
from spiro_diffusion.evaluation.targets import Judged

FILE = "judge.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """What was found. `data`: see `data.about`; `baselines`: by name, none before their stage has run."""

    data: dict[str, Any]
    generator: Tree
    floor: Tree
    grid_round_trip: Tree
    baselines: dict[str, Tree]
    targets: list[Judged]

    @property
    def candidates(self) -> dict[str, Tree]:
        """All trees, by the names that are shown."""
        judged = {"generator": self.generator, "floor": self.floor, "grid round trip": self.grid_round_trip}
        return judged | self.baselines

    def write(self, folder: Path) -> None:
        content = to_json({f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "targets"})
        write_json(folder / FILE, content | {"targets": [target.to_json() for target in self.targets]})

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """The record of a folder.

        Raises SpiroError where there is none, or it is of another version.
        """
        content = read_json(folder / FILE)
        try:
            trees = {name: from_json(content[name]) for name in ("generator", "floor", "grid_round_trip")}
            baselines = {name: from_json(tree) for name, tree in content["baselines"].items()}
            targets = [Judged.from_json(target) for target in content["targets"]]
            return cls(data=content["data"], **trees, baselines=baselines, targets=targets)
        except (KeyError, TypeError, AttributeError) as error:
            raise SpiroError(
                f"{folder / FILE}: not a record of the judge ({error!r}); judge again with `dvc repro evaluate`"
            ) from None
