"""Texts of the page of a session, in every language of the page."""

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.sessions.sentences import LANGUAGES

# English, Chinese, German.
_TABLE: dict[str, tuple[str, str, str]] = {
    "title": ("Spirometry", "肺量测定报告", "Spirometrie"),
    "not for diagnosis": ("Not for diagnosis", "不用于诊断", "Nicht zur Diagnose"),
    # the head
    "person": ("Person", "受检者", "Person"),
    "sex": ("Sex", "性别", "Geschlecht"),
    "male": ("male", "男", "männlich"),
    "female": ("female", "女", "weiblich"),
    "age": ("Age", "年龄", "Alter"),
    "years": ("y", "岁", "J."),
    "height": ("Height", "身高", "Größe"),
    "weight": ("Weight", "体重", "Gewicht"),
    "group": ("Group", "人群", "Gruppe"),
    "date": ("Date", "日期", "Datum"),
    "operator": ("Operator", "操作者", "Untersucher"),
    "device": ("Device", "仪器", "Gerät"),
    "calibration": ("Calibration", "校准", "Kalibrierung"),
    "btps": ("BTPS", "BTPS", "BTPS"),
    "drug": ("Drug", "支气管舒张剂", "Medikament"),
    "dose": ("Dose", "剂量", "Dosis"),
    "wait": ("Wait", "等待时间", "Wartezeit"),
    "comments": ("Comments", "备注", "Bemerkungen"),
    # the table of best values
    "best values": ("Best values", "最佳值", "Beste Werte"),
    "before": ("Before", "用药前", "Vorher"),
    "after": ("After", "用药后", "Nachher"),
    "change": ("Change", "变化", "Änderung"),
    "best": ("Best", "最佳值", "Bester"),
    "pred": ("% pred.", "占预计%", "% Soll"),
    "of pred": ("% pred.", "占预计值%", "% Soll"),
    "of first": ("% before", "占用药前%", "% vorher"),
    "absolute": ("abs.", "绝对值", "absolut"),
    "low": (
        "below the lower limit of normal (LLN)",
        "低于正常下限（LLN）",
        "unter der unteren Grenze des Normalen (LLN)",
    ),
    "z": ("z", "z值", "z"),
    "lln": ("LLN", "LLN", "LLN"),
    "z scale": ("z-score", "z值", "z-Wert"),
    "severe": ("severe", "重度", "schwer"),
    "moderate": ("moderate", "中度", "mittelschwer"),
    "mild": ("mild", "轻度", "leicht"),
    "normal": ("normal", "正常", "normal"),
    "derived": (
        "* z derived: the source gives a mean and a lower limit, from which a normal distribution is taken",
        "* 推算的z值：文献只给出均值和下限，按正态分布推算",
        "* z abgeleitet: die Quelle nennt Mittelwert und Untergrenze, daraus eine Normalverteilung",
    ),
    # the plots
    "flow": ("Flow (L/s)", "流量 (L/s)", "Fluss (L/s)"),
    "volume": ("Volume (L)", "容积 (L)", "Volumen (L)"),
    "time": ("Time (s)", "时间 (s)", "Zeit (s)"),
    "rejected": ("does not count", "不计入", "zählt nicht"),
    "completed": ("completed, 90 % interval", "补全曲线，90%区间", "ergänzt, 90-%-Intervall"),
    "predicted": ("predicted", "预计值", "Sollwert"),
    "scale": (
        "{mm} mm = 1 L = 2 L/s; {time} mm = 1 s",
        "{mm} mm = 1 L = 2 L/s；{time} mm = 1 s",
        "{mm} mm = 1 L = 2 L/s; {time} mm = 1 s",
    ),
    # the blows
    "blows": ("All blows in order", "全部呼气（按顺序）", "Alle Manöver der Reihe nach"),
    "counts": ("Counts for", "计入", "Zählt für"),
    "reason": ("Why not, and who decided", "不计入的原因及决定者", "Warum nicht, und wer entschied"),
    "decided": ("decided by {who}", "决定者：{who}", "entschieden von {who}"),
    "more blows": ("{n} more blows are not listed", "另有{n}次未列出", "{n} weitere Manöver nicht aufgeführt"),
    "would be": (
        "completed: FVC {median} L ({low} to {high}), not counted",
        "补全：FVC {median} L（{low}至{high}），不计入",
        "ergänzt: FVC {median} L ({low} bis {high}), zählt nicht",
    ),
    "slow start": ("slow start (BEV)", "起始缓慢（外推容积）", "langsamer Beginn (BEV)"),
    "faulty zero": ("faulty zero", "零点错误", "Nullpunkt falsch"),
    "cough": ("cough in the first second", "第1秒内咳嗽", "Husten in der 1. Sekunde"),
    "early closure": ("glottis closed in the first second", "第1秒内声门关闭", "Glottisschluss in der 1. Sekunde"),
    "late closure": ("glottis closed later", "第1秒后声门关闭", "späterer Glottisschluss"),
    "no end": ("no end of expiration", "呼气未结束", "Ausatmung nicht beendet"),
    "leak": ("leak", "漏气", "Leck"),
    "obstruction": ("mouthpiece obstructed", "咬嘴阻塞", "Mundstück verlegt"),
    "inspired more": ("FIVC above FVC", "FIVC大于FVC", "FIVC größer als FVC"),
    # what it means
    "grades": ("Grades", "质量等级", "Qualität"),
    "pattern": ("Pattern", "通气类型", "Muster"),
    "method": ("How it was computed", "计算方法", "Wie gerechnet wurde"),
    "nothing": ("–", "–", "–"),
    "usable": ("usable, not acceptable", "可用，但不合格", "verwertbar, nicht akzeptabel"),
    "somebody": ("a person", "人工", "einer Person"),
    "graded": (
        "{phase}: {first} {fev1}, FVC {fvc}.",
        "{phase}：{first} {fev1}级，FVC {fvc}级。",
        "{phase}: {first} {fev1}, FVC {fvc}.",
    ),
    "apart": (
        "The best two are {gap_fev1} and {gap_fvc} L apart (limit {limit} L).",
        "最佳两次相差{gap_fev1}和{gap_fvc} L（限值{limit} L）。",
        "Die besten zwei liegen {gap_fev1} und {gap_fvc} L auseinander (Grenze {limit} L).",
    ),
    "method ats_ers_2019": (
        "Best values by ATS/ERS 2019: the largest FEV1 and FVC, perhaps of two blows; FEF25-75 of the blow with the "
        "largest sum of both.",
        "最佳值按ATS/ERS 2019：取最大的FEV1和FVC，可来自两次呼气；FEF25-75取两者之和最大的一次。",
        "Beste Werte nach ATS/ERS 2019: die größte FEV1 und FVC, auch aus zwei Manövern; FEF25-75 aus dem Manöver mit "
        "der größten Summe beider.",
    ),
    "method nhanes": (
        "Best values as NHANES takes them: the largest of every index.",
        "最佳值按NHANES：各指标取最大值。",
        "Beste Werte wie in NHANES: der größte jeder Größe.",
    ),
    "method references": (
        "References: {by}. LLN: 5th percentile, z −1.645.",
        "参考值：{by}。LLN：第5百分位数，z −1.645。",
        "Sollwerte: {by}. LLN: 5. Perzentil, z −1,645.",
    ),
    "method no group": (
        "No group was given: GLI 2012 is that of other or mixed groups, and PEF has no reference.",
        "未提供人群：GLI 2012采用“其他/混合人群”，PEF无参考值。",
        "Keine Gruppe angegeben: GLI 2012 ist die der anderen und gemischten, PEF hat keinen Sollwert.",
    ),
    "method standards": (
        "Grades by ATS/ERS 2019 (doi 10.1164/rccm.201908-1590ST); pattern, severity and change by ERS/ATS 2022 (doi "
        "10.1183/13993003.01499-2021).",
        "质量等级按ATS/ERS 2019（doi 10.1164/rccm.201908-1590ST）；类型、程度和变化按ERS/ATS 2022（doi "
        "10.1183/13993003.01499-2021）。",
        "Qualität nach ATS/ERS 2019 (doi 10.1164/rccm.201908-1590ST); Muster, Schweregrad und Änderung nach ERS/ATS "
        "2022 (doi 10.1183/13993003.01499-2021).",
    ),
    "group caucasian": ("Caucasian", "高加索人", "kaukasisch"),
    "group african_american": ("African American", "非裔美国人", "afroamerikanisch"),
    "group northeast_asian": ("North East Asian", "东北亚", "nordostasiatisch"),
    "group southeast_asian": ("South East Asian", "东南亚", "südostasiatisch"),
    "group mexican_american": ("Mexican American", "墨西哥裔美国人", "mexikanisch-amerikanisch"),
    "group other": ("other or mixed", "其他/混合", "andere, gemischt"),
}


def words(language: str) -> dict[str, str]:
    """The texts in a language.

    Raises SpiroError for an unknown language.
    """
    if language not in LANGUAGES:
        raise SpiroError(f"the page is not made in {printable(language, 20)}; choose one of {', '.join(LANGUAGES)}")
    place = LANGUAGES.index(language)
    return {key: row[place] for key, row in _TABLE.items()}
