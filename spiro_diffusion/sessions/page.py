"""The report of a session on one page, as PDF or HTML.

Modelled on the standardised report of ATS 2017 (Culver et al., doi 10.1164/rccm.201710-1981ST) and the z-score scale of
ERS/ATS 2022 (Stanojevic et al., doi 10.1183/13993003.01499-2021).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.core.vocabulary import INDICES
from spiro_diffusion.physiology.ats_ers import PRESCHOOL_AGE
from spiro_diffusion.sessions import page_html, page_pdf
from spiro_diffusion.sessions.best_values import Values
from spiro_diffusion.sessions.interpretation import Interpretation
from spiro_diffusion.sessions.page_contents import Contents, Interval, PageBlow
from spiro_diffusion.sessions.page_pdf import PaperSize
from spiro_diffusion.sessions.page_words import words
from spiro_diffusion.sessions.records import HEADER, Blow, Phase, Session
from spiro_diffusion.sessions.sentences import LANGUAGES, Language

if TYPE_CHECKING:
    from spiro_diffusion.reconstruction.completion import Recovered  # PyTorch with it: seconds

SUFFIXES = (".pdf", ".html")
PAPERS: tuple[PaperSize, ...] = get_args(PaperSize)
STOPPED = ("no end", "early closure", "late closure")  # faults after which the rest of a blow can be completed
COMPLETIONS = 50  # drawn of each stopped blow: enough for the ends of a 90 % interval
COMPLETED_S = 15.0  # of a completion that is drawn
PERCENTILES = (5, 50, 95)
WORD: dict[Phase, str] = {"pre": "before", "post": "after"}
Reconstruct = Callable[..., "Recovered"]  # `SpiroGenerator.reconstruct`


def write(
    read: Interpretation,
    path: Path,
    *,
    language: str = "en",
    paper: str = "a4",
    completed: Mapping[int, Interval] | None = None,
) -> None:
    """Write the report of a session as PDF or HTML, by the ending of `path`; no file is left on failure.

    Args:
        language: en, zh or de. paper: a4 or letter.
        completed: completions of interrupted blows by their number, see `complete`.

    Raises SpiroError for another ending, language or paper size, for Chinese as PDF if no font contains its characters,
    and if the file cannot be written.
    """
    path = Path(path)
    size, used_language = checked(path, language, paper)
    contents = contents_of(read, used_language, completed)
    {".pdf": page_pdf.write, ".html": page_html.write}[path.suffix.lower()](path, contents, size)


def checked(path: Path, language: str, paper: str) -> tuple[PaperSize, Language]:
    """Check paper size and language before anything is read.

    Raises SpiroError as `write` does, except for errors of writing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SpiroError(f"{path}: a page is written as {' or '.join(SUFFIXES)}")
    if language not in LANGUAGES:
        words(language)  # raises
    if paper not in PAPERS:
        raise SpiroError(f"the sheet is {printable(paper, 20)}; expected {' or '.join(PAPERS)}")
    if path.suffix.lower() == ".pdf":
        page_pdf.family(language)
    return next(one for one in PAPERS if one == paper), next(one for one in LANGUAGES if one == language)


def complete(
    session: Session, reconstruct: Reconstruct, tell: Callable[[str], object] = lambda _: None
) -> dict[int, Interval]:
    """Complete the interrupted blows of a session, by their number, given the other blows of the phase. Blows that the
    user rejected are left out.

    `reconstruct` is `SpiroGenerator.reconstruct`; `tell` is called with the reason if a blow cannot be completed.
    """
    person = {"age": session.person.age, "height": session.person.height, "sex": session.person.sex}
    found = {}
    for blow in session.blows:
        rejected = blow.decision is not None and not blow.decision.counts
        if blow.counts_fvc or rejected or not any(fault in STOPPED for fault in blow.faults):
            continue
        others = [other.flow for other in session.of(blow.phase) if other.acceptable_fvc and other is not blow]
        try:
            try:
                result = reconstruct(blow.flow, others=others, n=COMPLETIONS, tell=tell, **person)
            except SpiroError:  # the others do not help; the blow alone may
                result = reconstruct(blow.flow, n=COMPLETIONS, tell=tell, **person)
        except SpiroError as error:
            tell(f"blow {blow.number} is not completed: {error}")
            continue
        found[blow.number] = interval(result)
    return found


def interval(result: "Recovered") -> Interval:
    """A completion as the report plots it."""
    last = int(np.flatnonzero(np.median(result.flow, axis=0) > 0).max(initial=1)) + 2
    kept = slice(0, min(last, int(np.searchsorted(result.time, COMPLETED_S))))
    low, median, high = np.percentile(result.volume[:, kept], PERCENTILES, axis=0)
    fvc = np.nanpercentile(result.indices["fvc"].to_numpy(float), PERCENTILES)
    flow = np.median(result.flow[:, kept], axis=0)
    return Interval(result.time[kept], low, median, high, flow, (float(fvc[0]), float(fvc[1]), float(fvc[2])))


def contents_of(
    read: Interpretation, language: Language = "en", completed: Mapping[int, Interval] | None = None
) -> Contents:
    """The contents of the report."""
    texts, session = words(language), read.session
    made = completed or {}
    return Contents(
        language=language,
        head=_head(session, texts),
        rows=[_row(values) for values in read.values.values() if values.best or values.reference],
        blows=[_blow(blow, texts, made.get(blow.number)) for blow in session.blows],
        pattern=read.sentences(language),
        grades=_grades(read, language),
        method=_method(read, language),
        comments=session.visit.header.comments,
        notes=[f"{note[:1].upper()}{note[1:]}." for note in session.notes],
    )


def _head(session: Session, texts: dict[str, str]) -> list[tuple[str, str]]:
    person = session.person
    entries = [(texts["person"], person.name)] if person.name else []
    entries += [(texts["sex"], texts[person.sex]), (texts["age"], f"{person.age:g} {texts['years']}")]
    entries += [(texts["height"], f"{person.height:g} cm")]
    entries += [(texts["group"], texts[f"group {person.group}"])] if person.group else []
    given = ((name, getattr(session.visit.header, name)) for name in HEADER if name != "comments")
    return entries + [(texts[name], value) for name, value in given if value]


def _row(values: Values) -> Values:
    """As it is; a change of the expiratory time means nothing."""
    return values._replace(change=None) if values.name == "fet" else values


def _blow(blow: Blow, texts: dict[str, str], made: Interval | None) -> PageBlow:
    remarks = [texts[fault] for fault in blow.faults]
    counted = ((blow.counts_fev1, blow.acceptable_fev1), (blow.counts_fvc, blow.acceptable_fvc))
    if blow.decision is None and any(counts and not acceptable for counts, acceptable in counted):
        remarks.append(texts["usable"])
    decided_by = ""
    if blow.decision is not None:
        decided_by = ": ".join(part for part in (blow.decision.who or texts["somebody"], blow.decision.why) if part)
    return PageBlow(blow, tuple(remarks), decided_by, made)


def _grades(read: Interpretation, language: Language) -> list[str]:
    texts, session = words(language), read.session
    first = INDICES["fev075" if session.person.age <= PRESCHOOL_AGE else "fev1"].label
    formatted = Contents(language, [], [], [], [], [], []).number
    remarks = []
    for phase in session.phases:
        grades, gaps = session.grades[phase], read.repeatability[phase]
        numbers: dict[str, Any] = {
            name: formatted(value, 2)
            for name, value in (("gap_fev1", gaps.fev1), ("gap_fvc", gaps.fvc), ("limit", gaps.limit))
        }
        remarks.append(texts["graded"].format(phase=texts[WORD[phase]], first=first, fev1=grades.fev1, fvc=grades.fvc))
        if gaps.fev1 is not None and gaps.fvc is not None:
            remarks.append(texts["apart"].format(**numbers))
    return remarks


def _method(read: Interpretation, language: Language) -> list[str]:
    texts = words(language)
    sources: dict[str, list[str]] = {}
    for values in read.values.values():
        if values.reference is None:
            continue
        group = values.reference.group
        source = values.reference.equations + (f" ({texts[f'group {group}']})" if group else "")
        sources.setdefault(source, []).append(INDICES[values.name].label)
    by = "; ".join(f"{', '.join(names)}: {source}" for source, names in sources.items())
    remarks = [texts[f"method {read.convention}"], texts["method references"].format(by=by)]
    if read.session.person.group is None:
        remarks.append(texts["method no group"])
    return [*remarks, texts["method standards"], f"spiro {VERSION}."]
