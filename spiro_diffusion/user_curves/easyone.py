"""XML of ndd's EasyOne and EasyWare: flow (L/s) and volume (L) of each trial of a forced expiration.

Source: the structure that public importers read, Test/Trials/Trial/ChannelFlow with SamplingInterval (s) and
SamplingValues, and ResultParameter ID="FVC" or "BTPSex". Only these elements are kept while the file is read: no
name, number or date of a patient ever is. Entities are refused. Whether BTPS was applied follows from the trial's FVC.
"""

import re
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.user_curves import fvc
from spiro_diffusion.user_curves.efforts import RawBlow
from spiro_diffusion.user_curves.source import Source

NEEDED = ("SamplingInterval", "SamplingValues", "Number", "DataValue", "TypeOfTest")
RESULTS = ("FVC", "BTPSex")
FORCED = ("FVC", "FVL", "TIDALFVL")  # tests with a forced expiration; slow ones and MVV have none
DEEPEST = 100  # elements in elements
MOST_TRIALS = 1000


@dataclass
class _Trial:
    test: str
    number: str = ""
    channels: dict[tuple[str, str], str] = field(default_factory=dict)  # channel and element: text
    results: dict[str, float] = field(default_factory=dict)


class _Collector:
    """Gathers the trials of a file, and nothing else in it."""

    def __init__(self, where: str) -> None:
        self.where, self.path, self.text = where, [""], [""]
        self.trials: list[_Trial] = []
        self.test = self.result = self.root = ""
        self.tests: set[str] = set()

    def start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        self.root = self.root or name
        self.path.append(name)
        if len(self.path) > DEEPEST:
            raise SpiroError(f"{self.where}: its XML is more than {DEEPEST} elements deep")
        self.text = [""]
        if name == "Test":
            self.test = attributes.get("TypeOfTest", "")
        if name == "Trial":
            self.trials.append(_Trial(self.test))
            if len(self.trials) > MOST_TRIALS:
                raise SpiroError(f"{self.where}: holds more than {MOST_TRIALS} trials; give it in parts")
        if name == "ResultParameter":
            self.result = attributes.get("ID", "")

    def data(self, text: str) -> None:
        if self.path[-1] in NEEDED:
            self.text.append(text)

    def end(self, name: str) -> None:
        text = "".join(self.text).strip()
        self.text = [""]
        self.path.pop()
        parent = self.path[-1]
        if name == "TypeOfTest" and parent == "Test":
            self.test = text
        if not self.trials or "Trial" not in self.path:
            return
        trial = self.trials[-1]
        if name == "Number" and parent == "Trial" and re.fullmatch(r"\d{1,4}", text):
            trial.number = text
        elif parent in ("ChannelFlow", "ChannelVolume"):
            trial.channels[parent, name] = text
        elif name == "DataValue" and self.result in RESULTS and _is_number(text):
            trial.results[self.result] = float(text)


def recognises(source: Source) -> bool:
    return source.kind is Kind.XML


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Blows of all trials of forced expirations, named by test and trial.

    Raises SpiroError for XML that is damaged, has entities, or is another document.
    """
    found = _Collector(source.where)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = found.start, found.end
    parser.CharacterDataHandler = found.data

    def forbidden(*_: object) -> int:
        raise SpiroError(f"{source.where}: its XML declares a document type or entities, which are not read")

    parser.ExternalEntityRefHandler = forbidden
    parser.EntityDeclHandler = parser.StartDoctypeDeclHandler = forbidden
    try:
        parser.Parse(source.read(), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise SpiroError(f"{source.where}: is damaged XML ({printable(error, 80)}); export it again") from None
    trials = [trial for trial in found.trials if not trial.test or trial.test.upper() in FORCED]
    curves = [trial for trial in trials if any(key[1] == "SamplingValues" for key in trial.channels)]
    if not curves:
        what = f"{len(found.trials)} trials without curves" if found.trials else f"an XML document <{found.root:.40}>"
        raise SpiroError(f"{source.where}: is {printable(what)}; of XML, ndd EasyOne's with curves is read")
    skipped = len(found.trials) - len(curves)
    notes = [f"{skipped} trials that are no forced expirations, or have no curve, left out"] if skipped else []
    blows = [_blow(trial, i, source.where) for i, trial in enumerate(curves, 1)]
    return blows, notes + fvc.applied(blows)


def _blow(trial: _Trial, place: int, where: str) -> RawBlow:
    name = trial.number or str(place)
    channel = "ChannelFlow" if ("ChannelFlow", "SamplingValues") in trial.channels else "ChannelVolume"
    interval = trial.channels.get((channel, "SamplingInterval"), "")
    if not _is_number(interval):
        raise SpiroError(f"{where}: trial {name} has no SamplingInterval; export it again")
    values, period = _numbers(trial.channels[channel, "SamplingValues"], f"{where}: trial {name}"), float(interval)
    flow = values if channel == "ChannelFlow" else np.diff(values, prepend=values[:1]) / (period or 1)
    given = trial.results.get("BTPSex", 1.0)
    out = fvc.expired(flow, period)
    factor = fvc.chosen({f: f * out for f in {1.0, given}}, trial.results.get("FVC"))
    quantity = "flow" if channel == "ChannelFlow" else "volume"
    return RawBlow(name, quantity, values, period, btps=factor, column=channel)  # type: ignore[arg-type]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d{1,9}(\.\d*)?|\.\d+)([eE][+-]?\d{1,2})?", text) is not None


def _numbers(text: str, place: str) -> NDArray[np.float64]:
    cells = re.split(r"[\s;,]+", text.strip())
    wrong = next((i for i, cell in enumerate(cells, 1) if not _is_number(cell)), None)
    if wrong is not None:
        raise SpiroError(f"{place}: value {wrong} of its SamplingValues is no number; export it again")
    return np.array([float(cell) for cell in cells])
