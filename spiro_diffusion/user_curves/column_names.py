"""What columns of spirometry are called, in several languages, and their units."""

import functools
import re
import unicodedata
from typing import Literal, NamedTuple

Quantity = Literal["time", "flow", "volume", "curve"]

_WORDS: dict[Quantity, str] = {
    "time": "time t zeit temps tiempo tempo tijd tid czas čas idő zaman aika время 时间 時間 시간 เวลา",
    "flow": "flow airflow flowrate fluss flux strömung atemfluss luftstrom débit debit flujo flusso fluxo stroom flöde"
    " przepływ průtok áramlás akış virtaus поток скорость 流量 流速 フロー 유량 유속",
    "volume": "volume vol volumen volum wolumen objem objętość térfogat hacim tilavuus объем объём 容积 容積 容量 体积"
    " 體積 体積 ボリューム 용적 부피",
    "curve": "curve blow effort trial manoeuvre maneuver maneuvre attempt versuch messung kurve manöver essai"
    " courbe manœuvre prueba curva maniobra prova manovra poging próba попытка кривая 曲线 曲線 试验 次数",
}
WORDS: dict[str, Quantity] = {word: quantity for quantity, words in _WORDS.items() for word in words.split()}
_MODIFIERS = """expiratory expired exp forced air rate exspiratorischer exspiratorisch expiratoire espiratorio
expiratorio in en the of no nr number id name column"""
MODIFIERS = frozenset(_MODIFIERS.split())
CONDITIONS = ("btps", "atps")

# To s, L/s and L. Written as in the table below after lower case, blanks and dots having been left out.
_UNITS: tuple[tuple[Quantity, float, str], ...] = (
    ("time", 1.0, "s sec secs second seconds sek sekunden seg с сек 秒"),
    ("time", 1e-3, "ms msec millisecond milliseconds мс 毫秒"),
    ("flow", 1.0, "l/s l/sec l/sek l/seg lps ls-1 dm3/s л/с 升/秒"),
    ("flow", 1 / 60, "l/min l/mn lpm lmin-1 л/мин 升/分 升/分钟"),
    ("flow", 1e-3, "ml/s ml/sec mls-1 cc/s cm3/s мл/с 毫升/秒"),
    ("flow", 1e-3 / 60, "ml/min мл/мин"),
    ("flow", 1 / 3.6, "m3/h"),
    ("volume", 1.0, "l dm3 liter litre liters litres litri litros л 升"),
    ("volume", 1e-1, "dl"),
    ("volume", 1e-2, "cl"),
    ("volume", 1e-3, "ml cc cm3 milliliter millilitre мл 毫升"),
)
UNITS = {word: (quantity, factor) for quantity, factor, words in _UNITS for word in words.split()}
_IN_BRACKETS = re.compile(r"[(\[{<](.*?)[)\]}>]")
_CONDITION = re.compile(rf"\b(?:{'|'.join(CONDITIONS)})\b")
_AT_END = re.compile(r"^(.+?)[\s_:,/]+([^\s_:,/]+(?:\s*[/_]\s*[^\s_/:,]+)?)$")


class ColumnName(NamedTuple):
    """What a column's name says."""

    quantity: Quantity | None
    label: str = ""  # what tells the columns of several blows apart
    unit: float | None = None  # factor to s, L/s or L, where one is written
    conditions: str = ""  # btps or atps, where it is written


def unit(text: str) -> tuple[Quantity, float] | None:
    """Quantity and factor of a unit as written, alone or in brackets."""
    plain = unicodedata.normalize("NFKC", text).casefold().strip("()[]{}<> \t,;")
    return UNITS.get(re.sub(r"[\s.·*⋅^]", "", plain).replace("_", "/").replace("−", "-"))


@functools.lru_cache(4096)
def parse(name: str) -> ColumnName:
    """Quantity, label and unit of a column: `Flow (L/s)`, `flow_l_s`, `Fluss 2 in l/min`, `容积[L]`."""
    text = " ".join(unicodedata.normalize("NFKC", name[:200]).casefold().split())
    written = None
    for found in _IN_BRACKETS.finditer(text):
        said = _CONDITION.findall(found[1])
        if written := unit(_CONDITION.sub("", found[1])):
            text = " ".join([text[: found.start()], *said, text[found.end() :]])
            break
        if "/" in found[1]:  # a unit that is not known here
            return ColumnName(None)
    else:
        ending = _AT_END.match(text)
        if ending and unit(ending[2]) and ending[1] not in CONDITIONS:
            text, written = ending[1], unit(ending[2])
        elif ending and unit(ending[2].split("/")[-1].split("_")[-1]) and "_" not in ending[2]:
            last = re.split(r"[\s/]", text)[-1]
            text, written = text[: -len(last)], unit(last)
    tokens = re.findall(r"[^\W\d_]+|\d+", text)
    conditions = next((word for word in CONDITIONS if word in tokens), "")
    tokens = [token for token in tokens if token not in CONDITIONS and token not in MODIFIERS]
    quantities = {WORDS[token] for token in tokens if token in WORDS} - {"curve"}
    first = WORDS.get(tokens[0]) if tokens else None
    if first == "curve" and not written:
        return ColumnName("curve", " ".join(tokens[1:]))
    labels = [token for token in tokens if WORDS.get(token) not in quantities]
    if len(quantities) != 1 or (tokens and first is None):
        return ColumnName(None)
    (quantity,) = quantities
    if written and written[0] != quantity:
        return ColumnName(None)
    return ColumnName(quantity, " ".join(labels), written[1] if written else None, conditions)
