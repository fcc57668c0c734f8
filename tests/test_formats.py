"""Every file that people hold: read by its content, at the right size, without its patient; or refused truly."""

import contextlib
import importlib
import io
import json
import os
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import held_files
import numpy as np
import pytest
from held_files import FLOW, PATIENT, SILENT, TIME, VOLUME

from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.user_curves import WRITERS, RawBlow, UserCurves, efforts, fhir, read, to_efforts

SHARED = Path(__file__).parents[2] / "shared" / "cases"
FVC = VOLUME[-1]
ROWS = held_files.text().splitlines()


def read_bytes(data: bytes | str, btps: float | None = None) -> UserCurves:
    return read(io.BytesIO(data.encode() if isinstance(data, str) else data), "held", btps=btps)


def refusal(data: bytes | str, btps: float | None = None) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it would be a line more
        with pytest.raises(SpiroError) as caught:
            read_bytes(data, btps)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    return message.removeprefix("held: ")


def expired(curves: UserCurves) -> list[float]:
    """Largest volume of each effort, L."""
    return [float((flow.cumsum() * 0.01).max()) for flow in curves.curves()]


# Every format


@pytest.mark.parametrize("name", held_files.FILES)
def test_a_blow_is_the_same_in_every_format(name: str) -> None:
    curves = read_bytes(held_files.made(name), 1.0 if name in SILENT else None)
    assert expired(curves) == pytest.approx([FVC], abs=0.005)
    peak = curves.flow[0].max()
    assert peak == pytest.approx(FLOW.max(), abs=0.11)  # whole mL in 10 ms


@pytest.mark.parametrize("name", held_files.FILES)
def test_no_name_or_number_of_a_patient_is_kept(name: str) -> None:
    curves = read_bytes(held_files.made(name), 1.0 if name in SILENT else None)
    text = " ".join([*curves.names, *curves.notes])
    assert not any(word in text for word in (*PATIENT, PATIENT[1][2:]))


@pytest.mark.parametrize(
    "data",
    [
        held_files.ats_record().replace("SPES", "SVCX").replace("SPIS", "SVCX"),
        f"Name: {PATIENT[0]}, Max\n" + held_files.text("Time (s),Flow (gal/min)"),
        held_files.text() + f"Physician,Dr {PATIENT[0]}\n",
        held_files.uk_biobank() + f"\n{PATIENT[0]}\n",
        held_files.waveform() + f"Patient {PATIENT[0]}\n",
        held_files.easyone().replace("0.000 ", f"{PATIENT[0]} ", 1),
        f"Dear {PATIENT[0]},\nhello\n",
    ],
)
def test_no_name_of_a_patient_is_in_a_refusal(data: str) -> None:
    assert PATIENT[0] not in refusal(data, 1.0)


@pytest.mark.parametrize("name", SILENT)
def test_what_does_not_say_btps_asks_for_it(name: str) -> None:
    assert "--btps 1" in refusal(held_files.made(name))
    assert expired(read_bytes(held_files.made(name), 1.1)) == pytest.approx([1.1 * FVC], abs=0.005)


@pytest.mark.parametrize("release", ["R4", "R5"])
def test_what_fhir_is_written_is_valid_and_comes_back(tmp_path: Path, release: fhir.Release) -> None:
    curves = read_bytes(held_files.text())
    fhir.write(tmp_path / "o.json", curves, release)
    again = read(tmp_path / "o.json")
    np.testing.assert_allclose(again.flow.cumsum(1), curves.flow.cumsum(1), atol=0.1)  # 1 mL
    model = pytest.importorskip("fhir.resources.R4B.observation" if release == "R4" else "fhir.resources.observation")
    model.Observation.model_validate(json.loads((tmp_path / "o.json").read_text()))


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_comes_back_within_a_millilitre(tmp_path: Path, name: str) -> None:
    both = held_files.text("curve,time_s,flow_l_s").splitlines()
    text = "\n".join([both[0], *(f"{i},{row}" for i in ("a", "b") for row in both[1:])])
    curves = read_bytes(text)
    WRITERS[name](tmp_path / "file", curves)
    again = read(tmp_path / "file", btps=1.0)
    np.testing.assert_allclose(again.flow.cumsum(1) * 0.01, curves.flow.cumsum(1) * 0.01, atol=1e-3)


# Delimited text


@pytest.mark.parametrize(
    ("names", "separator", "decimal", "scale", "encoding"),
    [
        ("Time (s),Flow (L/s)", ",", ".", 1, "utf-8"),
        ("Zeit [s];Fluß [l/s]", ";", ",", 1, "cp1252"),
        ("Temps;Débit L/min", ";", ",", 60, "utf-8-sig"),
        ("时间(秒)\t流量(升/秒)", "\t", ".", 1, "gb18030"),
        ("Время;Поток", ";", ",", 1, "cp1251"),
        ("Zaman;Akış", ";", ",", 1, "cp1254"),
        ("時間(秒),流量(L/s)", ",", ".", 1, "big5"),
        ("Temps (s);Débit (L/s)", ";", ",", 1, "mac_roman"),
        ("tiempo|flujo (mL/s)", "|", ".", 1000, "utf-8"),
        ("t Flow", " ", ".", 1, "utf-8"),
        ("Time [s] Flow (L/min)", "  ", ".", 60, "utf-8"),
        ("Time Flow\n(s) (L/min)", " ", ".", 60, "utf-8"),
        ("Time (s),Flow (L/min BTPS)", ",", ".", 60, "utf-8"),
        ("Time (s)\tFlow (L/s)", "\t", ",", 1, "utf-16"),
        ("Elapsed time (s),Expiratory flow (L/s)", ",", ".", 1, "utf-8"),
        ("t/s,V'/(L/s)", ",", ".", 1, "utf-8"),
        ("Zeit in Sekunden;Atemstrom in Liter pro Minute", ";", ",", 60, "utf-8"),
        ("Seconds,Flow (L/s)", ",", ".", 1, "utf-8"),
        ("Время, с;Поток, л/с", ";", ",", 1, "cp1251"),
        ("Час (с);Потік (л/с)", ";", ",", 1, "cp1251"),
        ("Süre (sn);Akım (L/dk)", ";", ",", 60, "cp1254"),
        ("時間(秒),呼気流量(L/秒)", ",", ".", 1, "cp932"),
        ("시간(초),유량(L/초)", ",", ".", 1, "cp949"),
        ("呼气时间(s)\t呼气流量(L/s)", "\t", ".", 1, "gb18030"),
        ("Tid (s);Strøm (L/s)", ";", ",", 1, "cp1252"),
        ("Χρόνος (s);Ροή (L/s)", ";", ",", 1, "utf-8"),
        ("الزمن (s),التدفق (L/s)", ",", ".", 1, "utf-8"),
        ("Station 3;;\n\nDate;2024-01-01;\nTime;Flow\ns;L/min", ";", ",", 60, "utf-8"),
    ],
)
def test_dialects_languages_and_units(names: str, separator: str, decimal: str, scale: float, encoding: str) -> None:
    data = held_files.text(names, separator, decimal, scale).encode(encoding)
    assert expired(read_bytes(data)) == pytest.approx([FVC], abs=1e-3)


@pytest.mark.parametrize(
    "names",
    ["Time (s),Flow ATPS (L/s)", "Time,Flow (L/s ATPS)", "Time,Flow\ns,L/s ATPS", "Conditions,ATPS\nTime,Flow"],
)
def test_atps_is_seen_wherever_it_is_written(names: str) -> None:
    text = held_files.text(names)
    assert "--btps 1" in refusal(text)
    assert expired(read_bytes(text, 1.1)) == pytest.approx([1.1 * FVC], abs=1e-3)


@pytest.mark.parametrize(("rate", "decimals"), [(125, 2), (60, 2), (200, 2), (512, 3), (100, 2)])
def test_rounded_times_are_those_of_the_spirometers_rate(rate: float, decimals: int) -> None:
    time = np.arange(round(6 * rate)) / rate
    volume = np.interp(time, np.arange(len(VOLUME)) * 0.01, VOLUME)
    rows = "\n".join(f"{t:.{decimals}f},{v:.6f}" for t, v in zip(time, volume, strict=True))
    curves = read_bytes("time_s,volume_l\n" + rows)
    assert curves.points[0] == pytest.approx(600, abs=2)
    assert (curves.flow[0, :100].cumsum() * 0.01)[-1] == pytest.approx(VOLUME[100], abs=2e-3)


def test_uneven_times_are_taken_as_they_are() -> None:
    time = np.sort(TIME + np.random.default_rng(0).uniform(-0.004, 0.004, len(TIME)))
    volume = np.interp(time, np.arange(len(VOLUME)) * 0.01, VOLUME)
    rows = "\n".join(f"{t:.4f},{v:.6f}" for t, v in zip(time, volume, strict=True))
    (fvc,) = expired(read_bytes("time_s,volume_l\n" + rows))
    assert fvc == pytest.approx(FVC, abs=2e-3)


def test_blows_by_columns_by_a_name_or_by_a_blank_line() -> None:
    rows = held_files.text().splitlines()[1:]
    columns = "\n".join(f"{row},{row.split(',')[1] if i < 500 else ''}" for i, row in enumerate(rows))
    by_columns = read_bytes("Time (s),Flow 1 (L/s),Flow 2 (L/s)\n" + columns)
    by_name = read_bytes("Trial,Time (s),Flow (L/s)\n" + "\n".join(f"{n},{row}" for n in (1, 2) for row in rows))
    by_line = read_bytes("Time (s),Flow (L/s)\n" + "\n".join([*rows, "", "Time (s),Flow (L/s)", *rows]))
    assert by_columns.names == by_name.names == by_line.names == ["1", "2"]
    assert by_columns.points.tolist() == [600, 500]
    np.testing.assert_allclose(by_name.flow, by_line.flow)


def test_what_was_calculated_is_no_blow_and_columns_of_one_name_are_told_apart() -> None:
    rows = held_files.text().splitlines()[1:]
    beside = read_bytes("Time (s),Flow (L/s),Flow predicted (L/s)\n" + "\n".join(f"{row},9.5" for row in rows))
    assert expired(beside) == pytest.approx([FVC], abs=1e-3)
    twice = read_bytes("time_s,flow_l_s,time_s,flow_l_s\n" + "\n".join(f"{row},{row}" for row in rows))
    numbered = read_bytes(
        "Time (s),Blow 1 (L/s),Blow 2 (L/s)\n" + "\n".join(f"{row},{row.split(',')[1]}" for row in rows)
    )
    assert twice.names == numbered.names == ["1", "2"]
    assert expired(twice) == expired(numbered) == pytest.approx([FVC, FVC], abs=1e-3)


def test_times_may_be_of_a_clock_that_began_long_ago() -> None:
    rows = "\n".join(f"{1.7e9 + t:.2f},{f:.5f}" for t, f in zip(TIME, FLOW, strict=True))
    assert expired(read_bytes("time_s,flow_l_s\n" + rows)) == pytest.approx([FVC], abs=1e-3)


def test_milliseconds_and_what_has_no_unit_are_said() -> None:
    rows = "\n".join(f"{1000 * t:.0f},{f:.5f}" for t, f in zip(TIME, FLOW, strict=True))
    written = read_bytes("Time (ms),Flow (L/s)\n" + rows)
    without_units = read_bytes("Time,Flow\n" + rows)
    assert written.notes == []
    assert without_units.notes == ["Flow has no unit; read as L/s", "Time has no unit; read as ms"]
    np.testing.assert_allclose(written.flow, without_units.flow)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"," * 4_000_000, "its first line has more than 65,536 characters"),
        (b"time_s,flow_l_s\n" + b"," * 4_000_000, "a line has more than 2000 columns"),
        (b"SEQN,SPAFACT,SPXRAW\n" + b"," * 4_000_000, "a line has more than 2000 columns"),
        (",".join(f"c{i}" for i in range(5000)) + "\n" + "0," * 4999 + "0\n", "c7 and 4992 more"),
        (held_files.text("time_s,flow (gal/min)"), "columns are time_s, flow (gal/min)"),
        (held_files.text("time_s,flow (slm)"), "columns are time_s, flow (slm)"),
        (held_files.text("time,flow\ns,gal/min"), "the unit of flow is gal/min"),
        (held_files.text().replace("0.05,", "0,05;"), "expected a number"),
        (held_files.text(scale=60), "not mL or L/min"),
        (held_files.text("time_s,flow_l_s", scale=1e300), "numbers beyond any lung's"),
        ("\n".join([*ROWS[:-1], "1e308,0"]), "time holds numbers beyond any lung's"),
        (
            "\n".join(held_files.text().splitlines()[:300] + held_files.text().splitlines()[302:]),
            "does not grow evenly",
        ),
        (
            "Time;Flow\n" + "\n".join(f"{t};1,5" if i % 2 else f"{t};1.5" for i, t in enumerate(TIME)),
            "points and commas",
        ),
    ],
)
def test_what_is_no_curve_is_refused(data: bytes | str, message: str) -> None:
    assert message in refusal(data)


# The field's own formats


def test_a_test_record_tells_its_factor_and_interval_by_its_fvc() -> None:
    applied, not_applied = (read_bytes(held_files.ats_record(factor)) for factor in (1.0, 1.083))
    assert expired(applied) == pytest.approx(expired(not_applied), abs=0.01)
    assert applied.record["pif"][0] == pytest.approx(3.0)  # the breath in, joined behind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",600,", ",601,", 1), "holds 600 data points, its count says 601"),
        (lambda text: text.replace(f",{round(1000 * FVC)},", ",2222,", 1), "no usual interval"),
    ],
)
def test_a_test_record_that_contradicts_itself_is_refused(change: object, message: str) -> None:
    assert message in refusal(change(held_files.ats_record()))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("blow1,", "blow1,9"), "fetch it again"),
        (lambda text: text.replace(",0,", ",7,", 1), "not zeros"),
        (lambda text: text + ",x", "no whole number of mL"),
    ],
)
def test_a_blow_of_uk_biobank_that_contradicts_itself_is_refused(change: object, message: str) -> None:
    assert message in refusal(change(held_files.uk_biobank()), 1.0)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type or entities"),
        ("<kml><x/></kml>", "an XML document <kml>"),
        ("<ndd>" + "<a>" * 200, "elements deep"),
        (held_files.easyone()[:-10], "damaged XML"),
        (held_files.fhir(conditions="somehow"), "--btps 1"),
        (held_files.fhir('"interval": 10'), "intervalUnit"),
        (held_files.fhir().replace('"data": "0 ', '"data": "0 E '), "sample 2 is E"),
        ('{"resourceType": "Patient"}', "a FHIR Patient without SampledData"),
        ("[" * 100_000, "JSON"),
        (b"\x89PNG\r\n\x1a\n\0", "is a PNG picture"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 99, "Office document"),
        (b"%PDF-1.7", "is PDF"),
        ("{\\rtf1 a}", "is Rich Text"),
        ("", "is empty"),
        (held_files.text().encode("utf-16-le"), "is text in UTF-16 without its mark"),
    ],
)
def test_anything_else_is_named(data: bytes | str, message: str) -> None:
    assert message in refusal(data)


def test_a_bulk_export_has_a_resource_a_line() -> None:
    one = json.dumps(json.loads(held_files.fhir()))
    assert expired(read_bytes(f"{one}\n{one}\n")) == pytest.approx([FVC, FVC], abs=5e-3)
    assert "damaged JSON" in refusal(f"{one}\n{{\n")


def test_units_in_words_are_read_and_samples_at_offsets_of_their_own_refused() -> None:
    words = held_files.fhir().replace('"code": "L/s"', '"unit": "litres per second"')
    assert expired(read_bytes(words)) == pytest.approx([FVC], abs=5e-3)
    assert "at individual offsets" in refusal(
        held_files.fhir().replace('"dimensions"', '"offsets": "0 10 30", "dimensions"')
    )


def test_a_damaged_parquet_table_is_read_or_refused_in_a_line() -> None:
    sound, rng = held_files.parquet(), np.random.default_rng(3)
    for _ in range(150):
        data = bytearray(sound)
        for at in rng.integers(0, len(data), 3) if rng.random() < 0.5 else rng.integers(len(data) - 900, len(data), 2):
            data[at] = rng.integers(0, 256)
        with contextlib.suppress(SpiroError):
            read_bytes(bytes(data))
    assert "not a Parquet table" in refusal(sound[:20] + sound[-20:])


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, held_files.made("csv"))
        assert expired(read(tmp_path / "pipe")) == pytest.approx([FVC], abs=1e-3)


def test_r5_writes_an_interval() -> None:
    r4, r5 = read_bytes(held_files.fhir()), read_bytes(held_files.fhir('"interval": 0.01, "intervalUnit": "s"'))
    np.testing.assert_array_equal(r4.flow, r5.flow)


def test_a_workbook_that_unpacks_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("spiro_diffusion.user_curves.excel"), "MOST_UNPACKED", 1000)
    assert "unpacks to" in refusal(held_files.made("excel"))
    monkeypatch.undo()
    monkeypatch.setattr(importlib.import_module("spiro_diffusion.user_curves.excel"), "MOST_CELLS", 1000)
    assert "more than 1,000 cells" in refusal(held_files.made("excel"))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x>")
    assert "damaged workbook" in refusal(out.getvalue())


def test_a_workbook_whose_styles_openpyxl_warns_of_is_read_in_silence() -> None:
    out = io.BytesIO(held_files.made("excel"))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("xl/styles.xml", f'<styleSheet xmlns="{held_files.MAIN}"/>')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert expired(read_bytes(out.getvalue())) == pytest.approx([FVC], abs=1e-3)


def test_an_empty_cell_of_spxraw_is_told_and_bytes_are_read() -> None:
    names, row = held_files.spxraw().splitlines()
    head, curve = row.split('"')[:2]
    curves = read_bytes(f"{names.lower()}\n{row}\n62161,2,1.1,\n{head}\"b'{curve}'\"\n")
    assert "1 rows without a curve left out (row 1)" in curves.notes
    np.testing.assert_array_equal(curves.flow[0], curves.flow[1])


def test_a_codebook_page_beside_is_no_table_and_people_may_be_text(tmp_path: Path) -> None:
    (tmp_path / "SPXRAW_G.csv").write_text(held_files.spxraw())
    (tmp_path / "DEMO_G.htm").write_text("<html></html>")
    (tmp_path / "DEMO_G.csv").write_text("seqn;riagendr;ridageyr\n62161;1;22\n62162;2;\n")
    (tmp_path / "BMX_G.csv").write_text("SEQN,BMXHT\n62161,172.3\n")
    about = read(tmp_path / "SPXRAW_G.csv").about
    assert about is not None
    assert about[["age", "sex", "height"]].to_numpy().tolist() == [[22.0, 1.0, 172.3]]


def test_the_seam_names_blows_and_keeps_small_files_small(monkeypatch: pytest.MonkeyPatch) -> None:
    blow = RawBlow("", "flow", FLOW, 0.01)
    assert to_efforts([blow, blow], "x").names == ["1", "2"]
    monkeypatch.setattr(efforts, "MOST_SAMPLES", 1000)
    with pytest.raises(SpiroError, match="too many at once"):
        to_efforts([blow, blow], "x")


@pytest.mark.skipif(not SHARED.exists(), reason="the cases are not here")
@pytest.mark.parametrize(
    ("name", "fvc"),
    [
        ("2_german", 4.44),
        ("2_names", 4.44),
        ("2_preamble", 4.44),
        ("2_hz60_round", 4.44),
        ("11_125Hz_time_rounded_to_10ms", 5.84),
    ],
)
def test_cases(name: str, fvc: float) -> None:
    assert expired(read(SHARED / f"{name}.csv")) == pytest.approx([fvc], abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("\n1.", "\n[1.", 1), "of [Data] is no number"),
        (lambda text: text + text, "holds several waveforms"),
    ],
)
def test_no_value_of_a_waveform_file_is_lost_to_a_bracket(change: Any, message: str) -> None:
    assert message in refusal(change(held_files.waveform()), 1.0)


def test_a_factor_that_the_fvc_chose_is_told() -> None:
    """A curve that lost 3 % of its volume gives its FVC by the factor that the file notes beside it."""
    note = "by the FVC in the file its curves are not at BTPS: its factor, {}, is applied"
    whole = held_files.easyone()
    at = whole.index("<SamplingValues>")
    start, end = (whole.index(f"{value:.3f}", at) for value in FLOW[[130, 143]])
    assert read_bytes(whole).notes == []
    assert read_bytes(whole[:start] + whole[end:]).notes == [note.format("1.03")]
    assert note.format("1.083") in read_bytes(held_files.ats_record(1.083)).notes


def test_inspirations_that_are_of_no_one_expiration_are_left_out_and_told() -> None:
    blow, breath = held_files.ats_record().splitlines()
    best = [line.replace("SPES", "SPEB").replace("SPIS", "SPIB") for line in (blow, breath)]
    both = read_bytes("\n".join([blow, breath, *best]))
    assert both.record["pif"].tolist() == pytest.approx([3.0, 3.0])
    assert not any("inspirations" in note for note in both.notes)
    unclear = read_bytes("\n".join([blow, blow, breath]))
    assert "1 inspirations left out: no expiration, or not one alone, is of their manoeuvre" in unclear.notes


def test_settings_of_blanks_take_no_time() -> None:
    blanks = " " * 60_000
    assert "has no interval" in refusal(f"a{blanks}\n[Data]\nVT\n1\n2\n", 1.0)
    assert expired(read_bytes("\n" * 60_000 + held_files.waveform(), 1.0)) == pytest.approx([FVC], abs=0.005)
