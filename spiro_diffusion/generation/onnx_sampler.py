"""Draw lung-function curves with numpy and onnxruntime alone, from the folder that `spiro export` wrote.

    python sample.py --age 45 --height 175 --sex male -n 20 --seed 0 --out curves.npz

The same seed gives the curves that `spiro generate` gives on a CPU, within 5e-4 L/s: the noise is PyTorch's
(MT19937, then Box and Muller in groups of 16), the two samplers are DPM-Solver++(2M) (Lu et al. 2022) over the
noise levels of Karras et al. 2022. A curve whose token lies within rounding of the border between two codes may
differ there. For research; not for diagnosis.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BATCH = 256  # curves at a time, a multiple of the 64 that share a noise generator
SAMPLE_PERIOD_S = 0.01
SEXES = {"male": 1, "female": 2}


class Sampler:
    """The exported generator: `facts.onnx`, `denoiser.onnx`, `decoder.onnx` and the numbers in `sampler.json`."""

    def __init__(self, folder: Path) -> None:
        self.info: dict[str, Any] = json.loads((folder / "sampler.json").read_text(encoding="utf-8"))
        self.networks = {
            name: onnxruntime.InferenceSession(str(folder / f"{name}.onnx"), providers=["CPUExecutionProvider"])
            for name in ("facts", "denoiser", "decoder")
        }
        self.edges_s = np.array(self.info["edges_s"])  # (513,) of the bins, s after time zero

    def draw(self, people: Sequence[Mapping[str, Any]], n: int, seed: int) -> Floats:
        """Signals (people x n, 512), L/s: mean flow between `edges_s`, the n curves of a person side by side.

        A person has age (years), height (cm) and sex (1 male, 2 female); grade (A to D), test_type (Pre or Bron),
        best (True or False), weight (kg), ethnicity (1 to 5, RIDRETH1) and cycle (E, F, G) where they are known.

        Raises ValueError where a person is beyond the trained ages and heights, or a category is not known.
        """
        known, features = self.conditions(people), surface_features(people)
        known, features = np.repeat(known, n, axis=0), np.repeat(features, n, axis=0)
        firsts = range(0, len(known), BATCH)
        parts = [self._some(known[i : i + BATCH], features[i : i + BATCH], seed, i) for i in firsts]
        return np.concatenate(parts)

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

    def _some(self, known: Floats, features: Floats, seed: int, first: int) -> Floats:
        """Signals of the draws first ... first + B, given conditions (B, 6) and surface features (B, 12)."""
        facts = {name: np.array(value, np.float32) for name, value in self.info["facts"]["scales"].items()}
        drawn = self._diffuse("facts", self._alone(known), seed, first)[:, 0]  # (B, 11): facts and grade
        left = drawn[:, : len(self.info["facts"]["names"])]  # what the mean surface leaves
        logs = features @ facts["coefficients"] + left * facts["residual_sd"]
        known = np.concatenate([self._graded(known, drawn), (logs - facts["centre"]) / facts["spread"]], axis=1)
        latents = self._diffuse("denoiser", known, seed, first)
        (signals,) = self.networks["decoder"].run(None, {"latents": latents, "facts": logs})
        return signals

    def _alone(self, known: Floats) -> Floats:
        """Conditions (B, 1, k) of efforts of which each is a set of one: no place, no best values, and there."""
        unknown = np.full((len(known), 1 + len(self.info["facts"]["known_best"])), np.nan, np.float32)
        return np.concatenate([known, unknown, np.ones((len(known), 1), np.float32)], axis=1)[:, None]

    def _graded(self, known: Floats, drawn: Floats) -> Floats:
        """The conditions (B, c) with the grades drawn where they say none."""
        names = [c["name"] for c in (*self.info["numbers"], *self.info["categories"])]
        place, bits = names.index("grade"), np.array(self.info["facts"]["grades"], np.float32)
        grade = (np.where(drawn[:, None, -2:] > 0, 1, -1) == bits).all(axis=2).argmax(axis=1)
        known = known.copy()
        known[:, place] = np.where(np.isnan(known[:, place]), grade, known[:, place])
        return known

    def _diffuse(self, name: str, known: Floats, seed: int, first: int) -> Floats:
        """DPM-Solver++(2M) from noise to a clean sample (B, tokens, channels)."""
        how = self.info[name]
        sigmas = karras_sigmas(how["steps"], *how["noise"])
        x = noise(tuple(how["shape"]), len(known), seed, first, how["stream"], self.info["noise_block"]) * sigmas[0]
        last: Floats | None = None
        for i, (now, following) in enumerate(itertools.pairwise(sigmas)):
            inputs = {"noisy": x, "sigma": np.full(len(x), now), "conditions": known}
            (clean,) = self.networks[name].run(None, inputs)
            if following == 0:
                return clean
            step = np.log(now / following)
            blend = clean if last is None else clean + (clean - last) * step / (2 * np.log(sigmas[i - 1] / now))
            x, last = (following / now) * x - np.expm1(-step) * blend, clean
        return x


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("curves.npz"), help="time_s, flow_l_s, volume_l")
    options = parser.parse_args()
    person = {"age": options.age, "height": options.height, "sex": SEXES[options.sex]}
    sampler = Sampler(options.folder)
    for warning in sampler.info["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    try:  # the best acceptable effort before the bronchodilator, as `spiro generate` draws it
        signals = sampler.draw([person | {"grade": "A", "test_type": "Pre", "best": True}], options.n, options.seed)
    except ValueError as error:
        parser.error(str(error))
    fine = to_10ms(signals, sampler.edges_s)
    np.savez_compressed(options.out, **fine)  # type: ignore[arg-type]
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
