"""Sessions on the command line: reading options, tables, and the command `sessions`."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spiro_diffusion.cli.options import MODELS, Btps, Models, Subject
from spiro_diffusion.cli.program import command
from spiro_diffusion.cli.screen import print_error, print_line, print_table, warn, wrote
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import INDICES, SEXES

if TYPE_CHECKING:
    from spiro_diffusion.sessions import Decision, Header, Interpretation, Person, Previous, Session
    from spiro_diffusion.sessions.page_contents import Interval
    from spiro_diffusion.user_curves import UserCurves

DASH = "-"
TABLE = "sessions.csv"
PAGES = ("pdf", "html", "none")
RECONSTRUCTOR = "reconstructor.safetensors"


@dataclass(frozen=True)
class Reading:
    """Options for reading a session."""

    post: Annotated[Path | None, typer.Option(help="File of the efforts after the bronchodilator.")] = None
    group: Annotated[
        str | None, typer.Option(help="For PEF (Hankinson) and FEF25-75 (GLI 2012): caucasian, african_american, ...")
    ] = None
    equations: Annotated[str, typer.Option(help="For FEV1, FVC and their ratio: gli_global or gli_2012.")] = (
        "gli_global"
    )
    best: Annotated[str, typer.Option(help="Best values by ats_ers_2019, or the maxima as in nhanes.")] = "ats_ers_2019"
    slow_vc: Annotated[float | None, typer.Option(help="Slow vital capacity, L.")] = None
    previous: Annotated[
        str | None,
        typer.Option(help="An earlier visit: FEV1 (L), age (years), and below 18 years height (cm), as 1.90,9.5,135."),
    ] = None
    reject: Annotated[list[str] | None, typer.Option(help="Exclude an effort: NAME, or NAME=reason.")] = None
    accept: Annotated[
        list[str] | None, typer.Option(help="Include an effort despite its faults: NAME, or NAME=reason.")
    ] = None
    header: Annotated[
        list[str] | None, typer.Option(help="For the report: device=..., drug=..., dose=..., wait=..., operator=...")
    ] = None

    def person(self, subject: Subject) -> "Person | None":
        """The person of the session; None if no option describes them."""
        from spiro_diffusion.sessions import Person  # noqa: PLC0415 (pandas)

        given = subject.person("a session needs")
        if given is None:
            return None
        return Person(given.age, given.height, str(given.sex), self.group)  # type: ignore[arg-type]

    def of_survey(self, curves: "UserCurves") -> "Person | None":
        """The NHANES participant of the efforts, if there is one, with known age, height and sex."""
        from spiro_diffusion.sessions import Person  # noqa: PLC0415

        about = curves.about
        if about is None or "age" not in about or about["seqn"].nunique() != 1:
            return None
        age, height, sex = (float(about[name].iloc[0]) for name in ("age", "height", "sex"))
        if not all(map(math.isfinite, (age, height, sex))):
            return None
        return Person(age, height, SEXES[int(sex)], self.group)  # type: ignore[arg-type]

    def decisions(self) -> "dict[str, Decision]":
        """The user's decisions on efforts, by name."""
        from spiro_diffusion.sessions import Decision  # noqa: PLC0415

        operator = self.headers().operator
        found = {}
        for counts, texts in ((False, self.reject), (True, self.accept)):
            for text in texts or ():
                name, _, why = text.partition("=")
                found[name.strip()] = Decision(counts, operator, why.strip())
        return found

    def headers(self) -> "Header":
        """Device, drug and the like, as given.

        Raises SpiroError for an unknown key.
        """
        from spiro_diffusion.sessions import Header  # noqa: PLC0415
        from spiro_diffusion.sessions.records import HEADER  # noqa: PLC0415

        given = {}
        for text in self.header or ():
            name, found, value = text.partition("=")
            if name not in HEADER or not found:
                raise SpiroError(f"--header {printable(text, 60)}: give one of {', '.join(HEADER)}, as drug=salbutamol")
            given[name] = value.strip()
        return Header(**given)

    def earlier(self) -> "Previous | None":
        """The earlier visit.

        Raises SpiroError if the text cannot be read.
        """
        from spiro_diffusion.sessions import Previous  # noqa: PLC0415

        if self.previous is None:
            return None
        number = r"\s*(\d+\.?\d*)\s*"
        match = re.fullmatch(f"{number},{number}(?:,{number})?", self.previous)
        if match is None:
            raise SpiroError(
                f"--previous {printable(self.previous, 40)}: give FEV1 in L and age in years, of the young also height "
                "in cm, as 2.90,44.5 or 1.90,9.5,135"
            )
        return Previous(float(match[1]), float(match[2]), float(match[3]) if match[3] else None)

    def requested(self) -> bool:
        """Whether an option is given that only a session uses."""
        given = (self.post, self.group, self.slow_vc, self.previous, self.reject, self.accept, self.header)
        return any(value is not None for value in given)

    def interpret(self, curves: "UserCurves", person: "Person", btps: float | None) -> "Interpretation":
        """Interpret the session of `curves`, and of those of --post."""
        from spiro_diffusion.sessions import Visit, best_values, interpret, reading  # noqa: PLC0415
        from spiro_diffusion.user_curves import read  # noqa: PLC0415

        for value, allowed, option in (
            (self.equations, best_values.EQUATIONS, "equations"),
            (self.best, best_values.CONVENTIONS, "best"),
        ):
            if value not in allowed:
                raise SpiroError(f"--{option} {printable(value, 40)}: expected one of {', '.join(allowed)}")
        visit = Visit(self.headers(), self.slow_vc, self.earlier(), self.decisions())
        post = None if self.post is None else read(self.post, btps=btps)
        session = reading.session_of(curves, person, visit, post=post)
        return interpret(session, convention=self.best, equations=self.equations)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sheet:
    """Options for the report of a session."""

    language: Annotated[str, typer.Option(help="Of the report: en, zh or de.")] = "en"
    paper: Annotated[str, typer.Option(help="Paper size: a4 or letter.")] = "a4"
    models: Models = MODELS

    def write(self, read: "Interpretation", path: Path) -> None:
        """Write the report; interrupted efforts are completed if a model is available."""
        from spiro_diffusion.sessions import page  # noqa: PLC0415

        page.checked(path, self.language, self.paper)
        page.write(read, path, language=self.language, paper=self.paper, completed=self._completed(read.session))

    def _completed(self, session: "Session") -> "dict[int, Interval]":
        """Completions of the interrupted efforts; none without a model."""
        from spiro_diffusion.sessions import page  # noqa: PLC0415

        if not any(fault in page.STOPPED for blow in session.blows for fault in blow.faults if not blow.counts_fvc):
            return {}
        from spiro_diffusion.engines import choice, store  # noqa: PLC0415

        folder = store.located(self.models)
        if choice.completes(folder) is None:
            print_error(f"note: interrupted efforts are not completed: no {folder / RECONSTRUCTOR}")
            return {}
        from spiro_diffusion.api import SpiroGenerator  # noqa: PLC0415 (torch)

        return page.complete(session, SpiroGenerator.from_checkpoint(folder).reconstruct, warn)


def print_session(read: "Interpretation") -> None:
    """Print best values, repeatability, grades, decisions and the interpretation."""
    phases = read.session.phases
    heads = {"pre": ("before", "blow", "z", "% pred."), "post": ("after", "blow", "z", "% pred.")}
    header = ("", "predicted", "LLN", *(head for phase in phases for head in heads[phase]))
    both = len(phases) > 1
    rows = []
    for name, values in read.values.items():
        decimals = INDICES[name].decimals
        cells = [INDICES[name].label, _number(values.predicted, decimals), _number(values.lln, decimals)]
        for phase in phases:
            best = values.best.get(phase)
            blow = str(best.blow) if best and best.blow else DASH
            cells += [_number(best and best.value, decimals), blow]
            cells += [_number(best and best.z, 2), _number(best and best.percent, 0)]
        change = values.change
        rows.append((*cells, *((_number(change and change.absolute, decimals, sign=True),) if both else ())))
    print_table("best values", (*header, *(("change",) if both else ())), rows)
    for phase in phases:
        grades, gaps = read.session.grades[phase], read.repeatability[phase]
        described = ", ".join(
            f"{label} grade {grade}" + ("" if gap is None else f" (best two {1000 * gap:.0f} mL apart)")
            for label, grade, gap in (("FEV1", grades.fev1, gaps.fev1), ("FVC", grades.fvc, gaps.fvc))
        )
        print_line(f"{heads[phase][0]}: {described}")
    for one in read.session.blows:
        if one.decision is not None:
            verb = "counts" if one.decision.counts else "does not count"
            print_line(f"blow {one.number} ({one.name}) {verb}, as decided. {one.decision.why}".strip())
    for sentence in read.sentences():
        print_line(sentence)
    print_line(method(read))


def method(read: "Interpretation") -> str:
    """The methods and reference equations, in a sentence."""
    by: dict[str, list[str]] = {}
    for values in read.values.values():
        if (source := values.reference) is not None:
            name = f"{source.equations} ({source.group})" if source.group else source.equations
            by.setdefault(name + (", z derived" if source.derived else ""), []).append(INDICES[values.name].label)
    sources = "; ".join(f"{', '.join(names)} by {source}" for source, names in by.items())
    best = "ATS/ERS 2019" if read.convention == "ats_ers_2019" else "NHANES (maxima)"
    return f"Best values by {best}; {sources}; pattern by ERS/ATS 2022. Not for diagnosis."


def as_json(read: "Interpretation") -> dict[str, Any]:
    """A session for JSON; None for undetermined values."""
    return {
        "best": read.convention,
        "values": {name: _plain_values(values) for name, values in read.values.items()},
        "grades": {phase: grades._asdict() for phase, grades in read.session.grades.items()},
        "repeatability": {phase: gaps._asdict() | {"met": gaps.met} for phase, gaps in read.repeatability.items()},
        "findings": {phase: finding._asdict() for phase, finding in read.findings.items()},
        "responses": [response._asdict() for response in read.responses],
        "change": None if read.change is None else read.change._asdict() | {"beyond": read.change.beyond},
        "fev1_vc": read.fev1_vc,
        "sentences": read.sentences(),
        "method": method(read),
    }


def _plain_values(values: Any) -> dict[str, Any]:
    found = values._asdict()
    found["reference"] = values.reference and values.reference._asdict()
    found["best"] = {phase: best._asdict() for phase, best in values.best.items()}
    found["change"] = values.change and values.change._asdict()
    return {name: value for name, value in found.items() if name != "name"}


def _number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    return DASH if value is None else f"{value:{'+' if sign else ''}.{decimals}f}"


@command("spiro sessions LAB LAB/people.csv")
def sessions(
    folder: Annotated[
        Path, typer.Argument(help="A file of efforts for each person, in any format of docs/formats.md.")
    ],
    people: Annotated[
        Path, typer.Argument(help="Table: person (the file's name), age, height, sex; optionally group.")
    ],
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="Output folder of the table and the reports.")] = Path("sessions"),
    pages: Annotated[
        str, typer.Option(help="A report for each person: pdf or html; none for the table alone.")
    ] = "pdf",
    btps: Btps = None,
) -> None:
    """Read the sessions of all people of a folder: a report for each, and one table, sessions.csv.

    Sessions of unchanged files are not read again. Files that cannot be read are listed at the end; the others are
    read all the same.
    """
    from spiro_diffusion.sessions import folder as whole  # noqa: PLC0415 (pandas)
    from spiro_diffusion.sessions import page  # noqa: PLC0415

    if pages not in PAGES:
        raise SpiroError(f"--pages {printable(pages, 20)}: expected one of {', '.join(PAGES)}")
    made = None
    if pages != PAGES[-1]:
        page.checked(Path(f"page.{pages}"), sheet.language, sheet.paper)
        made = whole.Pages(f".{pages}", f"{sheet.language}, {sheet.paper}", sheet.write)
    found = whole.read_folder(folder, people, out, btps=btps, pages=made)
    for name, why in found.failed:
        print_error(f"{printable(name, 60)}: {why}")
    print_line(f"{found.read} sessions read, {found.kept} as before, {len(found.failed)} failed")
    wrote([out / TABLE])
    if found.failed:
        raise SpiroError(f"{len(found.failed)} of {found.people} sessions could not be read; see above")
