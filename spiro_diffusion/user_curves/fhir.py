"""FHIR Observations with SampledData, alone or in a Bundle, as JSON: R4 and R4B (`period`) and R5 (`interval`).

Source: https://hl7.org/fhir/R4/datatypes.html#SampledData and https://hl7.org/fhir/R5/datatypes.html#SampledData.
An Observation says BTPS or ATPS in a text of its code, method or notes; where none does, the user must state it. The
subject, identifiers and dates are not read.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spiro_diffusion.core.artifacts import write_json
from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.formats.sniff import Kind
from spiro_diffusion.user_curves import column_names
from spiro_diffusion.user_curves.efforts import SAMPLE_PERIOD_S, Quantity, RawBlow, UserCurves
from spiro_diffusion.user_curves.source import Source

Release = Literal["R4", "R5"]
UCUM = "http://unitsofmeasure.org"
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}  # UCUM codes of an interval
SAMPLE = re.compile(r"[+-]?\d{1,12}(\.\d{1,12})?([eE]-?\d)?")
GAPS = ("E", "U", "L")  # error, beyond the upper and below the lower limit
STEP = 1e-4  # L/s, of what is written
MOST_OBSERVATIONS = 1000


def recognises(source: Source) -> bool:
    return source.kind is Kind.JSON


def read(source: Source) -> tuple[list[RawBlow], list[str]]:
    """Read the blows of all Observations with SampledData of flow or volume, named by their position in the file.

    Raises SpiroError if the JSON is no such resource, or a sample is missing.
    """
    try:
        resource = _resource(source.read())
    except RecursionError:
        raise SpiroError(f"{source.where}: its JSON is nested too deep") from None
    except ValueError as error:
        raise SpiroError(f"{source.where}: is damaged JSON ({printable(error, 80)})") from None
    observations = _observations(resource)
    if len(observations) > MOST_OBSERVATIONS:
        raise SpiroError(f"{source.where}: holds {len(observations)} Observations; give at most {MOST_OBSERVATIONS}")
    blows = []
    for place, observation in enumerate(observations, 1):
        for part in [observation, *_list(observation.get("component"))]:
            if isinstance(part, dict) and isinstance(part.get("valueSampledData"), dict):
                blows += _blow(part["valueSampledData"], _btps(observation, part), place, source.where)
    if not blows:
        kind = resource.get("resourceType", "") if isinstance(resource, dict) else ""
        what = f"a FHIR {kind} without SampledData of flow or volume" if isinstance(kind, str) and kind else "JSON"
        raise SpiroError(f"{source.where}: is {printable(what)}; of JSON, FHIR Observations with SampledData are read")
    return blows, []


def _resource(data: bytes) -> Any:
    """One resource, or the resources of a bulk export, one a line, as a Bundle of them."""
    try:
        return json.loads(data, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or error.lineno == 1:
            raise
        lines = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        return {"entry": [{"resource": json.loads(line, parse_constant=_no_number)} for line in lines]}


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _observations(resource: Any) -> list[dict[str, Any]]:
    if not isinstance(resource, dict):
        return []
    if resource.get("resourceType") == "Observation":
        return [resource]
    entries = [entry.get("resource") for entry in _list(resource.get("entry")) if isinstance(entry, dict)]
    return [one for one in entries if isinstance(one, dict) and one.get("resourceType") == "Observation"]


def _btps(observation: dict[str, Any], part: dict[str, Any]) -> float | None:
    """1 if a text of the code, method or notes states BTPS, else None."""
    message = json.dumps([x.get(key) for x in (observation, part) for key in ("code", "method", "note")])
    words = set(re.findall(r"\b(?:BTPS|ATPS)\b", message))
    return 1.0 if words == {"BTPS"} else None


def _blow(sampled: dict[str, Any], btps: float | None, place: int, where: str) -> list[RawBlow]:
    """The blow of one SampledData; None if its unit is no flow or volume."""
    origin = sampled.get("origin") if isinstance(sampled.get("origin"), dict) else {}
    assert isinstance(origin, dict)
    written = next((str(origin[key]) for key in ("code", "unit") if origin.get(key)), "")
    unit = column_names.unit(written[:40])
    if unit is None or unit[0] not in ("flow", "volume"):
        return []
    quantity: Quantity = "flow" if unit[0] == "flow" else "volume"
    where = f"{where}: Observation {place}"
    if sampled.get("dimensions", 1) != 1:
        raise SpiroError(f"{where}: SampledData of {printable(sampled['dimensions'], 20)} dimensions; expected 1")
    if sampled.get("offsets"):
        raise SpiroError(f"{where}: its samples are at individual offsets (R5); give the curve as CSV with times")
    factor, zero = _number(sampled, "factor", 1.0, where), _number(origin, "value", 0.0, where)
    values = (zero + factor * _samples(sampled.get("data"), where)) * unit[1]
    return [RawBlow(str(place), quantity, values, _period(sampled, where), btps=btps, column=written[:20])]


def _number(holder: dict[str, Any], key: str, default: float, where: str) -> float:
    value = holder.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise SpiroError(f"{where}: {key} is {printable(value, 20)}; expected a number")
    return float(value)


def _samples(data: Any, where: str) -> NDArray[np.float64]:
    words = data.split() if isinstance(data, str) else []
    if not words:
        raise SpiroError(f"{where}: its SampledData holds no samples")
    wrong = next((i for i, word in enumerate(words) if not SAMPLE.fullmatch(word)), None)
    if wrong is not None:
        message = words[wrong] if words[wrong] in GAPS else "no number"
        raise SpiroError(f"{where}: sample {wrong + 1} is {message}; curves with gaps are not read")
    return np.array([float(word) for word in words])


def _period(sampled: dict[str, Any], where: str) -> float:
    """Seconds between samples: R4's period in ms, or R5's interval in its unit."""
    if "period" in sampled:
        return _number(sampled, "period", 0.0, where) / 1000
    unit = sampled.get("intervalUnit")
    if "interval" not in sampled or not isinstance(unit, str) or unit not in SECONDS:
        raise SpiroError(f"{where}: has neither period (R4) nor interval with intervalUnit s or ms (R5)")
    return _number(sampled, "interval", 0.0, where) * SECONDS[unit]


def write(path: Path, curves: UserCurves, release: Release = "R4") -> None:
    """Write efforts as Observations of a named release, several in a Bundle; neither names nor people are written."""
    observations = [_observation(flow, release) for flow in curves.curves()]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": observation} for observation in observations],
    }
    write_json(path, observations[0] if len(observations) == 1 else bundle)


def _observation(flow: NDArray, release: Release) -> dict[str, Any]:
    ms = round(1000 * SAMPLE_PERIOD_S)
    interval = {"period": ms} if release == "R4" else {"interval": ms, "intervalUnit": "ms"}
    steps = np.diff(np.rint(np.cumsum(flow) / STEP), prepend=0).astype(np.int64)  # rounded so, volume does not drift
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Flow of a forced expiration, at BTPS"},
        "valueSampledData": {
            "origin": {"value": 0, "unit": "L/s", "system": UCUM, "code": "L/s"},
            **interval,
            "factor": STEP,
            "dimensions": 1,
            "data": " ".join(map(str, steps.tolist())),
        },
    }
