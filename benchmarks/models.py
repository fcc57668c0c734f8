"""Speed of the models beside the loops that the project began with, and beside what the machine can give.

    python -m benchmarks.models                 # on the GPU if there is one: under four minutes on an H100
    python -m benchmarks.models --device cpu --curves 256 --runs 5 --growth 250 1000
    python -m benchmarks.models --profile       # also the kernels that take the time
    python -m benchmarks.models --show speed.json --into docs/scaling.md    # the tables of an earlier run

Checks first that every fast path agrees with the plain one (`benchmarks/agreement.py`), then times training, encode,
sampling and decode of the origin's recipe and of this project, in one run and on curves of one shape; weights are
untrained, which costs the same. Prints tables and writes JSON: medians of at least five runs, every run beside them.
A GPU gets the networks of presets/full.yaml, a CPU those of params.yaml, unless --preset says otherwise.
"""

import argparse
import dataclasses
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmarks import agreement, origin_loops, roofline, speed_tables
from benchmarks.roofline import Ceilings, Work
from benchmarks.speed_tables import DEFAULT, ORIGIN, OURS, OURS_FREE
from spiro_diffusion.compute.runtime import Runtime, RuntimeParams, configure
from spiro_diffusion.core import artifacts
from spiro_diffusion.core.batching import batches
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.params import read_params
from spiro_diffusion.evaluation.origin import CHANNELS, TOKENS, NoiseTask, PlainUNet, PlainVQVAE, Schedule
from spiro_diffusion.evaluation.origin import VQVAETask as PlainVQVAETask
from spiro_diffusion.generation.generator import BATCH, Generator
from spiro_diffusion.models import conditioning, effort_facts
from spiro_diffusion.models.latent_diffusion import CLDM
from spiro_diffusion.models.vqvae import VQVAE
from spiro_diffusion.physiology import time_grid
from spiro_diffusion.pipeline import run, train_cldm, train_vqvae
from spiro_diffusion.training import loop as training
from spiro_diffusion.training.autoencoding import VQVAETask
from spiro_diffusion.training.denoising import DenoisingTask, Examples

ROOT = Path(__file__).parents[1]
DDPM_STEPS = 1000
LONG = 1000  # epochs of a recipe that is never finished here
FREE_BATCH = {"cpu": 256, "cuda": 2048}
CURVES = {"cpu": 1024, "cuda": 16_384}
SAMPLED = {"cpu": 2 * BATCH["cpu"], "cuda": 2 * BATCH["cuda"]}  # draws: two full batches
DDPM_TIMED = {"cpu": (64, 5), "cuda": (origin_loops.SAMPLED, 100)}  # curves, and steps of the thousand
GROWTH = {"cpu": (1000, 4000, 16_000), "cuda": (1000, 4000, 16_000, 64_000)}


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: what was done, by whom, how often, and what it asks of the machine."""

    part: str
    who: str
    dtype: str
    batch: int
    curves: int  # a run
    seconds: list[float]  # of each run
    work: Work  # a curve

    @property
    def rate(self) -> float:
        """Curves/s, of the median run."""
        return self.curves / statistics.median(self.seconds)

    def as_json(self, machine: Ceilings) -> dict[str, Any]:
        """With the shares of the machine's limits."""
        flops, moved = self.work.flops * self.rate, self.work.bytes * self.rate
        return dataclasses.asdict(self) | {
            "work": self.work._asdict(),
            "curves_per_s": self.rate,
            "flops_per_s": flops,
            "bytes_per_s": moved,
            "flop_utilisation": flops / machine.flops,
            "share_of_limit": roofline.share(self.work, 1 / self.rate, machine),
        }


class Bench:
    """Curves, networks and the timing of each part."""

    def __init__(self, compute: Runtime, curves: int, runs: int, preset: Path | None) -> None:
        self.runtime, self.runs = compute, runs
        self.device, self.kind = compute.device, compute.device.type
        sections = run.merged(read_params(ROOT / "params.yaml"), run.settings(preset) if preset else [])
        self.vqvae_params = train_vqvae.Params(**sections["train_vqvae"])
        self.cldm_params = train_cldm.Params(**sections["train_cldm"])
        self.encode_batch = sections["encode"]["batch"]
        self.channels = self.vqvae_params.groups * self.vqvae_params.code_width
        self.schedule = Schedule.linear(DDPM_STEPS, self.device)
        self.flow = made_curves(curves)
        self.tokens = torch.randn(curves, TOKENS, CHANNELS)
        self.people = made_people(curves)
        torch.manual_seed(0)
        self.vqvae = VQVAE(self.vqvae_params.network).to(self.device).eval()
        self.cldm = CLDM(self.cldm_params.model(self.channels)).to(self.device).eval()
        self.plain_vqvae, self.plain_unet = PlainVQVAE().to(self.device), PlainUNet().to(self.device)
        self.generator = Generator(self.vqvae, self.cldm, {}, compute)

    def timed(self, function: Callable[[], Any]) -> list[float]:
        return roofline.times(function, self.device, self.runs)

    def row(
        self, part: str, who: str, dtype: torch.dtype, batch: int, curves: int, seconds: list[float], w: Work
    ) -> Row:
        found = Row(part, who, str(dtype).removeprefix("torch."), batch, curves, seconds, w)
        print(f"{part:>16} | {who:<30} | {found.rate:>10,.0f} curves/s", file=sys.stderr, flush=True)
        return found

    # training

    def loop(self, what: str, batch: int, curves: int | None = None) -> training._Loop:
        """The engine on one of the four networks; its epochs are what `training.fit` runs."""
        n = curves or len(self.flow)
        rows = torch.arange(n, device=self.device)
        if what in ("origin's VQ-VAE", "origin's U-Net"):
            recipe = training.Recipe(LONG, batch, origin_loops.RATE, 0.0, 0.01, 1e9, 0.0, LONG, 1)
        if what == "origin's VQ-VAE":
            task: training.Task = PlainVQVAETask(PlainVQVAE().to(self.device), self.flow.to(self.device), rows[:1])
            return training._Loop(task, recipe, rows, self.runtime.exact())
        if what == "origin's U-Net":
            conditions = conditions_of(self.people).to(self.device)
            task = NoiseTask(
                PlainUNet().to(self.device), self.tokens.to(self.device), conditions, rows[:1], self.schedule
            )
            return training._Loop(task, recipe, rows, self.runtime)
        if what == "VQ-VAE":
            flow = self.flow.to(self.device)
            params = dataclasses.replace(self.vqvae_params, epochs=LONG, batch=batch, validate_every=LONG)
            task = VQVAETask(VQVAE(params.network).to(self.device), flow, flow, rows, rows[:1], params.autoencoding)
            return training._Loop(task, params, rows, self.runtime.exact())
        denoiser = CLDM(self.cldm_params.model(self.channels)).denoiser.to(self.device)
        recipe = dataclasses.replace(self.cldm_params, epochs=LONG, batch=batch, validate_every=LONG)
        return training._Loop(unet_task(denoiser, self, n), recipe, rows, self.runtime)

    def trained(self, part: str, who: str, what: str, batch: int) -> Row:
        """Epochs of the engine."""
        loop = self.loop(what, batch)
        epochs = iter(range(self.vqvae_params.warmup_epochs, LONG))  # from the first one with the quantiser
        seconds = self.timed(lambda: loop.epoch(next(epochs)))
        draws = loop.task.draw(loop.batch, torch.Generator(self.device).manual_seed(0))
        work = roofline.work(lambda: loop._compute(loop.rows[: loop.batch], *draws))
        dtype = loop.runtime.dtype
        return self.row(part, who, dtype, loop.batch, loop.steps * loop.batch, seconds, a_curve(work, loop.batch))

    def trained_as_origin(self, part: str, trainer: origin_loops.Trainer) -> Row:
        """Epochs of the origin's loop."""
        seconds = self.timed(trainer.epoch)
        batch = origin_loops.BATCH
        one = [part.to(self.device) for part in next(iter(trainer.loader))]

        def step() -> None:
            trainer.optimizer.zero_grad()
            trainer.loss(*one).backward()
            trainer.optimizer.step()

        curves, work = len(trainer.loader) * batch, a_curve(roofline.work(step), batch)
        return self.row(part, ORIGIN, torch.float32, batch, curves, seconds, work)

    def training(self) -> Iterator[Row]:
        conditions, batch, free = conditions_of(self.people), origin_loops.BATCH, FREE_BATCH[self.kind]
        yield self.trained_as_origin("train VQ-VAE", origin_loops.vqvae(PlainVQVAE().to(self.device), self.flow))
        for who, size in ((OURS, batch), (OURS_FREE, free)):
            yield self.trained("train VQ-VAE", who, "origin's VQ-VAE", size)
        yield self.trained("train VQ-VAE", DEFAULT, "VQ-VAE", self.vqvae_params.batch)
        unet = PlainUNet().to(self.device)
        yield self.trained_as_origin("train U-Net", origin_loops.unet(unet, self.tokens, conditions, self.schedule))
        for who, size in ((OURS, batch), (OURS_FREE, free)):
            yield self.trained("train U-Net", who, "origin's U-Net", size)
        yield self.trained("train U-Net", DEFAULT, "U-Net", self.cldm_params.batch)

    # the trained models' work

    @torch.inference_mode()
    def encode(self, flow: Tensor) -> None:
        """As the stage does it, without the disk: tokens are seen and forgotten."""
        for part in batches(len(flow), self.encode_batch):
            self.vqvae.encode(flow[part].to(self.device)).cpu()

    def encoding(self) -> Iterator[Row]:
        n, batch, exact = len(self.flow), origin_loops.BATCH, torch.float32
        some = self.flow[: self.encode_batch].to(self.device)
        work = a_curve(roofline.work(no_grad(lambda: self.plain_vqvae.snap(self.plain_vqvae.encode(some)))), len(some))
        seconds = self.timed(lambda: origin_loops.encode(self.plain_vqvae, self.flow))
        yield self.row("encode", ORIGIN, exact, batch, n, seconds, work)
        work = a_curve(roofline.work(no_grad(lambda: self.vqvae.encode(some))), len(some))
        yield self.row("encode", DEFAULT, exact, self.encode_batch, n, self.timed(lambda: self.encode(self.flow)), work)

    def sampling(self) -> Iterator[Row]:
        n, steps = DDPM_TIMED[self.kind]
        conditions = conditions_of(made_people(n)).to(self.device)
        step = roofline.work(lambda: origin_loops.denoise(self.plain_unet, conditions, self.schedule, 1))
        parts = self.timed(lambda: origin_loops.denoise(self.plain_unet, conditions, self.schedule, steps))
        whole, share = [s * DDPM_STEPS / steps for s in parts], DDPM_STEPS / n
        work = Work(round(step.flops * share), round(step.bytes * share))
        yield self.row("sample", ORIGIN, torch.float32, n, n, whole, work)
        n = SAMPLED[self.kind]
        people = made_people(n)
        seconds = self.timed(lambda: self.generator.sample(people, 1, 0, progress=False))
        work = a_curve(roofline.work(self.one_batch(64)), 64)
        yield self.row("sample", DEFAULT, self.runtime.dtype, BATCH[self.kind], n, seconds, work)

    def one_batch(self, n: int) -> Callable[[], Any]:
        """Finishing n curves without a graph."""
        defaults = self.cldm.config.sampling
        finish = self.generator._finisher(defaults.sampler, defaults.steps, 1.0)
        shapes = (
            (len(conditioning.NAMES),),
            (len(self.cldm.facts.coefficients),),
            (1, effort_facts.CHANNELS),
            (TOKENS, self.channels),
        )
        arguments = [torch.zeros(n, *shape, device=self.device) for shape in shapes]
        return no_grad(lambda: finish(*arguments))

    def decoding(self) -> Iterator[Row]:
        n, exact = len(self.tokens), torch.float32
        tokens = self.tokens.to(self.device)
        some = tokens[:256]
        work = a_curve(roofline.work(no_grad(lambda: self.plain_vqvae.decode(self.plain_vqvae.snap(some)))), len(some))
        seconds = self.timed(lambda: origin_loops.decode(self.plain_vqvae, tokens))
        yield self.row("decode", ORIGIN, exact, origin_loops.SAMPLED, n, seconds, work)
        narrower = self.vqvae.narrower().detach()
        size = BATCH[self.kind]

        @torch.no_grad()
        def ours(part: Tensor) -> Tensor:
            return self.vqvae.decode(self.vqvae.snap(part, narrower)).flow

        work = a_curve(roofline.work(lambda: ours(some)), len(some))
        seconds = self.timed(lambda: [ours(part).cpu() for part in tokens.split(size)])
        yield self.row("decode", DEFAULT, exact, size, n, seconds, work)

    # growth

    def growing(self, sizes: list[int]) -> dict[str, Any]:
        """Time and peak memory of each part for so many curves, and the exponents of a power of the number."""
        parts: dict[str, Callable[[int], Callable[[], Any]]] = {
            "encode": lambda n: partial(self.encode, made_curves(n)),
            "train U-Net, an epoch": self.epoch_of,
            "sample": lambda n: partial(self.generator.sample, made_people(n), 1, 0, progress=False),
        }
        found = {}
        for part, prepare in parts.items():
            points: list[dict[str, Any]] = []
            for n in sizes:
                function = prepare(n)
                if self.kind == "cuda" or not points:
                    function()  # graphs are captured, libraries warm
                reset_peak(self.device)
                start = time.perf_counter()
                function()
                roofline.synchronise(self.device)
                first = time.perf_counter() - start
                peak = peak_bytes(self.device)
                more = roofline.times(function, self.device, self.runs - 1) if first < 4 else []
                points.append({"curves": n, "seconds": [first, *more], "peak_bytes": peak})
                print(f"growth {part}: {n} curves, {first:.2f} s, {peak / 1e6:.0f} MB", file=sys.stderr, flush=True)
                if first > 30:
                    break  # the next one is four times as long
            found[part] = {"points": points, **exponents(points)}
        return found

    def epoch_of(self, n: int) -> Callable[[], Any]:
        loop = self.loop("U-Net", self.cldm_params.batch, n)
        epochs = iter(range(LONG))
        return lambda: loop.epoch(next(epochs))


def unet_task(denoiser: Any, bench: Bench, n: int) -> DenoisingTask:
    """The U-Net's task on n made-up latents."""
    device, params = bench.device, bench.cldm_params
    generator = torch.Generator(device).manual_seed(0)
    clean = torch.randn((n, TOKENS, bench.channels), generator=generator, device=device)
    conditions = torch.zeros((n, len(conditioning.NAMES) + len(effort_facts.NAMES)), device=device)
    change = params.augmentation(len(effort_facts.NAMES)).to(device)
    examples = Examples(clean, conditions, torch.arange(1, device=device), torch.ones(1, device=device))
    return DenoisingTask(denoiser, examples, params.model(bench.channels).noise, change, 1)


def made_curves(n: int) -> Tensor:
    """Exponential efforts (n, 512), L/s."""
    rng = np.random.default_rng(0)
    time_s = time_grid.EDGES_S[:-1].astype(np.float32)
    peak, tau = (rng.uniform(low, high, (n, 1)).astype(np.float32) for low, high in ((3, 9), (0.3, 0.9)))
    return torch.from_numpy(np.where((time_s >= 0) & (time_s < 6), peak * np.exp(-np.maximum(time_s, 0) / tau), 0))


def made_people(n: int) -> pd.DataFrame:
    """People of all ages, asked for a best effort."""
    rng = np.random.default_rng(0)
    numbers = {"age": rng.uniform(6, 79, n), "height": rng.uniform(120, 190, n), "sex": rng.integers(1, 3, n)}
    return pd.DataFrame(numbers | {"grade": "A", "test_type": "Pre", "best": True})


def conditions_of(people: pd.DataFrame) -> Tensor:
    """The conditions of the origin's U-Net, (n, 3)."""
    return torch.from_numpy(conditioning.encode(people)[:, :3])


def a_curve(work: Work, curves: int) -> Work:
    """The work of `curves` curves as that of one."""
    return Work(work.flops // curves, work.bytes // curves)


def no_grad(function: Callable[[], Any]) -> Callable[[], Any]:
    """`function` without gradients."""
    return torch.no_grad()(function)


def reset_peak(device: torch.device) -> None:
    """Begin to look for the largest use of memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM begins anew


def peak_bytes(device: torch.device) -> int:
    """Largest use of memory since `reset_peak`: of the GPU, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def exponents(points: list[dict[str, Any]]) -> dict[str, float]:
    """Slopes of log time and log memory over log curves."""
    if len(points) < 2:
        return {}
    n = np.log([p["curves"] for p in points])
    return {
        "time_exponent": float(np.polyfit(n, np.log([statistics.median(p["seconds"]) for p in points]), 1)[0]),
        "memory_exponent": float(np.polyfit(n, np.log([p["peak_bytes"] for p in points]), 1)[0]),
    }


def machine(compute: Runtime) -> dict[str, Any]:
    """Where this runs."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "device": torch.cuda.get_device_name(compute.device) if compute.device.type == "cuda" else "CPU",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),  # others' work on the same cores
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": git.stdout.strip(),
        "graphs": compute.graphs,
    }


def profile(bench: Bench) -> dict[str, list[dict[str, Any]]]:
    """The kernels that take most of a U-Net training step and of finishing a batch of curves."""
    loop = bench.loop("U-Net", bench.cldm_params.batch)
    draws = loop.task.draw(loop.batch, torch.Generator(bench.device).manual_seed(0))
    jobs = {
        "train U-Net, a step": lambda: loop._compute(loop.rows[: loop.batch], *draws),
        "sample, a batch": bench.one_batch(BATCH[bench.kind]),
    }
    gpu = bench.kind == "cuda"
    activity = torch.profiler.ProfilerActivity
    found = {}
    for name, job in jobs.items():
        job()
        with torch.profiler.profile(activities=[activity.CUDA if gpu else activity.CPU]) as seen:
            job()
            roofline.synchronise(bench.device)
        events = [
            (e.self_device_time_total if gpu else e.self_cpu_time_total, e.count, e.key) for e in seen.key_averages()
        ]
        events.sort(reverse=True)
        total = sum(t for t, _, _ in events)
        found[name] = [{"kernel": k[:100], "calls": n, "us": t, "share": t / total} for t, n, k in events[:20]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--graphs", choices=("auto", "off"), default="auto")
    parser.add_argument("--preset", type=Path, help="whose networks; presets/full.yaml on a GPU")
    parser.add_argument("--curves", type=int, help="of an epoch, and to encode and decode")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--growth", type=int, nargs="*", help="numbers of curves; none leaves growth out")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(".scratch/speed.json"))
    parser.add_argument("--show", type=Path, metavar="JSON", help="run nothing: the tables of an earlier run")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="with --show: put them into a page that has marks")
    options = parser.parse_args()
    if options.show:
        speeds = artifacts.read_json(options.show)
        if options.into is None:
            print(speed_tables.tables(speeds))
        else:
            speed_tables.insert(options.into, speeds)
        return
    began = time.monotonic()
    try:
        compute = configure(RuntimeParams(device=options.device, threads=options.threads, graphs=options.graphs))
    except SpiroError as error:
        sys.exit(f"benchmarks.models: {error}")
    kind = compute.device.type
    preset = options.preset or (ROOT / "presets/full.yaml" if kind == "cuda" else None)
    result: dict[str, Any] = {"machine": machine(compute), "preset": preset.name if preset else "params.yaml"}
    result["agreement"] = agreement.checks(compute)
    types = {str(t).removeprefix("torch."): t for t in (compute.dtype, torch.float32)}
    with compute.applied():
        limits = {name: roofline.ceilings(compute.device, dtype, options.runs) for name, dtype in types.items()}
    result["ceilings"] = {name: limit._asdict() for name, limit in limits.items()}
    with compute.applied():
        bench = Bench(compute, options.curves or CURVES[kind], options.runs, preset)
        rows = [row for part in (bench.training, bench.encoding, bench.sampling, bench.decoding) for row in part()]
        result["rows"] = [row.as_json(limits[row.dtype]) for row in rows]
        result["ratios"] = speed_tables.ratios(result["rows"])
        result["targets"] = speed_tables.targets(kind, result["rows"], result["ratios"])
        result["growth"] = bench.growing(list(GROWTH[kind] if options.growth is None else options.growth))
        if options.profile:
            result["profile"] = profile(bench)
    result["seconds"] = time.monotonic() - began
    artifacts.write_json(options.out, result)
    print(speed_tables.tables(result))
    print(f"\n{result['seconds']:.0f} s; {options.out}")
    if any(a["difference"] > a["allowed"] for a in result["agreement"]):
        sys.exit("a fast path does not agree with the plain one")


if __name__ == "__main__":
    main()
