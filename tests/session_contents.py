"""Made-up sessions, for the tests of their page."""

import functools
import io
from typing import Any

import numpy as np

from spiro_diffusion.sessions import Decision, Header, Person, Session, Visit, interpret, page, read_session
from spiro_diffusion.sessions.page_contents import Contents, Floats, Interval
from spiro_diffusion.sessions.sentences import Language

PERSON = Person(52, 174, "male", "caucasian", "No. 17")
HEADER = Header(
    device="Spirometer 2001-X, 448812",
    calibration="3 L, 2026-11-20, +0.4 %",
    btps="1.021, applied",
    drug="salbutamol",
    dose="400 µg",
    wait="15 min",
)
# FVC (L) and time constant (s) of each blow, s after which one was stopped.
PRE: list[tuple[float, float, float | None]] = [(3.9, 0.9, None), (3.86, 0.92, None), (3.7, 1.0, None), (3.8, 0.9, 1.6)]
POST: list[tuple[float, float, float | None]] = [(4.25, 0.8, None), (4.2, 0.82, None), (4.18, 0.85, None)]
FVC_INTERVAL = (3.55, 3.8, 4.05)  # L, of the completion of the stopped blow
STOPPED = 4  # its number


def flow(fvc: float, seconds: float, stopped: float | None, inspired: bool = False) -> Floats:
    """Flow (T,) in L/s of each 10 ms of a blow."""
    time = np.arange(800) * 0.01
    rise = np.minimum(time / 0.08, 1)
    made = (np.exp(-time / seconds) + 0.1 * np.exp(-time / (3 * seconds))) * rise
    made = made / (made.sum() * 0.01) * fvc
    made = np.concatenate([np.zeros(20), made if stopped is None else made[: round(100 * stopped)]])
    breath = np.sin(np.linspace(0, np.pi, 130))
    return np.concatenate([made, -breath / (breath.sum() * 0.01) * made.sum() * 0.0098]) if inspired else made


def csv(more: int = 0) -> bytes:
    """Four blows before and three after a drug, the first of each again `more` times; the fourth was stopped early."""
    rows = ["curve,time_s,flow_l_s"]
    for phase, specs in (("pre", PRE), ("post", POST)):
        for number, spec in enumerate(specs + [specs[0]] * more, 1):
            rows += [f"{phase} {number},{0.01 * i:.2f},{value:.5f}" for i, value in enumerate(flow(*spec))]
    return ("\n".join(rows) + "\n").encode()


@functools.cache
def session(more: int = 0, note: str = "", **given: Any) -> Session:
    """The session of `csv`; the third blow was decided against."""
    header = HEADER if not note else Header(**{**vars(HEADER), "comments": note})
    visit = Visit(header, decisions={"pre 3": Decision(False, "Dr. Example", "cough heard")})
    return read_session(io.BytesIO(csv(more)), given.pop("person", PERSON), visit, **given)


def contents(language: Language = "en", *, more: int = 0, note: str = "", **given: Any) -> Contents:
    """Its page, the stopped blow completed."""
    return page.contents_of(interpret(session(more, note, **given)), language, {STOPPED: completion()})


def completion() -> Interval:
    """Of the stopped blow, as it was before it was stopped."""
    whole = flow(*PRE[STOPPED - 1][:2], None)
    time = np.arange(len(whole)) * 0.01 - 0.2
    volume = np.cumsum(whole) * 0.01
    apart = np.clip((time - 1.4) / 3, 0, 1) * 0.25
    return Interval(time, volume - apart, volume, volume + apart, whole, FVC_INTERVAL)
