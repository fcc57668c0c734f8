"""Forced expirations found in records of whole manoeuvres; the cases of the project where they are at hand."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.fuzz_manoeuvres import fuzz
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.physiology import ats_ers, manoeuvre, spirometry
from spiro_diffusion.physiology.breaths import breaths
from spiro_diffusion.physiology.manoeuvre import forced_expiration, forced_expirations
from spiro_diffusion.physiology.waveforms import lung, sampled

SHARED = Path(__file__).parents[2] / "shared"
PERIOD = 0.01
BLOW = sampled(lung(0.0, 0.1, [(3.0, 0.4), (1.0, 1.2)], 8.0))
FVC = BLOW.sum() * PERIOD


def inspiration(litres: float, seconds: float = 2.0, period: float = PERIOD) -> np.ndarray:
    shape = np.sin(np.arange(0, seconds, period) * np.pi / seconds)
    return -litres * shape / (shape.sum() * period)


def tidal(breaths_out: int) -> np.ndarray:
    return 0.6 * np.sin(np.arange(0, 3 * breaths_out, PERIOD) * 2 * np.pi / 3)


def test_breaths_are_told_by_a_turn_of_over_100_ml() -> None:
    flow = np.concatenate([np.full(100, 1.0), np.full(100, -0.09), np.full(100, 0.5), inspiration(1.0)])
    found = breaths(spirometry.volume(flow[None])[0])
    assert [round(b.volume, 2) for b in found] == [1.41, -1.0]
    assert (found[0].begin, found[0].end) == (0, 301)  # the last sample of the greatest volume
    assert breaths(np.zeros(50)) == []
    assert breaths(np.full(1, 3.0)) == []


@pytest.mark.parametrize("sign", [1, -1], ids=["expiration positive", "inspiration positive"])
def test_a_whole_manoeuvre_gives_the_indices_of_its_blow(sign: int) -> None:
    record = np.concatenate([tidal(3), inspiration(FVC), BLOW, inspiration(FVC + 0.05, 1.5), tidal(1)])
    found = forced_expiration(sign * record, PERIOD)
    alone = spirometry.indices(BLOW[None], np.array([len(BLOW)]))
    for name in ("fev1", "fev6", "fvc", "pef", "bev", "fef2575", "last_second"):
        assert getattr(found.indices, name)[0] == pytest.approx(getattr(alone, name)[0], abs=0.003), name
    assert found.flipped == (sign < 0)
    assert found.inspired_l == pytest.approx(FVC + 0.57, abs=0.02)  # the last half of a tidal breath goes on into it
    assert found.fivc_l == pytest.approx(FVC + 0.05, abs=0.02)
    assert found.pif_l_s == pytest.approx((FVC + 0.05) / 1.5 * np.pi / 2, rel=0.01)
    assert found.hesitation_s == pytest.approx(0.1, abs=0.1)
    assert any("before full inspiration" in words for words in found.cut)
    assert any("after the expiration" in words for words in found.cut)
    judged = ats_ers.judge_2019(found.indices, [30.0], None, manoeuvre.observed([found]))
    assert judged.fev1[0]
    assert judged.fvc[0]


def test_a_blow_alone_is_left_as_it_is() -> None:
    found = forced_expiration(BLOW, PERIOD)
    np.testing.assert_array_equal(found.flow, BLOW)
    assert found.cut == ()
    assert np.isnan([found.inspired_l, found.fivc_l, found.pif_l_s, found.hesitation_s, found.drift_l_s]).all()
    assert not found.faulty_zero


def test_inspiring_more_than_was_expired_is_no_full_blow() -> None:
    found = forced_expiration(np.concatenate([BLOW, inspiration(FVC + 0.3)]), PERIOD)
    judged = ats_ers.judge_2019(found.indices, [30.0], None, manoeuvre.observed([found]))
    assert [bool(mask[0]) for mask in judged[:4]] == [False, False, True, True]


@pytest.mark.parametrize(("drift", "faulty"), [(0.02, False), (-0.02, False), (0.05, True), (0.3, True)])
def test_drift_before_the_blow_is_measured_and_not_counted(drift: float, faulty: bool) -> None:
    found = forced_expiration(np.concatenate([np.full(150, drift), BLOW]), PERIOD)
    assert found.drift_l_s == pytest.approx(drift, abs=0.003)
    assert found.drift_l == pytest.approx(1.5 * drift, abs=0.01)
    assert found.indices.fvc[0] == pytest.approx(FVC, abs=0.005)
    assert found.faulty_zero == faulty
    judged = ats_ers.judge_2019(found.indices, [30.0], None, manoeuvre.observed([found]))
    assert judged.usable_fev1[0] == (not faulty)
    assert drift < 0 or any("steady flow" in words for words in found.cut)


def test_a_pause_at_full_inspiration_is_a_warning() -> None:
    found = forced_expiration(np.concatenate([inspiration(FVC), np.zeros(250), BLOW]), PERIOD)
    assert found.hesitation_s == pytest.approx(2.6, abs=0.2)
    assert "later than 2 s" in found.warnings[0]
    assert ats_ers.judge_2019(found.indices, [30.0], None, manoeuvre.observed([found])).fev1[0]


def test_several_blows_in_a_record_are_each_found() -> None:
    smaller = 0.9 * BLOW
    record = np.concatenate([BLOW, inspiration(FVC), smaller, inspiration(FVC), tidal(2)])
    first, second = forced_expirations(record, PERIOD)
    assert first.indices.fvc[0] == pytest.approx(FVC, abs=0.005)
    assert second.indices.fvc[0] == pytest.approx(0.9 * FVC, abs=0.005)
    assert second.begin_s == pytest.approx(len(BLOW) * PERIOD + 2, abs=0.1)
    assert forced_expiration(record, PERIOD).begin_s == first.begin_s


@pytest.mark.parametrize("period", [0.002, 0.008, 1 / 60])
def test_the_rate_is_the_record_s_own(period: float) -> None:
    found = forced_expiration(sampled(lung(0.2, 0.1, [(3.0, 0.4)], 6.0), period), period)
    assert found.indices.fvc[0] == pytest.approx(3.0, abs=0.01)
    assert found.indices.fev1[0] == pytest.approx(2.757, abs=0.01)


@pytest.mark.parametrize(
    ("flow", "period", "message"),
    [
        (np.zeros(500), 0.01, "no forced expiration"),
        (np.zeros((3, 5)), 0.01, "shape"),
        (np.array([]), 0.01, "shape"),
        (np.array([1.0, np.nan, 1.0]), 0.01, "sample 2"),
        (BLOW, 0.2, "at most 0.05 s"),
        (np.full(400, 0.01), 0.01, "no forced expiration"),
    ],
)
def test_what_is_no_record_ends_in_a_line(flow: np.ndarray, period: float, message: str) -> None:
    with pytest.raises(SpiroError, match=message) as caught:
        forced_expirations(flow, period, where="mine.csv")
    assert str(caught.value).startswith("mine.csv: ")
    assert "\n" not in str(caught.value)


def test_pieces_of_manoeuvres_give_indices_within_the_record() -> None:
    assert fuzz(150, seed=0) > 75


cases = pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="the project's cases are not at hand")


def case(name: str) -> list[pd.DataFrame]:
    table = pd.read_csv(next((SHARED / "cases").glob(f"{name}_*.csv")))
    return [rows for _, rows in table.groupby("curve")] if "curve" in table else [table]


@cases
def test_a_loop_with_the_breath_in_after_is_its_expiration() -> None:
    for looped, alone in zip(case("01"), case("02"), strict=True):
        a, b = (forced_expiration(part.flow_l_s, PERIOD) for part in (looped, alone))
        assert a.indices.fvc[0] == pytest.approx(b.indices.fvc[0], abs=0.002)
        assert a.indices.fev1[0] == pytest.approx(b.indices.fev1[0], abs=0.002)
        assert a.indices.fet[0] == pytest.approx(3.9, abs=0.15)
        assert not ats_ers.judge_2019(a.indices, [27.0]).fvc[0]


@cases
def test_a_breath_in_first_is_not_part_of_the_volume() -> None:
    for name in ("03", "04"):
        found = forced_expiration(case(name)[0].flow_l_s, PERIOD)
        assert found.indices.fvc[0] == pytest.approx(3.07, abs=0.01)
        assert found.indices.fev1[0] == pytest.approx(2.42, abs=0.01)
    assert forced_expiration(case("03")[0].flow_l_s, PERIOD).inspired_l == pytest.approx(1.0, abs=0.01)


@cases
def test_peak_flow_of_standard_waveforms_is_the_highest_flow() -> None:
    for wave in case("13"):
        flow = wave.flow_l_s.to_numpy()
        found = forced_expiration(flow, 0.002)
        assert found.indices.pef[0] == pytest.approx(flow.max(), rel=0.005)


@cases
def test_real_loops_are_accepted_where_a_plateau_or_15_s_is_there() -> None:
    with gzip.open(SHARED / "real_loops" / "loops.csv.gz", "rt") as file:
        loops = pd.read_csv(file)
    for _, loop in loops.groupby("person"):
        flow = np.diff(loop.volume_l.to_numpy(), prepend=0.0) / PERIOD
        found = forced_expiration(flow, PERIOD)
        volume, end = np.cumsum(flow) * PERIOD, 0
        for sample, here in enumerate(volume):  # the greatest volume before the first breath in of over 100 mL
            if here >= volume[end]:
                end = sample
            elif volume[end] - here > 0.1 and end > 100:
                break
        plateau = volume[end] - volume[max(end - 100, 0)] <= 0.025 or end * PERIOD >= 15
        judged = ats_ers.judge_2019(found.indices, [25.0], None, manoeuvre.observed([found]))
        assert judged.fvc[0] == plateau
