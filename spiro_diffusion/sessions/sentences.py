"""Sentences of a session's interpretation, in every language of the page."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.vocabulary import INDICES

Language = Literal["en", "zh", "de"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
COMMAS = ("de",)  # languages with a decimal comma


class Statement(NamedTuple):
    """A sentence by its key, with the words and numbers that it contains."""

    key: str
    values: Mapping[str, str | float]


# English, Chinese, German
_WORDS: dict[str, tuple[str, str, str]] = {
    "pre": ("Before the bronchodilator", "用药前", "Vor dem Bronchodilatator"),
    "post": ("After the bronchodilator", "用药后", "Nach dem Bronchodilatator"),
    "mild": ("mild", "轻度", "leicht"),
    "moderate": ("moderate", "中度", "mittelschwer"),
    "severe": ("severe", "重度", "schwer"),
    "and": (" and ", "和", " und "),
}
_SEVERITY = (
    "By the z-score of {index} ({z:.2f}) it is {severity}.",
    "按{index}的z值（{z:.2f}）为{severity}。",
    "Nach dem z-Wert von {index} ({z:.2f}) {severity}.",
)
_TABLE: dict[str, tuple[str, str, str]] = {
    "pattern: normal": (
        "{phase}: no value lies below its lower limit of normal.",
        "{phase}：各项指标均不低于正常下限。",
        "{phase}: kein Wert liegt unter seiner unteren Grenze des Normalen.",
    ),
    "pattern: obstruction": (
        "{phase}: obstruction; FEV1/FVC lies below its lower limit of normal, FVC does not.",
        "{phase}：阻塞性通气功能障碍；FEV1/FVC低于正常下限，FVC不低。",
        "{phase}: Obstruktion; FEV1/FVC liegt unter der unteren Grenze des Normalen, FVC nicht.",
    ),
    "pattern: restriction": (
        "{phase}: possible restriction, or a non-specific pattern; FVC lies below its lower limit of normal, FEV1/FVC "
        "does not. Total lung capacity would decide.",
        "{phase}：可能为限制性通气功能障碍或非特异性类型；FVC低于正常下限，FEV1/FVC不低。需测定肺总量以确定。",
        "{phase}: mögliche Restriktion oder unspezifisches Muster; FVC liegt unter der unteren Grenze des Normalen, "
        "FEV1/FVC nicht. Die totale Lungenkapazität würde entscheiden.",
    ),
    "pattern: mixed": (
        "{phase}: obstruction with a low FVC, possibly mixed with restriction; FEV1/FVC and FVC lie below their lower "
        "limits of normal. Total lung capacity and residual volume would decide between restriction and trapped air.",
        "{phase}：阻塞性通气功能障碍伴FVC降低，可能为混合性；FEV1/FVC和FVC均低于正常下限。需测定肺总量和残气量以区分限制与气体陷闭。",
        "{phase}: Obstruktion mit niedriger FVC, möglicherweise gemischt mit Restriktion; FEV1/FVC und FVC liegen "
        "unter ihren unteren Grenzen. Totale Lungenkapazität und Residualvolumen würden entscheiden.",
    ),
    "pattern: low fev1": (
        "{phase}: FEV1 alone lies below its lower limit of normal; FEV1/FVC and FVC do not. This is not a separate "
        "pattern: repeat the test, and measure lung volumes if it persists.",
        "{phase}：仅FEV1低于正常下限，FEV1/FVC和FVC不低。这不是独立的类型：应复查，若持续存在则测定肺容量。",
        "{phase}: allein FEV1 liegt unter der unteren Grenze des Normalen, FEV1/FVC und FVC nicht. Das ist kein "
        "eigenes Muster: Test wiederholen, bei Fortbestehen Lungenvolumina messen.",
    ),
    "normal fev1": (
        "FEV1 is not low: a low ratio with a normal FEV1 can be a mild or early obstruction, or a variant of the "
        "healthy (large lungs beside their airways).",
        "FEV1不低：比值降低而FEV1正常，可为轻度或早期阻塞，也可为正常变异（肺容积相对气道较大）。",
        "FEV1 ist nicht niedrig: ein niedriges Verhältnis bei normaler FEV1 kann eine leichte oder frühe Obstruktion "
        "sein oder eine Variante des Gesunden (große Lungen im Verhältnis zu den Atemwegen).",
    ),
    "severity: mild": _SEVERITY,
    "severity: moderate": _SEVERITY,
    "severity: severe": _SEVERITY,
    "prism": (
        "It is preserved ratio impaired spirometry (PRISm: here FEV1/FVC at or above its lower limit of normal and "
        "FEV1 below; other definitions take 0.70 and 80 % of predicted).",
        "符合保留比值的肺量测定受损（PRISm，此处定义：FEV1/FVC不低于正常下限而FEV1低于正常下限；另有以0.70和占预计值80%为界的定义）。",
        "Das ist PRISm (hier: FEV1/FVC nicht unter der unteren Grenze des Normalen, FEV1 darunter; andere Definitionen "
        "nehmen 0,70 und 80 % des Sollwerts).",
    ),
    "low grade": (
        "The quality is low (FEV1 grade {fev1}, FVC grade {fvc}): read it with care, and repeat the test.",
        "质量等级低（FEV1 {fev1}级，FVC {fvc}级）：解读须谨慎，应复查。",
        "Die Qualität ist gering (FEV1 Grad {fev1}, FVC Grad {fvc}): mit Vorsicht lesen und den Test wiederholen.",
    ),
    "withheld: no fev1": (
        "{phase}: no blow gives an FEV1 that counts (grade {fev1}): nothing is interpreted.",
        "{phase}：没有可计入的FEV1（{fev1}级）：不作解读。",
        "{phase}: kein Manöver gibt eine FEV1, die zählt (Grad {fev1}): nichts wird interpretiert.",
    ),
    "withheld: no fvc": (
        "{phase}: no blow gives an FVC that counts (grade {fvc}): the pattern is not named.",
        "{phase}：没有可计入的FVC（{fvc}级）：不判断类型。",
        "{phase}: kein Manöver gibt eine FVC, die zählt (Grad {fvc}): das Muster wird nicht benannt.",
    ),
    "withheld: short fvc": (
        "{phase}: FVC is low, but no blow reached its end (grade {fvc}): it may be too small, and the pattern is not "
        "named.",
        "{phase}：FVC偏低，但没有一次呼气达到终末（{fvc}级）：FVC可能被低估，不判断类型。",
        "{phase}: FVC ist niedrig, doch kein Manöver wurde zu Ende geatmet (Grad {fvc}): sie kann zu klein sein, das "
        "Muster wird nicht benannt.",
    ),
    "withheld: no reference": (
        "{phase}: no reference equations reach to this person: the pattern is not named.",
        "{phase}：参考方程不适用于该受检者：不判断类型。",
        "{phase}: keine Sollwertgleichung reicht bis zu dieser Person: das Muster wird nicht benannt.",
    ),
    "fev1/vc": (
        "{phase}: FEV1 over the larger of slow VC ({vc:.2f} L) and FVC is {ratio:.2f}; the limits are those of "
        "FEV1/FVC, as no separate reference is used.",
        "{phase}：FEV1与慢肺活量（{vc:.2f} L）和FVC中较大者之比为{ratio:.2f}；界限沿用FEV1/FVC。",
        "{phase}: FEV1 durch die größere von langsamer VC ({vc:.2f} L) und FVC ist {ratio:.2f}; die Grenzen sind die "
        "von FEV1/FVC.",
    ),
    "low fev1/vc": (
        "That lies below the lower limit of FEV1/FVC ({lln:.2f}): obstruction, by the vital capacity.",
        "该值低于FEV1/FVC的正常下限（{lln:.2f}）：按肺活量判断存在阻塞。",
        "Das liegt unter der unteren Grenze von FEV1/FVC ({lln:.2f}): Obstruktion, nach der Vitalkapazität.",
    ),
    "only after": (
        "There is no blow before the bronchodilator: a response cannot be determined.",
        "没有用药前的呼气：无法判断反应。",
        "Es gibt kein Manöver vor dem Bronchodilatator: über eine Antwort lässt sich nichts sagen.",
    ),
    "fell": (
        "FEV1 is lower after the bronchodilator, by {litres:.2f} L: are the blows before and after it exchanged?",
        "用药后FEV1反而降低{litres:.2f} L：用药前后的呼气是否颠倒？",
        "FEV1 ist nach dem Bronchodilatator um {litres:.2f} L niedriger: sind die Manöver davor und danach vertauscht?",
    ),
    "change outside": (
        "The score is valid for ages 6 to 18 and visits 3 months to 5 years apart; this change is outside that range.",
        "该评分来自6至18岁、两次间隔3个月至5年的儿童；本次不在此范围。",
        "Der Wert stammt von Kindern zwischen 6 und 18 Jahren mit 3 Monaten bis 5 Jahren zwischen den Besuchen; diese "
        "Besuche sind andere.",
    ),
    "response 2022": (
        "A significant response by the 2022 standard (more than 10 % of predicted) in {index}: FEV1 {fev1_l:+.2f} L "
        "({fev1_percent:+.1f} % of predicted), FVC {fvc_l:+.2f} L ({fvc_percent:+.1f} %).",
        "按2022年标准（超过预计值的10%）{index}有显著反应：FEV1 {fev1_l:+.2f} L（占预计值{fev1_percent:+.1f}%），"
        "FVC {fvc_l:+.2f} L（{fvc_percent:+.1f}%）。",
        "Signifikante Antwort nach dem Standard von 2022 (mehr als 10 % des Sollwerts) in {index}: FEV1 {fev1_l:+.2f} "
        "L ({fev1_percent:+.1f} % des Sollwerts), FVC {fvc_l:+.2f} L ({fvc_percent:+.1f} %).",
    ),
    "no response 2022": (
        "No significant response by the 2022 standard (more than 10 % of predicted): FEV1 {fev1_l:+.2f} L "
        "({fev1_percent:+.1f} % of predicted), FVC {fvc_l:+.2f} L ({fvc_percent:+.1f} %).",
        "按2022年标准（超过预计值的10%）无显著反应：FEV1 {fev1_l:+.2f} L（占预计值{fev1_percent:+.1f}%），"
        "FVC {fvc_l:+.2f} L（{fvc_percent:+.1f}%）。",
        "Keine signifikante Antwort nach dem Standard von 2022 (mehr als 10 % des Sollwerts): FEV1 {fev1_l:+.2f} L "
        "({fev1_percent:+.1f} % des Sollwerts), FVC {fvc_l:+.2f} L ({fvc_percent:+.1f} %).",
    ),
    "response 2005": (
        "By the 2005 rule (12 % of the first value and 200 mL) it is positive in {index}: FEV1 {fev1_percent:+.1f} %, "
        "FVC {fvc_percent:+.1f} % of the first value.",
        "按2005年标准（占用药前12%且200 mL）{index}为阳性：FEV1 {fev1_percent:+.1f}%，FVC {fvc_percent:+.1f}%。",
        "Nach der Regel von 2005 (12 % des Ausgangswerts und 200 mL) positiv in {index}: FEV1 {fev1_percent:+.1f} %, "
        "FVC {fvc_percent:+.1f} % des Ausgangswerts.",
    ),
    "no response 2005": (
        "By the 2005 rule (12 % of the first value and 200 mL) it is not positive: FEV1 {fev1_percent:+.1f} %, FVC "
        "{fvc_percent:+.1f} % of the first value.",
        "按2005年标准（占用药前12%且200 mL）不为阳性：FEV1 {fev1_percent:+.1f}%，FVC {fvc_percent:+.1f}%。",
        "Nach der Regel von 2005 (12 % des Ausgangswerts und 200 mL) nicht positiv: FEV1 {fev1_percent:+.1f} %, FVC "
        "{fvc_percent:+.1f} % des Ausgangswerts.",
    ),
    "change beyond": (
        "FEV1 has changed since the earlier visit by more than is usual: conditional change score {score:+.2f} (usual "
        "within ±{limit:.2f}).",
        "与上次相比FEV1变化超出通常范围：条件变化评分{score:+.2f}（通常在±{limit:.2f}以内）。",
        "FEV1 hat sich seit dem früheren Besuch mehr als üblich verändert: bedingter Änderungswert {score:+.2f} "
        "(üblich innerhalb ±{limit:.2f}).",
    ),
    "change usual": (
        "FEV1 has changed since the earlier visit by no more than is usual: conditional change score {score:+.2f} "
        "(usual within ±{limit:.2f}).",
        "与上次相比FEV1变化在通常范围内：条件变化评分{score:+.2f}（通常在±{limit:.2f}以内）。",
        "FEV1 hat sich seit dem früheren Besuch nicht mehr als üblich verändert: bedingter Änderungswert {score:+.2f} "
        "(üblich innerhalb ±{limit:.2f}).",
    ),
    "fev1q": (
        "FEV1Q (FEV1 over {unit:.1f} L) was {then:.1f} at the earlier visit and is {now:.1f}; about 1 is lost in 18 "
        "years of health.",
        "FEV1Q（FEV1除以{unit:.1f} L）上次为{then:.1f}，本次为{now:.1f}；健康者约18年下降1。",
        "FEV1Q (FEV1 durch {unit:.1f} L) war beim früheren Besuch {then:.1f} und ist {now:.1f}; gesund geht in 18 "
        "Jahren etwa 1 verloren.",
    ),
}


def worded(statement: Statement, language: Language) -> str:
    """A statement as a sentence of a language.

    Raises SpiroError for an unknown language.
    """
    if language not in LANGUAGES:
        raise SpiroError(f"language is {printable(str(language), 20)}; expected one of {', '.join(LANGUAGES)}")
    place = LANGUAGES.index(language)
    values: dict[str, str | _Number] = {}
    for name, value in statement.values.items():
        if isinstance(value, str):
            values[name] = _word(value, place) if name != "index" else _indices(value, place)
        else:
            values[name] = _Number(value, language in COMMAS)
    kind = statement.key.partition("severity: ")[2]
    return _TABLE[statement.key][place].format(**values, **({"severity": _word(kind, place)} if kind else {}))


def _word(word: str, place: int) -> str:
    return _WORDS[word][place] if word in _WORDS else word


def _indices(names: str, place: int) -> str:
    return _WORDS["and"][place].join(INDICES[name].label for name in names.split("+")) if names else ""


class _Number:
    """A number printed with the decimal mark of the language, as a dash if it is not finite."""

    def __init__(self, value: float, comma: bool) -> None:
        self.value, self.comma = value, comma

    def __format__(self, spec: str) -> str:
        if not math.isfinite(self.value):
            return "–"
        text = format(self.value, spec).replace("-", "−")
        return text.replace(".", ",") if self.comma else text
