"""A page's contents with made-up blows, for the tests of the page of a session."""

import numpy as np

from spiro_diffusion.physiology import reference, spirometry
from spiro_diffusion.sessions.page_contents import Best, Blow, Change, Contents, Floats, Interval, Phase, Row
from spiro_diffusion.sessions.page_words import words

PERSON = (52.0, 174.0, 1)  # age (years), height (cm), sex
LMS = {
    **{name: reference.gli_global(name, *PERSON) for name in ("fev1", "fvc", "ratio")},
    "fef2575": reference.gli_2012("fef2575", *PERSON, 0),
    "pef": reference.hankinson("pef", *PERSON, 0),
}
# FVC (L) and time constant (s) of each blow, s after which one was stopped.
PRE: list[tuple[float, float, float | None]] = [(3.9, 0.9, None), (3.86, 0.92, None), (3.7, 1.0, None), (3.8, 0.9, 1.6)]
POST: list[tuple[float, float, float | None]] = [(4.25, 0.8, None), (4.2, 0.82, None), (4.18, 0.85, None)]


def flow(fvc: float, seconds: float, stopped: float | None, inspired: bool = False) -> Floats:
    """Flow (T,) in L/s of each 10 ms of a blow."""
    time = np.arange(800) * 0.01
    rise = np.minimum(time / 0.08, 1)
    made = (np.exp(-time / seconds) + 0.1 * np.exp(-time / (3 * seconds))) * rise
    made = made / (made.sum() * 0.01) * fvc
    made = np.concatenate([np.zeros(20), made if stopped is None else made[: round(100 * stopped)]])
    breath = np.sin(np.linspace(0, np.pi, 130))
    return np.concatenate([made, -breath / (breath.sum() * 0.01) * made.sum() * 0.0098]) if inspired else made


def contents(language: str = "en", *, inspired: bool = False, more: int = 0, note: str = "") -> Contents:
    """A session of four blows before and three after a drug; the fourth was stopped early and is completed."""
    said = words(language)
    blows: list[Blow] = []
    phases: list[tuple[Phase, list]] = [("pre", PRE), ("post", POST)]
    for phase, made in phases:
        for spec in made + [made[0]] * more:
            blows.append(_blow(len(blows) + 1, phase, spec, inspired, said))
    rows = [_row(name, blows) for name in ("fev1", "fvc", "ratio", "fef2575", "pef", "fet")]
    head = [
        (said["sex"], said["male"]),
        (said["age"], f"52 {said['years']}"),
        (said["height"], "174 cm"),
        (said["device"], "Spirometer 2001-X, 448812"),
        (said["calibration"], "3 L, 2026-11-20, +0.4 %"),
        (said["btps"], "1.021"),
        (said["drug"], "salbutamol"),
        (said["dose"], "400 µg"),
        (said["wait"], "15 min"),
    ]
    sentences = [
        "The pattern in a sentence. ",
        "The change in another one, which is longer than a line of the sheet is.",
    ]
    return Contents(language, head, rows, blows, sentences, ["FEV1 A, FVC B"], ["Best values by the rules."], note)


def _blow(number: int, phase: Phase, spec: tuple, inspired: bool, said: dict[str, str]) -> Blow:
    fvc, seconds, stopped = spec
    made = flow(fvc, seconds, stopped, inspired)
    found = spirometry.indices(made[None], np.array([len(made)])).to_pandas().iloc[0]
    values = {name: float(found[name]) for name in ("fev1", "fvc", "pef", "fef2575", "fet")}
    values["ratio"] = values["fev1"] / values["fvc"]
    reasons = (said["late closure"], said["no end"]) if stopped else ()
    completed = _completed(flow(fvc, seconds, None)) if stopped else None
    who = "Dr. Example" if number == 3 else ""
    counts = stopped is None
    return Blow(number, "", phase, made, float(found["t0"]), values, counts, counts, reasons, who, completed)


def _completed(whole: Floats) -> Interval:
    time = np.arange(len(whole)) * 0.01 - 0.2
    volume = np.cumsum(whole) * 0.01
    apart = np.clip((time - 1.4) / 3, 0, 1) * 0.25
    return Interval(time, volume - apart, volume, volume + apart, whole, (3.55, 3.8, 4.05))


def _row(name: str, blows: list[Blow]) -> Row:
    lms = LMS.get(name)

    def best(phase: Phase) -> Best:
        value, number = max((b.values[name], b.number) for b in blows if b.phase == phase and b.counts)
        return Best(value, float(lms.z(value)), float(lms.percent(value)), number) if lms else Best(value, blow=number)

    pre, post = best("pre"), best("post")
    if lms is None:
        return Row(name, pre, post)
    more = post.value - pre.value
    change = Change(more, 100 * more / pre.value, 100 * more / float(lms.m))
    return Row(name, pre, post, float(lms.m), float(lms.lln), change, name == "pef")
