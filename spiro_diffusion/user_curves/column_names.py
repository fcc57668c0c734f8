"""Column names of spirometry in several languages, with their units."""

import functools
import re
import unicodedata
from typing import Literal, NamedTuple

Quantity = Literal["time", "flow", "volume", "curve"]

_WORDS: dict[Quantity, str] = {
    "time": "time t zeit temps tiempo tempo tijd tid czas čas idő zaman süre aika время час време vrijeme timp waktu"
    " aeg χρόνος الزمن الوقت 时间 時間 呼气时间 呼氣時間 시간 เวลา",
    "flow": "flow airflow flowrate fluss flux strömung atemfluss atemstrom luftstrom volumenstrom flussrate"
    " atemstromstärke débit debit flujo flusso fluxo cabal stroom stroming luchtstroom flöde luftflöde strøm luftstrøm"
    " strømning przepływ průtok prietok protok pretok áramlás akış akım virtaus поток скорость потік дебит ροή aliran"
    " vool التدفق 流量 流速 气流 氣流 気流 呼气流量 呼氣流量 呼気流量 呼气流速 呼氣流速 フロー 유량 유속",
    "volume": "volume vol volumen volum wolumen objem objętość térfogat hacim tilavuus объем объём обем обсяг"
    " obujam όγκος maht الحجم 容积 容積 容量 体积 體積 体積 呼气容积 呼氣容積 呼气量 呼気量 ボリューム 용적 부피",
    "curve": "curve blow effort trial manoeuvre maneuver maneuvre attempt versuch messung kurve manöver essai"
    " courbe manœuvre prueba curva maniobra prova manovra poging próba попытка кривая 曲线 曲線 试验 次数",
}
WORDS: dict[str, Quantity] = {word.casefold(): quantity for quantity, words in _WORDS.items() for word in words.split()}
_MODIFIERS = """expiratory expired exp forced air rate exspiratorischer exspiratorisch expiratoire espiratorio
expiratorio in en the of no nr number id name column elapsed"""
MODIFIERS = frozenset(_MODIFIERS.split())
CONDITIONS = ("btps", "atps")
# Of a calculated column, such as a predicted curve: it is no blow.
_CALCULATED = """predicted pred reference ref soll sollwert norm normal lln uln theoretical théorique teórico teorico
previsto verwacht должное 预计 预测 預計 予測 예측"""
NOT_MEASURED = frozenset(_CALCULATED.split())

# To s, L/s and L. Written as in the table below after lower case, blanks and dots having been left out.
_UNITS: tuple[tuple[Quantity, float, str], ...] = (
    ("time", 1.0, "s sec secs second seconds sek sekunden seg sn mp с сек 秒 초"),
    ("time", 1e-3, "ms msec millisecond milliseconds мс 毫秒"),
    ("time", 1e-6, "us µs μs"),
    ("time", 60.0, "min minutes minuten"),
    ("flow", 1.0, "l/s l/sec l/sek l/seg lps ls-1 dm3/s л/с 升/秒 l/秒 l/초 l/sn l/mp"),
    ("flow", 1 / 60, "l/min l/mn lpm lmin-1 л/мин л/хв 升/分 升/分钟 l/分 l/분 l/dk"),
    ("flow", 1e-3, "ml/s ml/sec mls-1 cc/s cm3/s мл/с 毫升/秒"),
    ("flow", 1e-3 / 60, "ml/min мл/мин"),
    ("flow", 1 / 3.6, "m3/h"),
    ("volume", 1.0, "l dm3 liter litre liters litres litri litros л 升"),
    ("volume", 1e-1, "dl"),
    ("volume", 1e-2, "cl"),
    ("volume", 1e-3, "ml cc cm3 milliliter millilitre мл 毫升"),
)
UNITS = {word: (quantity, factor) for quantity, factor, words in _UNITS for word in words.split()}
# Units of other quantities, or larger or smaller than any export of spirometry has: refused, not passed over.
_FOREIGN = """h hours ns qt gal oz pt ft3 in3 cuft m3 µl ul kpa hpa pa
mbar cmh2o psi % v mv rpm slm sccm"""
FOREIGN = frozenset(_FOREIGN.split())
_PER = re.compile(
    r"\b(m?l|millilit[er]{2}s?|lit[er]{2}s?|litri|litros)\s+(?:per|pro|par|por|al)\s+(sec|sek|seg|min)\w*"
)
_IN_BRACKETS = re.compile(r"[(\[{<](.*?)[)\]}>]")
_CONDITION = re.compile(rf"\b(?:{'|'.join(CONDITIONS)})\b")
_AT_END = re.compile(r"^(.+?)[\s_:,/]+([^\s_:,/]+(?:\s*[/_]\s*[^\s_/:,]+)?)$")
LONGEST_SYMBOL = 3  # letters of a unit as a symbol; a longer one is a word, which names a column by itself


class ColumnName(NamedTuple):
    """The meaning of a column's name."""

    quantity: Quantity | None
    label: str = ""  # names that distinguish the columns of several blows
    unit: float | None = None  # factor to s, L/s or L, where one is written
    conditions: str = ""  # btps or atps, where it is written


def unit(text: str) -> tuple[Quantity, float] | None:
    """Quantity and factor of a unit as written, alone or in brackets."""
    plain = _PER.sub(_as_unit, unicodedata.normalize("NFKC", text).casefold()).strip("()[]{}<> \t,;")
    return UNITS.get(re.sub(r"[\s.·*⋅^]", "", plain).replace("_", "/").replace("−", "-"))


def _as_unit(spoken: re.Match[str]) -> str:
    """`Liter pro Sekunde` as l/s."""
    return ("ml" if spoken[1].startswith("m") else "l") + ("/min" if spoken[2] == "min" else "/s")


@functools.lru_cache(4096)
def parse(name: str) -> ColumnName:
    """Quantity, label and unit of a column: `Flow (L/s)`, `flow_l_s`, `Fluss 2 in l/min`, `容积[L]`."""
    text = " ".join(unicodedata.normalize("NFKC", name[:200]).casefold().split())
    text = _PER.sub(_as_unit, re.sub(r"\bv(?:'|′|\u0307)", "flow", text))  # V' is flow in ISO's and Germany's notation
    written = None
    for found in _IN_BRACKETS.finditer(text):
        marks = _CONDITION.findall(found[1])
        if written := unit(_CONDITION.sub("", found[1])):
            text = " ".join([text[: found.start()], *marks, text[found.end() :]])
            break
        if "/" in found[1] or found[1].strip() in FOREIGN:  # a unit that is not known here
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
    if not written and text in UNITS and len(text) > LONGEST_SYMBOL:  # `Seconds`
        return ColumnName(UNITS[text][0], "", UNITS[text][1])
    quantity, label = _meaning(tokens, written[0] if written else None)
    if written and written[0] != quantity:
        return ColumnName(None)
    return ColumnName(quantity, label, written[1] if written else None, conditions if quantity else "")


def _meaning(tokens: list[str], written: Quantity | None) -> tuple[Quantity | None, str]:
    """The meaning of the words of a name, and the remainder as a label; `written` is the quantity of its unit."""
    quantities = {WORDS[token] for token in tokens if token in WORDS} - {"curve"}
    first = WORDS.get(tokens[0]) if tokens else None
    if NOT_MEASURED.intersection(tokens) or (tokens and first is None):
        return None, ""
    if first == "curve" and (not written or not quantities):  # `Blow 2 (L/s)` by its unit
        return written or "curve", " ".join(tokens[1:])
    if len(quantities) != 1:
        return None, ""
    (quantity,) = quantities
    return quantity, " ".join(token for token in tokens if WORDS.get(token) != quantity)
