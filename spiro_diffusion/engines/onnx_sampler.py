"""Draw lung-function curves with numpy and onnxruntime alone, from the folder that `spiro export` wrote.

    python sample.py --age 45 --height 175 --sex male -n 20 --seed 0 --out curves.npz
    python sample.py --age 45 --height 175 --sex male -n 2 --session 6 --after 4 --out sessions.npz

The same seed gives the curves that `spiro generate` gives on a CPU, within 5e-4 L/s: the noise is PyTorch's
(MT19937, then Box and Muller in groups of 16), the samplers are Euler's (DDIM, Song et al. 2021) and
DPM-Solver++(2M) (Lu et al. 2022) over the noise levels of Karras et al. 2022. A curve whose token lies within
rounding of the border between two codes may differ there. For research; not for diagnosis.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BATCH = 256  # curves at a time, a multiple of the 64 that share a noise generator
FAILED = 3  # the grade D, which gives no best values
SAMPLE_PERIOD_S = 0.01
SEXES = {"male": 1, "female": 2}


class Sampler:
    """The exported generator: its networks and the numbers in `sampler.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.info: dict[str, Any] = json.loads((folder / "sampler.json").read_text(encoding="utf-8"))
        self.edges_s = np.array(self.info["edges_s"])  # (513,) of the bins, s after time zero
        self.facts = self.info["facts"]
        self.scales = {name: np.array(value, np.float32) for name, value in self.facts["scales"].items()}
        self._networks: dict[str, Any] = {}

    def run(self, name: str, **inputs: NDArray) -> list[NDArray]:
        """The outputs of a network, which is loaded when it is first used."""
        if name not in self._networks:
            file = str(self.folder / f"{name}.onnx")
            self._networks[name] = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return self._networks[name].run(None, inputs)

    def draw(self, people: Sequence[Mapping[str, Any]], n: int, seed: int) -> Floats:
        """Signals (people x n, 512), L/s: mean flow between `edges_s`, the n curves of a person side by side.

        A person has age (years), height (cm) and sex (1 male, 2 female); grade (A to D), test_type (Pre or Bron),
        best (True or False), weight (kg), ethnicity (1 to 5, RIDRETH1) and cycle (E, F, G) where they are known.

        Raises ValueError where a person is beyond the trained ages and heights, or a category is not known.
        """
        conditions, features = self.conditions(people), surface_features(people)
        conditions, features = np.repeat(conditions, n, axis=0), np.repeat(features, n, axis=0)
        drawn = self.efforts_alone(conditions, features, seed, self.facts["stream"])
        return self.curves(self.graded(conditions, drawn), self.logs(drawn, features), seed)

    def sessions(self, people: Sequence[Mapping[str, Any]], n: int, efforts: int, after: int, seed: int) -> "Sessions":
        """`n` sessions of one lung for each person, of so many efforts before and after the bronchodilator."""
        half, lungs = self.facts["places"], [person for person in people for _ in range(n)]
        present = np.concatenate([np.arange(half) < efforts, np.arange(half) < after])
        kinds = ["Pre"] * half + ["Bron"] * half
        slots = [{**person, "test_type": kind} for person in lungs for kind in kinds]
        shape = len(lungs), 2 * half
        conditions = self.conditions(slots).reshape(*shape, -1)
        place = np.tile(np.arange(2 * half) % half + 1, (len(lungs), 1))
        there = np.tile(present, (len(lungs), 1))
        features = surface_features(slots).reshape(*shape, -1)
        best = np.full((len(lungs), len(self.facts["known_best"])), np.nan)
        logs, grades = self.session_facts(conditions, place, there, features, best, seed)
        conditions[..., self.names.index("grade")] = grades
        conditions[..., self.names.index("best")] = self._best_of(logs, there & (grades < FAILED), half)
        at = np.nonzero(there)
        signals = self.curves(conditions[at], logs[at], seed, lungs=at[0])
        return Sessions(signals, at[0], place[at], at[1] >= half, grades[at].astype(int))

    @property
    def names(self) -> list[str]:
        """Of the conditions."""
        return [c["name"] for c in (*self.info["numbers"], *self.info["categories"])]

    def conditions(self, people: Sequence[Mapping[str, Any]]) -> Floats:
        """Conditions of the networks (n, 9): standardised numbers, places of categories, NaN for unknown."""
        columns = []
        for number in self.info["numbers"]:
            values = np.array([person.get(number["name"], np.nan) for person in people], float)
            low, high = self.info["made_from"].get(number["name"], (0, np.inf))
            if not ((values >= low) & (values <= high) | np.isnan(values) & number["optional"]).all():
                raise ValueError(f"{number['name']} beyond {low:g} to {high:g}, on which the model was trained")
            columns.append((values - number["centre"]) / number["spread"])
        for category in self.info["categories"]:
            given = [person.get(category["name"]) for person in people]
            places = [np.nan if value is None else category["values"].index(value) for value in given]
            columns.append(np.array(places, float))
        return np.stack(columns, axis=1).astype(np.float32)

    def efforts_alone(
        self, given: Floats, features: Floats, seed: int, stream: int, best: NDArray | None = None, first: int = 0
    ) -> Floats:
        """Drawn facts and grade bits (n, 11) of efforts `first` ..., each a set of one, with conditions (n, c) and
        surface features (n, 12); `best` (n, 5): what is known of their best values (L, -, L/s), NaN unknown."""
        unknown = np.full((len(given), len(self.facts["known_best"])), np.nan)
        best_condition = self._best(unknown if best is None else best, features)
        nowhere, there = np.full((len(given), 1), np.nan, np.float32), np.ones((len(given), 1), np.float32)
        conditions = np.concatenate([given, nowhere, best_condition, there], axis=1)[:, None]
        parts = []
        for i in _firsts(conditions):
            part = conditions[i : i + BATCH]
            parts.append(self._diffuse("facts", part, self._facts_noise(part, seed, first + i, stream)))
        return np.concatenate(parts)[:, 0]

    def session_facts(
        self, given: Floats, place: NDArray, present: NDArray, features: Floats, best: NDArray, seed: int
    ) -> tuple[Floats, Floats]:
        """Facts (P, E, 9) and grades (P, E), positions of A to D, of the efforts of P people in E slots.

        Args:
            given: (P, E, c) conditions; at an empty slot those of any effort of the person. place: (P, E) from 1.
            present: (P, E) whether a slot is taken. features: (P, E, 12). best: (P, 5), as of `efforts_alone`.
        """
        half, given = given.shape[1] // 2, given.copy()
        given[..., self.names.index("best")] = np.nan
        best_condition = self._best(best, features[:, 0])
        some, others = np.any(present[:, :half], axis=1), np.any(present[:, half:], axis=1)
        both = (some & others).astype(float)[:, None]
        role = np.concatenate([np.full_like(both, 2.0), 3.0 * both, 4.0 * present], axis=1)
        middle, spread = self.facts["place"]
        places = np.pad((place - middle) / spread, ((0, 0), (2, 0)), constant_values=np.nan)
        members = np.concatenate([np.repeat(given[:, :1], 2, axis=1), given], axis=1)
        bests = np.repeat(best_condition[:, None], members.shape[1], axis=1)
        conditions = np.concatenate([members, places[..., None], bests, role[..., None]], axis=2).astype(np.float32)
        logs, grades = [], []
        for i in _firsts(conditions):
            part = slice(i, i + BATCH)
            start = self._facts_noise(conditions[part], seed, i, self.facts["stream_sessions"])
            drawn = self._diffuse("facts", conditions[part], start)
            given_grades = given[part, :, self.names.index("grade"), None]
            bits = np.array(self.facts["grades"], np.float32)[np.nan_to_num(given_grades[..., 0]).astype(int)]
            drawn[:, 2:, -2:] = np.where(np.isnan(given_grades), drawn[:, 2:, -2:], bits)
            reached = best_condition[part][:, self._reached()]
            drawn[:, 0, : reached.shape[1]] = np.where(np.isnan(reached), drawn[:, 0, : reached.shape[1]], reached)
            there = present[part].astype(np.float32)
            found = self.run("sessions", drawn=drawn, present=there, features=features[part])
            logs.append(found[0])
            grades.append(found[1])
        return np.concatenate(logs), np.concatenate(grades)

    def curves(
        self,
        given: Floats,
        logs: Floats,
        seed: int,
        first: int = 0,
        lungs: NDArray[np.int64] | None = None,
    ) -> Floats:
        """Signals (n, 512) of efforts `first` ... with conditions (n, c) and facts (n, 9); those with the same number
        in `lungs` (n,) share most of their noise."""
        parts, how = [], self.info["denoiser"]
        shared = None if lungs is None else np.unique(lungs, return_inverse=True)[1]
        for i in _firsts(given):
            facts = logs[i : i + BATCH].astype(np.float32)
            conditions = np.concatenate(
                [given[i : i + BATCH], (facts - self.scales["centre"]) / self.scales["spread"]], axis=1
            )
            start = self.noise(how["shape"], len(conditions), seed, first + i, how["stream"])
            if shared is not None:
                start = self._of_lungs(start, shared[i : i + BATCH], seed)
            latents = self._diffuse("denoiser", conditions, start)
            parts.append(self.run("decoder", latents=latents, facts=facts)[0])
        return np.concatenate(parts)

    def logs(self, drawn: Floats, features: Floats) -> Floats:
        """Facts (n, 9) of drawn efforts (n, 11): what the mean surface leaves, and the surface."""
        left = drawn[:, : len(self.facts["names"])]
        return features @ self.scales["coefficients"] + left * self.scales["residual_sd"]

    def grades(self, drawn: Floats) -> NDArray[np.int64]:
        """Grades (n,), positions of A to D, of drawn efforts (n, 11)."""
        bits = np.array(self.facts["grades"], np.float32)
        return (np.where(drawn[:, None, -2:] > 0, 1, -1) == bits).all(axis=2).argmax(axis=1)

    def graded(self, conditions: Floats, drawn: Floats) -> Floats:
        """The conditions (n, c) with the grades drawn where none is given."""
        place, conditions = self.names.index("grade"), conditions.copy()
        conditions[:, place] = np.where(np.isnan(conditions[:, place]), self.grades(drawn), conditions[:, place])
        return conditions

    def _best(self, values: NDArray, features: Floats) -> Floats:
        """Best values (n, 5) as conditions, of people with surface features (n, 12)."""
        if np.isnan(values).all():
            return np.full(values.shape, np.nan, np.float32)
        return self.run("known_best", values=values.astype(np.float32), features=features)[0]

    def _best_of(self, logs: Floats, counts: NDArray, half: int) -> NDArray[np.bool_]:
        """Whether each effort (P, E) is its session's best: the largest FEV1 + FVC before the bronchodilator."""
        sizes = np.where(counts, np.exp(logs[..., 0]) + np.exp(logs[..., 1]), -np.inf)
        sizes[:, half:] = -np.inf
        return np.isfinite(sizes) & (sizes == sizes.max(axis=1, keepdims=True))

    def _reached(self) -> list[int]:
        """Where the first facts, which a session reaches, stand among the best values."""
        return [self.facts["known_best"].index(name) for name in self.facts["names"][: self.facts["reached"]]]

    def noise(self, shape: Sequence[int], rows: int, seed: int, first: int, stream: int) -> Floats:
        """Standard normal numbers (rows, *shape) of draws first ..."""
        return noise(tuple(shape), rows, seed, first, stream, self.info["noise_block"])

    def _of_lungs(self, start: Floats, lungs: NDArray[np.int64], seed: int) -> Floats:
        """The noise (B, ...) of efforts, of which those of one lung, `lungs` (B,) from 0, share a part."""
        how, block = self.info["denoiser"], self.info["noise_block"]
        first = int(lungs.min()) // block * block
        common = self.noise(how["shape"], int(lungs.max()) + 1 - first, seed, first, how["stream_lungs"])
        effort_part, shared = np.sqrt(1 - how["lung_share"]), np.sqrt(how["lung_share"])
        return np.float32(effort_part) * start + np.float32(shared) * common[lungs - first]

    def _facts_noise(self, conditions: Floats, seed: int, first: int, stream: int) -> Floats:
        """The noise (B, slots, channels) of draws first ...; none at an empty slot."""
        shape = conditions.shape[1], self.facts["shape"][1]
        return self.noise(shape, len(conditions), seed, first, stream) * (conditions[..., -1:] > 0)

    def _diffuse(self, name: str, conditions: Floats, start: Floats) -> Floats:
        """From standard normal noise to a clean sample, both (B, tokens, channels)."""
        how = self.info[name]
        sigmas = karras_sigmas(how["steps"], *how["noise"])
        x, second_order = start * sigmas[0], how["sampler"] == "dpmpp_2m"
        last: Floats | None = None
        for i, (now, following) in enumerate(itertools.pairwise(sigmas)):
            (clean,) = self.run(name, noisy=x, sigma=np.full(len(x), now), conditions=conditions)
            if following == 0:
                return clean
            step = np.log(now / following)
            blend = clean
            if last is not None and second_order:
                blend = clean + (clean - last) * step / (2 * np.log(sigmas[i - 1] / now))
            x, last = (following / now) * x - np.expm1(-step) * blend, clean
        return x


class Sessions(NamedTuple):
    """n efforts of sessions: `signals` (n, 512) L/s, and of each the `lung`, its `place` in the session, from 1,
    whether it was blown `after` the bronchodilator, and its `grade`, 0 to 3 for A to D."""

    signals: Floats
    lung: NDArray[np.int64]
    place: NDArray[np.int64]
    after: NDArray[np.bool_]
    grade: NDArray[np.int64]


def _firsts(rows: NDArray) -> range:
    """The first row of each batch."""
    return range(0, len(rows), BATCH)


def karras_sigmas(steps: int, minimum: float, maximum: float, rho: float = 7.0) -> Floats:
    """Noise levels (steps + 1,) of Karras et al. 2022, equation 5, and a final 0."""
    low, high = minimum ** (1 / rho), maximum ** (1 / rho)
    return np.append((high + np.linspace(0, 1, steps) * (low - high)) ** rho, 0).astype(np.float32)


def surface_features(people: Sequence[Mapping[str, Any]]) -> Floats:
    """Features (n, 12) of the mean surface of lung function: cubic age, log height, their product, each by sex."""
    age, height, sex = (np.array([person[name] for person in people], float) for name in ("age", "height", "sex"))
    age, height = (age - 40) / 20, np.log(height / 165)
    base = np.stack([np.ones_like(age), age, age**2, age**3, height, age * height], axis=1)
    return np.hstack([base, base * (2 * sex - 3)[:, None]]).astype(np.float32)


def noise(shape: tuple[int, ...], rows: int, seed: int, first: int, stream: int, block: int) -> Floats:
    """Standard normal numbers (rows, *shape) of draws first ..., as `torch.randn` gives them on a CPU."""
    blocks = []
    for number in range(first // block, -(-(first + rows) // block)):
        name = int(np.random.SeedSequence([seed, number, stream]).generate_state(1, np.uint64)[0]) >> 1
        twister = np.random.RandomState(name & 0xFFFFFFFF)  # torch seeds MT19937 with these 32 bits
        bits = np.frombuffer(twister.bytes(4 * block * int(np.prod(shape))), "<u4")
        uniform = ((bits & 0xFFFFFF) * np.float32(2**-24)).astype(np.float32).reshape(-1, 2, 8)
        radius, angle = np.sqrt(-2 * np.log1p(-uniform[:, 0])), np.float32(2 * np.pi) * uniform[:, 1]
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        blocks.append(pairs.reshape(block, *shape))
    return np.concatenate(blocks)[:rows]


def to_10ms(signals: Floats, edges_s: NDArray[np.float64]) -> dict[str, NDArray]:
    """Signals (n, 512) each 10 ms: `time_s` (T,), `flow_l_s` (n, T) from then on, `volume_l` (n, T) until then."""
    ticks = np.arange(round((edges_s[-1] - edges_s[0]) / SAMPLE_PERIOD_S) + 1) * SAMPLE_PERIOD_S + edges_s[0]
    edges_s = np.append(edges_s[:-1], ticks[-1])  # the last bin ends 0.03 ms before the last sample does
    expired = np.pad(np.cumsum(signals * np.diff(edges_s), axis=1), ((0, 0), (1, 0)))  # L at the edges, (n, 513)
    volume = np.stack([np.interp(ticks, edges_s, curve) for curve in expired])
    flow = np.diff(volume, axis=1) / SAMPLE_PERIOD_S
    fine = {"time_s": ticks[:-1].round(2), "flow_l_s": flow, "volume_l": volume[:, :-1]}
    return {name: array if name == "time_s" else array.astype(np.float32) for name, array in fine.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="what `spiro export` wrote")
    parser.add_argument("--age", type=float, required=True, help="years")
    parser.add_argument("--height", type=float, required=True, help="cm")
    parser.add_argument("--sex", choices=SEXES, required=True)
    parser.add_argument("-n", type=int, default=20, help="curves")
    parser.add_argument("--session", type=int, metavar="N", help="efforts of one lung, -n lungs")
    parser.add_argument("--after", type=int, default=0, metavar="N", help="of a session, after a bronchodilator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("curves.npz"), help="time_s, flow_l_s, volume_l")
    options = parser.parse_args()
    person = {"age": options.age, "height": options.height, "sex": SEXES[options.sex]}
    sampler = Sampler(options.folder)
    for warning in sampler.info["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    found: dict[str, NDArray] = {}
    try:
        if options.session:
            drawn = sampler.sessions([person], options.n, options.session, options.after, options.seed)
            signals, found = drawn.signals, {k: v for k, v in drawn._asdict().items() if k != "signals"}
        else:  # the best acceptable effort before the bronchodilator, as `spiro generate` draws it
            person |= {"grade": "A", "test_type": "Pre", "best": True}
            signals = sampler.draw([person], options.n, options.seed)
    except ValueError as error:
        parser.error(str(error))
    np.savez_compressed(options.out, **found, **to_10ms(signals, sampler.edges_s))  # type: ignore[arg-type]
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
