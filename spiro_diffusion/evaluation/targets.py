"""Targets of the generator, and the verdict on each.

A figure is `met` where its value keeps the bounds (and its interval holds what it must), `within_noise` where
only its 95 % interval does, else `missed`; `open` where it could not be computed.
"""

import dataclasses
from typing import Any, Literal

from spiro_diffusion.evaluation import registry
from spiro_diffusion.evaluation.figures import Figure, Tree, from_json, missing, rounded, to_json
from spiro_diffusion.evaluation.registry import VERDICTS, Level, Line, Verdict, at


@dataclasses.dataclass(frozen=True)
class JudgedFigure:
    """One figure of a target."""

    path: str
    figure: Figure
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Judged:
    """A target with its figures and its verdict: the worst of its figures'. `level` is `all` where it has none."""

    name: str
    level: Level | Literal["all"]
    text: str
    verdict: Verdict
    worst: str  # path of the figure that decides the verdict
    figures: tuple[JudgedFigure, ...]

    @property
    def decisive(self) -> Figure:
        """The figure that decides the verdict."""
        return next(f.figure for f in self.figures if f.path == self.worst)

    @property
    def computed(self) -> list[JudgedFigure]:
        """The figures that could be computed."""
        return [f for f in self.figures if f.figure.value is not None]

    @property
    def passed(self) -> int:
        """How many figures are met or within noise."""
        return sum(f.verdict in ("met", "within_noise") for f in self.computed)

    def to_json(self) -> dict[str, Any]:
        figures = [{"path": f.path, "verdict": f.verdict, **to_json(f.figure)} for f in self.figures]
        return {**vars(self), "figures": figures}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Judged":
        figures = []
        for item in content["figures"]:
            value = {k: v for k, v in item.items() if k not in ("path", "verdict")}
            found = from_json({"figure": value})["figure"]
            assert isinstance(found, Figure)
            figures.append(JudgedFigure(item["path"], found, item["verdict"]))
        return cls(**{**content, "figures": tuple(figures)})


def verdicts(tree: Tree, floor: Tree) -> list[Judged]:
    """Every target, first those that are computed once."""
    return [
        _judged(name, level, tree, floor)
        for level in (None, "every", "best")
        for name in registry.TARGETS
        if _lines(name, level)
    ]


def counts(judged: list[Judged]) -> dict[Verdict, int]:
    """How many targets have each verdict, from the worst."""
    return {v: sum(t.verdict == v for t in judged) for v in VERDICTS}


def summary(tree: Tree, judged: list[Judged]) -> dict[str, float | None]:
    """The headline figures under flat names, and how many targets have each verdict."""
    found: dict[str, float | None] = {f"targets_{v}": float(count) for v, count in counts(judged).items()}
    for level in (None, *registry.LEVELS):
        found |= {line.summary: at(tree, line.path).value for line in registry.lines(level) if line.entry.summary}
    return found


def _lines(name: str, level: Level | None) -> list[Line]:
    """The figures of a target, those of an index together."""
    found = [line for line in registry.lines(level) if line.entry.target == name]
    order = list(dict.fromkeys(line.index for line in found))
    return sorted(found, key=lambda line: order.index(line.index))


def _judged(name: str, level: Level | None, tree: Tree, floor: Tree) -> Judged:
    target = registry.TARGETS[name]
    figures = []
    for line in _lines(name, level):
        found = at(tree, line.path)
        if target.over_floor:
            found = _over(found, at(floor, line.path))
        figures.append(JudgedFigure(line.path, found, target.rule.verdict(found)))
    worst = min(figures, key=lambda f: (VERDICTS.index(f.verdict), -target.rule.excess(f.figure)))
    return Judged(name, level or "all", target.text, worst.verdict, worst.path, tuple(figures))


def _over(found: Figure, floor: Figure) -> Figure:
    if found.value is None:
        return found
    if not floor.value:
        return missing("the floor has no such figure")
    low, high = (None if v is None else rounded(v / floor.value) for v in (found.low, found.high))
    return Figure(rounded(found.value / floor.value), low, high)
