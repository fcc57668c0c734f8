"""The page without a browser: what it shows of curves, what it takes, and who may ask it."""

import base64
import io
import json
import re
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import held_files
import numpy as np
import pandas as pd
import pytest
from dash import Dash, html
from plotly.utils import PlotlyJSONEncoder
from test_cli import blow, refused

from spiro_diffusion.api import Recovered, SpiroGenerator
from spiro_diffusion.app import completion_view, figures, page, picture, reconstruct, server, user_effort
from spiro_diffusion.app import upload as uploads
from spiro_diffusion.app.panel import Panel
from spiro_diffusion.app.requests import LINES, Drawer, Request
from spiro_diffusion.app.table import number, table
from spiro_diffusion.app.view import Line, Row, View, loop, loop_band, view
from spiro_diffusion.cli import main
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.generation import drawn_curves
from spiro_diffusion.physiology import reference, time_grid
from spiro_diffusion.physiology.faults import Fault
from spiro_diffusion.simulation.population import POPULATION
from spiro_diffusion.user_curves import RawBlow, to_efforts

CONTROLS = {"age": 45, "height": 175, "sex": "male", "n": 8, "guidance": 1, "seed": 3, "effort": "best"}
CONTROLS |= {"draw": "efforts", "before": 8, "after": 0, "spoiled": "either", "pattern": "either"}


@pytest.fixture(scope="module")
def drawer(models: Path) -> Drawer:
    return Drawer(SpiroGenerator.from_checkpoint(models))


def alone(flow: np.ndarray) -> user_effort.Effort:
    """An effort whose session has no other."""
    return user_effort.Effort(to_efforts([RawBlow("mine", "flow", flow, 0.01)], "mine.csv"), 0)


@pytest.fixture(scope="module")
def effort() -> user_effort.Effort:
    volume = blow()["volume_l"].to_numpy()
    return alone(np.diff(volume) / 0.01)


@pytest.fixture(scope="module")
def seen(drawer: Drawer, effort: user_effort.Effort) -> View:
    return view(drawer(Request.checked(**CONTROLS)).curves, effort)


def upload(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return "data:text/csv;base64," + base64.b64encode(content).decode()


# What is shown


def test_bands_are_percentiles_of_the_curves(drawer: Drawer, seen: View) -> None:
    curves = drawer(Request.checked(**CONTROLS)).curves
    at_6_s = int(np.searchsorted(seen.spirogram.band.x, 6.0))
    volumes = curves.volume[:, np.searchsorted(curves.time, seen.spirogram.band.x[at_6_s])]
    np.testing.assert_allclose(
        seen.spirogram.band.percentiles[:, at_6_s], np.percentile(volumes, (5, 25, 50, 75, 95)), rtol=1e-6
    )
    assert len(seen.spirogram.lines) == len(seen.loop.lines) == seen.n == 8


def test_a_curve_that_has_ended_flows_at_nothing() -> None:
    short, long = (Line(np.array([0.0, 1.0, end]), np.array([0.0, 8.0, 0.0])) for end in (2.0, 4.0))
    band = loop_band([short, long], 4.0)
    at = {volume: band.percentiles[2, np.searchsorted(band.x, volume - 1e-9)] for volume in (1.0, 2.0, 3.0)}
    assert at == pytest.approx({1.0: 8.0, 2.0: (0 + 8 * 2 / 3) / 2, 3.0: (0 + 8 / 3) / 2})


def test_a_users_curve_begins_at_its_time_zero(seen: View) -> None:
    line = seen.spirogram.user
    assert line is not None
    fev1 = {row.name: row for row in seen.rows}["fev1"].user
    assert np.interp(1.0, line.x, line.y) == pytest.approx(fev1, abs=0.002)
    assert fev1 == pytest.approx(4.0 * (1 - np.exp(-2)), abs=0.02)


def test_a_loop_is_flow_at_the_volume_out_by_then(effort: user_effort.Effort) -> None:
    line = loop(effort.flow)
    falling = slice(np.argmax(line.y) + 3, 300)
    np.testing.assert_allclose(line.y[falling], (4.0 - line.x[falling]) / 0.5, atol=0.02)  # what empties with 0.5 s


def test_rows_hold_gli_globals_limits_and_the_users_curve_against_them(seen: View) -> None:
    rows = {row.name: row for row in seen.rows}
    limits = reference.gli_global("fvc", 45, 175, 1)
    assert (rows["fvc"].lln, rows["fvc"].median) == pytest.approx((float(limits.lln), float(limits.m)))
    assert rows["fvc"].user_z == pytest.approx(float(limits.z(4.0)), abs=0.01)
    assert not rows["fvc"].below
    assert small_fvc().below
    assert rows["pef"].lln is None
    assert rows["pef"].user_z is None
    assert seen.user is not None
    assert seen.user[["acceptable_fev1", "acceptable_fvc"]].all()
    assert list(rows["fev1"].generated) == sorted(rows["fev1"].generated)


def small_fvc() -> Row:
    """The row of an FVC of 3 L in a man whose lower limit is 3.5 L."""
    flow = np.diff(blow(fvc=3.0)["volume_l"].to_numpy()) / 0.01
    people = pd.DataFrame({"age": [45.0], "height": [175.0], "sex": [1]})
    signals = time_grid.to_grid(flow[None], np.array([0.2]))
    curves = drawn_curves.from_signals(signals[:, None], people)
    return {row.name: row for row in view(curves, alone(flow)).rows}["fvc"]


def test_plots_have_units_the_shape_ats_asks_and_no_text_of_a_user(seen: View) -> None:
    both = figures.flow_volume(seen), figures.volume_time(seen)
    titles = [(f.layout.xaxis.title.text, f.layout.yaxis.title.text) for f in both]
    assert titles == [("Volume (L)", "Flow (L/s)"), ("Time (s)", "Volume (L)")]
    assert both[0].layout.yaxis.scaleanchor == "x"
    assert both[0].layout.yaxis.scaleratio == 0.5  # 1 L as long as 2 L/s
    assert "LLN FVC 3.51 L" in both[0].to_json()
    assert "LLN FEV₁ 2.82 L" in json.dumps(json.loads(both[1].to_json()), ensure_ascii=False)
    assert "mine" not in both[0].to_json() + both[1].to_json()


def test_the_picture_is_a_png_of_its_size(seen: View) -> None:
    content = picture.generated(seen, "Trained on nothing")
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (1980, 990)
    assert content == picture.generated(seen, "Trained on nothing")


def test_the_table_has_the_users_columns_only_with_a_curve_of_theirs(drawer: Drawer, seen: View) -> None:
    def cells(table: html.Table) -> int:
        return len(table.children[0].children.children)

    assert cells(table(seen)) == 6
    assert cells(table(view(drawer(Request.checked(**CONTROLS)).curves))) == 4
    assert [number(v, 2) for v in (-1.645, 0.001, -0.001, float("nan"), None)] == ["−1.65", "0.00", "0.00", "–", "–"]


# What is asked


def test_what_was_drawn_is_remembered(drawer: Drawer) -> None:
    requested = Request.checked(**CONTROLS)
    assert drawer(requested).curves is drawer(Request.checked(**CONTROLS)).curves
    other = drawer(Request.checked(**CONTROLS | {"seed": 4}))
    assert not np.array_equal(other.curves.signals, drawer(requested).curves.signals)
    assert requested.name == "male_45y_175cm_best_seed3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": None}, "age is None; expected a number"),
        ({"age": "<b>45"}, "age is <b>45"),
        ({"height": float("nan")}, "height is nan"),
        ({"n": 4}, "n is 4; expected 8 to 128"),
        ({"n": True}, "n is True; expected a number"),
        ({"guidance": 9}, "guidance is 9; expected 1 to 3"),
        ({"seed": -1}, "seed is -1; expected 0"),
        ({"effort": "worst"}, "effort is 'worst'"),
        ({"draw": "lungs"}, "draw is 'lungs'; expected one of efforts, session"),
        ({"before": 0}, "before is 0; expected 1 to 8"),
        ({"after": 9}, "after is 9; expected 0 to 8"),
        ({"spoiled": "sneeze"}, "spoiled is 'sneeze'"),
        ({"pattern": "asthma"}, "pattern is asthma; expected one of normal, obstruction"),
        ({"fev1": "<b>much</b>"}, "fev1 is <b>much</b>; expected as 2.5"),
        ({"fev1": "9" * 30}, "fev1 is longer than 20 characters"),
        ({"draw": "session", "pattern": "gold-2"}, "gold-2 is of values after a bronchodilator: draw efforts after it"),
        ({"age": 80}, "age is 80"),
        ({"height": 1.75}, "give centimetres"),
        ({"sex": "other"}, "sex is other"),
    ],
)
def test_what_no_control_can_say_is_refused(drawer: Drawer, change: dict, message: str) -> None:
    with pytest.raises(SpiroError, match=message):
        drawer(Request.checked(**CONTROLS | change))


def test_it_warns_near_the_ends_and_of_heights_that_nobody_has(drawer: Drawer) -> None:
    assert drawer(Request.checked(**CONTROLS)).warnings == []
    near, unlikely = drawer(Request.checked(**CONTROLS | {"age": 7})).warnings
    assert near.startswith("age 7 is within 2 years")
    assert "such as the model never saw" in unlikely
    for sex in (1, 2):
        (child, adult) = POPULATION.usual_heights(np.array([7.0, 20.0]), np.array([sex, sex]))[1]
        assert child < 175 < adult


# A spoiled effort


@pytest.fixture(scope="module")
def mending(reconstructing: Path) -> Drawer:
    return Drawer(SpiroGenerator.from_checkpoint(reconstructing))


@pytest.fixture(scope="module")
def stopped(mending: Drawer, effort: user_effort.Effort) -> Recovered:
    """What is drawn for an effort that stopped 0.6 s after it began."""
    return mending.reconstruct(cut(effort), WHO, None).recovered


WHO = {"age": 45, "height": 175, "sex": "male"}


def cut(effort: user_effort.Effort) -> user_effort.Effort:
    return alone(effort.flow[:80])


def text_of(components: Any) -> str:
    return json.dumps(components, cls=PlotlyJSONEncoder, ensure_ascii=False)


def test_the_trusted_part_is_drawn_as_recorded_and_the_rest_apart_from_it(stopped: Recovered) -> None:
    for plot in (completion_view.spirogram_plot(stopped), completion_view.loop_plot(stopped)):
        assert plot.user is not None
        assert plot.untrusted is not None
        trusted, doubted = np.isfinite(plot.user.y), np.isfinite(plot.untrusted.y)
        assert trusted.any()
        assert doubted.any()
        assert (trusted | doubted).all(), "what was recorded is shown whole"
        assert (trusted & doubted).sum() <= 1, "they meet and do not run side by side"
    spirogram = completion_view.spirogram_plot(stopped)
    begin = stopped.faults[0].begin
    assert spirogram.user is not None
    assert np.nanmax(spirogram.user.x) == pytest.approx(begin, abs=0.03)
    spread = spirogram.band.percentiles[-1] - spirogram.band.percentiles[0]
    assert spread[spirogram.band.x < begin - 0.05].max() < 1e-6, "what is trusted is certain"
    assert spread[-1] > 0.05
    dashes = [trace.line.dash for trace in figures.spirogram(spirogram).data]
    assert dashes.count(None) == len(dashes) - 1


def test_faults_are_told_with_their_time_and_reason(stopped: Recovered) -> None:
    (fault,) = stopped.faults
    assert completion_view.found(fault) == f"early end, from {fault.begin:.2f} s: {fault.reason}"
    assert completion_view.found(Fault("slow start", "why", -np.inf, 0.3)) == "slow start, to 0.30 s: why"
    assert completion_view.found(Fault("cough", "why", 0.5, 0.8)) == "cough, from 0.50 s to 0.80 s: why"


def test_recovered_indices_stand_beside_those_recorded(stopped: Recovered) -> None:
    table = completion_view.table(stopped)
    assert [cell.children for cell in table.children[0].children.children] == [
        "Index", "As recorded", "Median", "50 % interval", "90 % interval",
    ]  # fmt: skip
    rows = {row.children[0].children[0]: [c.children for c in row.children[1:]] for row in table.children[1].children}
    fvc = stopped.summary().loc["fvc"]
    assert rows["FVC"] == [
        f"{fvc['recorded']:.2f}",
        f"{fvc['median']:.2f}",
        f"{fvc['low_50']:.2f} to {fvc['high_50']:.2f}",
        f"{fvc['low_90']:.2f} to {fvc['high_90']:.2f}",
    ]
    assert set(rows) == {"FEV₁", "FVC", "FEV₁/FVC", "FEF₂₅₋₇₅", "PEF", "FET"}


def test_the_panel_answers_with_all_of_it_and_obeys_a_mask(mending: Drawer, effort: user_effort.Effort) -> None:
    text = text_of(reconstruct.completion_cards(mending, cut(effort), WHO, None))
    for words in ("Early end, from ", "would most likely be", "Not for diagnosis", "50 full efforts", "90 % interval"):
        assert words in text
    masked = text_of(reconstruct.completion_cards(mending, cut(effort), WHO, " 0:0.4 "))
    assert "Part of the effort is not trusted, as requested" in masked
    assert "Early end" not in masked
    assert "within 2 years" in text_of(reconstruct.completion_cards(mending, cut(effort), WHO | {"age": 7}, None))


def test_an_effort_without_a_fault_is_said_to_stand(mending: Drawer, effort: user_effort.Effort) -> None:
    text = text_of(reconstruct.completion_cards(mending, effort, WHO, None))
    assert "No fault was found" in text


@pytest.mark.parametrize(
    ("change", "mask", "message"),
    [
        ({}, "<b>2", "mask: '<b>2' is no span"),
        ({}, "5:6", "mask: nothing is trusted"),
        ({}, 7, "mask: '7' is no span"),
        ({"age": None}, None, "age is None; expected a number"),
        ({"age": 80}, None, "age is 80"),
        ({"sex": "other"}, None, "sex is other"),
    ],
)
def test_what_cannot_be_made_whole_is_refused_in_one_line(
    mending: Drawer, effort: user_effort.Effort, change: dict, mask: Any, message: str
) -> None:
    (card,) = reconstruct.completion_cards(mending, cut(effort), WHO | change, mask)
    (line,) = card.children
    assert line.className == "alert"
    assert message in line.children
    assert "\n" not in line.children


def test_without_a_reconstructor_the_panel_says_how_to_get_one_and_the_page_stands(drawer: Drawer) -> None:
    text = words(page.make(drawer))
    assert "dvc pull train_reconstructor" in text
    assert "reconstruct-upload" not in text
    assert "generate-upload" in text


# What is taken


def test_an_upload_comes_back_from_the_browser_as_it_was() -> None:
    parts = [blow(fvc=fvc).assign(curve=name) for name, fvc in (("small", 3.0), ("large", 4.0), ("middle", 3.5))]
    found = user_effort.read_upload(upload(pd.concat(parts).to_csv(index=False)), "mine.csv")
    stored = json.loads(json.dumps(user_effort.to_store(found)))
    assert user_effort.best(found) == 1
    chosen = user_effort.effort(stored, 1)
    assert chosen is not None
    assert chosen.session.names[chosen.number] == "large"
    np.testing.assert_allclose(chosen.flow, found.flow[1, : found.points[1]], atol=1e-5)
    assert user_effort.effort(None, None) is user_effort.effort(stored, None) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data:text/csv;base64,????", "did not arrive completely"),
        (upload("a,<script>alert(1)</script>\n1,2\n"), r"columns are a, <script>alert\(1\)</script>"),
        (upload(",".join(f"c{i}" for i in range(5000)) + "\n" + "0," * 4999 + "0\n"), "c7 and 4992 more"),
        (upload(b"\x89PNG\r\n\x1a\n\x00\xff\xfe"), "not a readable CSV"),
        (upload(blow().assign(volume_l=lambda t: 1000 * t["volume_l"]).to_csv(index=False)), "not mL"),
        (upload(b"0" * (user_effort.MOST_BYTES + 1)), "larger than 4 MB"),
        (upload(pd.concat([blow(seconds=3).assign(curve=i) for i in range(21)]).to_csv()), "holds 21 curves"),
    ],
)
def test_what_holds_no_curves_is_refused_by_name(content: str, message: str) -> None:
    with pytest.raises(SpiroError, match=message) as caught:
        user_effort.read_upload(content, "n" * 500 + ".csv")
    assert len(str(caught.value)) < 600


def test_a_file_that_does_not_say_btps_asks_for_it_on_the_page(drawer: Drawer) -> None:
    assert '"id": "generate-btps"' in words(page.make(drawer))
    sent = {"contents": upload(held_files.uk_biobank()), "name": "blow.txt"}
    nothing, *_, (request,) = uploads.read(sent, None)
    assert nothing is None
    assert "on the page: factor to BTPS" in str(request.children)
    volumes = []
    for factor in (1, 1.1):
        stored, *_ = uploads.read(sent, factor)
        assert stored is not None
        volumes.append(sum(stored[0]["flow"]))
    assert volumes[1] == pytest.approx(1.1 * volumes[0], rel=1e-3)
    for wrong, message in ((11, "the factor to BTPS is 11; expected 0.95"), ("<b>", "is <b>; expected a number")):
        *_, (refusal,) = uploads.read(sent, wrong)
        assert message in str(refusal.children)


# Who may ask


@pytest.fixture(scope="module")
def client(drawer: Drawer) -> Any:
    return server.guarded(page.make(drawer)).test_client()


def test_only_this_computer_by_its_own_name_is_answered(client: Any) -> None:
    assert client.get("/", headers={"Host": "127.0.0.1:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "localhost:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "rebound.example:8050"}).status_code == 403
    foreign = {"Host": "127.0.0.1:8050", "Origin": "http://elsewhere.example"}
    assert client.post("/_dash-update-component", json={}, headers=foreign).status_code == 403


def test_the_page_may_load_nothing_from_elsewhere_nor_be_framed(client: Any) -> None:
    headers = client.get("/", headers={"Host": "127.0.0.1"}).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; script-src 'self' 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_request_larger_than_an_upload_is_refused(client: Any) -> None:
    body = io.BytesIO(b"{" + b" " * (2 * user_effort.MOST_BYTES + server.BESIDES))
    sent = client.post(
        "/_dash-update-component", data=body, content_type="application/json", headers={"Host": "127.0.0.1"}
    )
    assert sent.status_code == 413


def test_it_listens_on_loopback_alone_and_says_when_the_port_is_taken(drawer: Drawer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SpiroError, match=f"port {port} of 127.0.0.1: .* --port"):
            server.open_server(drawer, port)
    opened = server.open_server(drawer, 0)
    try:
        assert opened.socket.getsockname() == ("127.0.0.1", opened.port)
    finally:
        opened.server_close()


def words(app: Dash) -> str:
    return json.dumps(app.layout, default=lambda component: component.to_plotly_json())


def test_a_second_panel_stands_below_the_first_with_links_to_both(drawer: Drawer) -> None:
    connected: list[str] = []
    other = Panel("other", "Another thing", lambda _: html.P("its layout"), lambda *_: connected.append("other"))
    both = json.dumps(
        page.make(drawer, (*page.PANELS, other)).layout.to_plotly_json(), default=lambda c: c.to_plotly_json()
    )
    assert '"href": "#other"' in both
    assert "its layout" in both
    assert connected == ["other"]
    alone = words(page.make(drawer, page.PANELS[:1]))
    assert '"href"' not in alone
    assert "Trained on 9 curves of 3 participants, source 'simulated'" in alone
    assert "Not for diagnosis" in alone


def test_without_models_or_framework_the_command_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused((main(["app", "--models", "no/where"]), *capsys.readouterr()), "no such checkpoint")
    monkeypatch.setitem(sys.modules, "spiro_diffusion.app.server", None)
    refused((main(["app"]), *capsys.readouterr()), "pip install 'spiro-diffusion[app]'")


def test_guidance_is_the_generators(models: Path) -> None:
    generator = SpiroGenerator.from_checkpoint(models)
    with pytest.raises(SpiroError, match="guidance is -1"):
        generator.generate(age=45, height=175, sex="male", guidance=-1)


def test_many_curves_do_not_hide_their_bands(drawer: Drawer) -> None:
    seen = view(drawer(Request.checked(**CONTROLS | {"n": 128})).curves)
    assert seen.n == 128
    assert len(seen.loop.lines) == len(seen.spirogram.lines) == LINES


def test_colours_of_the_page_are_those_of_the_palette(client: Any) -> None:
    """A colour is changed in plotting/style.py and nowhere else."""
    folder = Path(page.__file__).parent
    files = [file for file in folder.rglob("*") if file.suffix in (".py", ".css", ".js")]
    assert len(files) > 10
    written = {file.name: re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(\d", file.read_text()) for file in files}
    assert {name: colours for name, colours in written.items() if colours} == {}
    html_text = client.get("/", headers={"Host": "127.0.0.1"}).text
    used = set(re.findall(r"var\(--([a-z-]+)\)", (folder / "assets/spiro.css").read_text()))
    assert used
    assert [name for name in used if f"--{name}:" not in html_text] == []


def test_a_bad_model_is_told_beside_its_curves(reconstructing: Path) -> None:
    generator = SpiroGenerator.from_checkpoint(reconstructing)
    generator.warnings = ["the figures of this model are bad"]
    bad = Drawer(generator)
    assert bad(Request.checked(**CONTROLS)).warnings == generator.warnings
    assert "figures of this model are bad" in text_of(page.make(bad).layout)
