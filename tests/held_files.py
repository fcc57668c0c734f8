"""Files of one known blow in every format that users hold, for the tests and benchmarks/fuzz_readers.py."""

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PERIOD_S = 0.01
SECONDS = 6.0
TIME = np.arange(round(SECONDS / PERIOD_S)) * PERIOD_S
FLOW = 8 * np.exp(-TIME / 0.8) * np.minimum(TIME / 0.08, 1)  # L/s
VOLUME = np.concatenate([[0.0], np.cumsum(FLOW) * PERIOD_S])  # L, from the first sample's begin
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PATIENT = ("SMITHSON", "ID7654321")  # in every format that has a place for them; in no output


def text(names: str = "time_s,flow_l_s", separator: str = ",", decimal: str = ".", scale: float = 1.0) -> str:
    """Delimited text of the blow."""
    rows = (f"{t:.2f}{separator}{scale * f:.5f}".replace(".", decimal) for t, f in zip(TIME, FLOW, strict=True))
    return "\n".join([names, *rows]) + "\n"


def uk_biobank(zeros: int = 20) -> str:
    """The field's text; its count leaves leading zeros out, and the first expired mL is not at once."""
    series = [0] * zeros + np.rint(1000 * VOLUME[1:]).astype(int).tolist()
    return f"blow1,{sum(1 for value in series if value)}," + ",".join(map(str, series))


def uk_biobank_table() -> str:
    return f'eid,3066-0.0,3066-0.1\n{PATIENT[1][2:]},"{uk_biobank()}",\n'


def ats_record(factor: float = 1.0, inspiration: bool = True) -> str:
    """ATS/ERS 2005: flows that are `factor` away from BTPS, the FVC of the blow, and the breath in as a record."""
    cells = [""] * 68
    cells[0], cells[1], cells[2], cells[18], cells[31], cells[41] = PATIENT[1], PATIENT[0], "SPES", "1.083", "1", "pre"
    cells[42], cells[57] = str(round(1000 * VOLUME[-1])), "2"
    points = [str(round(1000 * value / factor)) for value in FLOW]
    lines = [",".join([*cells, str(len(points)), *points])]
    if inspiration:
        cells[2] = "SPIS"
        lines.append(",".join([*cells, "100", *["3000"] * 100]))
    return "\r\n".join(lines) + "\r\n"


def waveform() -> str:
    values = "\n".join(f"{value:.4f}" for value in VOLUME)
    return f"[Header]\nName=C1\nInterval (ms)=10\nUnits=L\n[Data]\nVT\n{values}\n"


def easyone() -> str:
    results = "".join(
        f"<ResultParameter ID='{name}'><DataValue>{value:.3f}</DataValue></ResultParameter>"
        for name, value in (("FVC", VOLUME[-1]), ("BTPSex", 1.03))
    )
    values = " ".join(f"{value:.3f}" for value in FLOW)
    channel = f"<SamplingInterval>0.01</SamplingInterval><SamplingValues>{values}</SamplingValues>"
    trial = f"<Trial><Number>1</Number>{results}<ChannelFlow>{channel}</ChannelFlow></Trial>"
    test = f"<Tests><Test TypeOfTest='FVC'><Trials>{trial}</Trials></Test></Tests>"
    patient = f"<Patient ID='{PATIENT[1]}'><LastName>{PATIENT[0]}</LastName>{test}</Patient>"
    return f"<?xml version='1.0' encoding='utf-8'?><ndd><Patients>{patient}</Patients></ndd>"


def fhir(interval: str = '"period": 10', conditions: str = "at BTPS") -> str:
    data = " ".join(str(round(1000 * value)) for value in FLOW)
    return (
        f'{{"resourceType": "Observation", "status": "final", "subject": {{"display": "{PATIENT[0]}"}}, '
        f'"code": {{"text": "flow {conditions}"}}, "valueSampledData": {{"origin": {{"value": 0, "code": "L/s"}}, '
        f'{interval}, "factor": 0.001, "dimensions": 1, "data": "{data}"}}}}'
    )


def spxraw() -> str:
    """NHANES's SPXRAW as delimited text."""
    counts = np.diff(np.rint(1000 * VOLUME / 1.1)).astype(int)
    return f'SEQN,SPAMANU,SPAFACT,SPXRAW\n62161,1,1.1,"{",".join(map(str, counts))}"\n'


def parquet() -> bytes:
    """NHANES's SPXRAW as `repair` writes it, but not compressed, so that a byte is of one value."""
    counts = np.diff(np.rint(1000 * VOLUME / 1.1)).astype(np.int16)
    columns: dict[str, Any] = {"SEQN": [62161], "SPATTYPE": ["Pre"], "SPAMANU": [1], "SPAFACT": [1.1]}
    table = pa.table(columns | {"SPAQEFF": ["A"], "SPXRAW": pa.array([counts], pa.list_(pa.int16()))})
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, store_schema=False)
    return out.getvalue()


def sheet() -> str:
    """XML of a workbook's one sheet."""
    cells = [("Time (s)", "Flow (L/s)"), *zip(TIME.round(2).tolist(), FLOW.round(5).tolist(), strict=True)]
    rows = "".join(
        "<row>"
        + "".join(
            f'<c t="inlineStr"><is><t>{cell}</t></is></c>' if isinstance(cell, str) else f"<c><v>{cell}</v></c>"
            for cell in row
        )
        + "</row>"
        for row in cells
    )
    return f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'


def workbook(sheet: bytes) -> bytes:
    """A workbook of one sheet, its times fixed, as openpyxl's are not."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{office}"><sheets>'
        '<sheet name="Blow" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": sheet,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    return out.getvalue()


# Every format by a name, and what it has to be told to be read.
FILES: dict[str, Callable[[], str | bytes]] = {
    "csv": text,
    "german": lambda: text("Zeit (s);Fluss (L/min)", ";", ",", 60),
    "uk_biobank": uk_biobank,
    "uk_biobank_table": uk_biobank_table,
    "ats_record": ats_record,
    "waveform": waveform,
    "easyone": easyone,
    "fhir": fhir,
    "spxraw": spxraw,
    "parquet": parquet,
    "excel": lambda: workbook(sheet().encode()),
}
# What stands right before the first value: units, intervals and factors end there.
SETTINGS = {
    "csv": "\n",
    "german": "\n",
    "ats_record": f",{len(TIME)},",
    "waveform": "VT\n",
    "easyone": "<SamplingValues>",
    "fhir": '"data": "',
    "spxraw": '1.1,"',
    "excel sheet": "</row>",
}
SILENT = ("uk_biobank", "uk_biobank_table", "waveform")  # of BTPS


def made(name: str) -> bytes:
    content = FILES[name]()
    return content if isinstance(content, bytes) else content.encode()
