"""Training and drawing on several GPUs of one host, by the ways there are: who is fastest, on the same machine.

    python -m benchmarks.several_gpus --out several_gpus.json      # all the GPUs there are; at most 190 s
    python -m benchmarks.several_gpus --tiny --out tiny.json       # two CPU processes, tiny networks: does it run?

Ways of one training step of the networks of presets/full.yaml, on random data of the right shapes:

- `launched`: forward, backward, gradients summed in one message, each kernel launched alone (until now, with several);
- `captured`: the same as a CUDA graph, the message within (ours; until now with one process only);
- `DDP`: `DistributedDataParallel`, each kernel launched alone;
- `DDP graphed`: the same around `torch.cuda.make_graphed_callables`, the optimiser launched alone;
- `DDP captured`: the whole step with DistributedDataParallel as a CUDA graph;
- `DDP compiled`: DistributedDataParallel around `torch.compile`.

Each number of processes is a torchrun of its own. A way that raises is told in a line, one that hangs ends with its
torchrun's share of the time; what was measured until then is kept. Medians of five epochs of 24 steps; *loss* is that
of the last epoch, which all ways and all numbers of processes share but for rounding.
"""

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks import roofline
from benchmarks.models import LONG, ROOT, Bench, machine, made_people
from spiro_diffusion.compute import distributed, membership
from spiro_diffusion.compute.graphs import Graph
from spiro_diffusion.compute.runtime import Runtime, RuntimeParams, configure
from spiro_diffusion.core import artifacts
from spiro_diffusion.generation.generator import BATCH
from spiro_diffusion.training import loop as training

OURS = ("captured", "launched")
DDP = ("DDP", "DDP graphed", "DDP captured")
COMPILED = "DDP compiled"
WARM_UP = 12  # steps that DistributedDataParallel wants before a capture (PyTorch's notes on CUDA graphs)
PARTS = ("VQ-VAE", "U-Net")


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is measured."""

    batches: tuple[int, ...]  # global
    steps: int  # of an epoch
    runs: int
    drawn: int  # batches of draws
    draws: int  # of each


FULL = Size((512, 1024, 2048), 24, 5, 4, BATCH["cuda"])
TINY = Size((16, 32), 2, 2, 4, 256)


class Whole(nn.Module):
    """A task's loss as a module, the form that PyTorch's tools take."""

    def __init__(self, task: training.Task) -> None:
        super().__init__()
        self.model, self.task = task.model, task

    def forward(self, rows: Tensor, *draws: Tensor) -> Tensor:
        return self.task.loss(rows, draws)["loss"]


class ByTools(training._Loop):
    """The engine whose step is shared out by DistributedDataParallel instead of by `distributed`."""

    def __init__(self, inner: training._Loop, way: str) -> None:
        # as kept tools need them: gradients are theirs to place
        super().__init__(inner.task, inner.recipe, inner.rows, dataclasses.replace(inner.runtime, graphs=False))
        self.way = way
        self.net: nn.Module | None = None
        self.device = self.runtime.device

    def prepare(self, rows: Tensor, draws: tuple[Tensor, ...]) -> None:
        """Build what the way needs, for arguments of these shapes."""
        whole: Any = Whole(self.task)
        if self.way == "DDP graphed":
            half = self.runtime.dtype != torch.float32
            with torch.autocast(self.device.type, self.runtime.dtype, enabled=half, cache_enabled=False):
                whole = torch.cuda.make_graphed_callables(whole, (rows, *draws), num_warmup_iters=WARM_UP)
        if self.way == COMPILED:
            whole = torch.compile(whole, dynamic=False)
        options: dict[str, Any] = {"broadcast_buffers": False, "gradient_as_bucket_view": True}
        if self.device.type != "cuda":
            self.net = DistributedDataParallel(whole, **options)
            return
        side = torch.cuda.Stream()  # not the default one, whose work cannot be captured
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.net = DistributedDataParallel(whole, device_ids=[self.device.index or 0], **options)
        torch.cuda.current_stream().wait_stream(side)
        if self.way == "DDP captured":
            self.graph = Graph(self._compute, warm_up=WARM_UP)

    def _step(self, rows: Tensor, draws: tuple[Tensor, ...]) -> dict[str, Tensor]:
        if self.net is None:
            self.prepare(rows, draws)
        return super()._step(rows, draws)

    def _compute(self, rows: Tensor, *draws: Tensor) -> dict[str, Tensor]:
        assert self.net is not None
        self.optimizer.zero_grad(set_to_none=True)
        with self.runtime.autocast():
            loss = self.net(rows, *draws)
        loss.backward()  # summed and divided by the number of processes
        nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        return {"loss": loss.detach() / distributed.world()}


class Measuring:
    """The worker: one of the processes that measure together; the first writes a line a figure."""

    def __init__(self, compute: Runtime, size: Size, preset: Path | None, out: Path) -> None:
        self.runtime, self.size, self.out = compute, size, out
        self.bench = Bench(compute, max(size.batches) * size.steps, size.runs, preset)

    def note(self, **row: Any) -> None:
        if distributed.rank():
            return
        row["processes"] = distributed.world()
        with self.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        result = f"{row['curves_per_s']:>10,.0f} curves/s" if "curves_per_s" in row else row["error"]
        print(
            f"{row['processes']} | {row['part']:>7} | {row['batch']:>5} | {row['way']:<13} | {result}",
            file=sys.stderr,
            flush=True,
        )

    def recorded(self, about: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
        """Write a figure, or in a line why there is none."""
        try:
            found = measure()
        except Exception as error:  # the others go on
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        self.note(**about, **found)
        gc.collect()
        if self.runtime.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.empty_cache()

    def trained(self, part: str, way: str, batch: int) -> None:
        """One figure of training."""
        self.recorded({"part": part, "way": way, "batch": batch}, lambda: self._trained(part, way, batch))

    def _trained(self, part: str, way: str, batch: int) -> dict[str, Any]:
        began, bench, curves = time.perf_counter(), self.bench, batch * self.size.steps
        bench.runtime = dataclasses.replace(self.runtime, graphs=self.runtime.graphs and way == "captured")
        torch.manual_seed(0)
        loop = bench.loop(part, batch, curves)
        if way not in OURS:
            loop = ByTools(loop, way)
        losses: list[float] = []
        epochs = iter(range(bench.vqvae_params.warmup_epochs, LONG))  # from the first one with the quantiser
        try:
            with loop.runtime.applied():  # the first epoch, with what is captured and compiled, does not count
                seconds = roofline.times(
                    lambda: losses.append(loop.epoch(next(epochs))["loss"]), self.runtime.device, self.size.runs
                )
            if loop.graph is not None and not loop.graph.possible:
                raise RuntimeError("could not be captured, see above")
        finally:
            if loop.graph is not None:
                loop.graph.forget()
        whole = time.perf_counter() - began
        rate = curves / statistics.median(seconds)
        return {"curves_per_s": rate, "seconds": seconds, "loss": losses[-1], "with_start_s": whole}

    def drawn(self) -> None:
        """Finished curves/s."""
        self.bench.runtime = self.runtime
        generator, n = self.bench.generator, self.size.draws * self.size.drawn
        if distributed.rank():
            generator.help()
            return
        people = made_people(n)

        def measure() -> dict[str, Any]:
            def draw() -> None:
                generator.sample(people, 1, 0, batch=self.size.draws, progress=False)

            seconds = roofline.times(draw, self.runtime.device, self.size.runs)
            return {"curves_per_s": n / statistics.median(seconds), "seconds": seconds}

        self.recorded({"part": "draw", "way": "drawing", "batch": self.size.draws}, measure)
        distributed.dismiss()

    def all(self, ways: list[str]) -> None:
        for way in [way for way in OURS if way in ways]:
            for part in PARTS:
                for batch in self.size.batches:
                    self.trained(part, way, batch)
        if "drawing" in ways:
            self.drawn()
        if not dist.is_initialized():  # alone: DistributedDataParallel wants a group; ours are measured without
            backend = "nccl" if self.runtime.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
        for way in [way for way in DDP if way in ways]:
            for part in PARTS:
                for batch in self.size.batches:
                    self.trained(part, way, batch)
        if COMPILED in ways:
            # the same curves a process first: what was compiled for the other number of processes is kept on the disk
            batches = sorted(self.size.batches, reverse=distributed.world() > 1)
            for batch in batches:
                for part in PARTS:
                    self.trained(part, COMPILED, batch)


def worker(options: argparse.Namespace) -> None:
    compute = configure(RuntimeParams(device="cpu" if options.tiny else "auto", threads=1 if options.tiny else 2))
    compute = dataclasses.replace(compute, device=distributed.start(compute.device, patience_s=60.0))
    if compute.device.type == "cuda" and compute.device.index is None:
        compute = dataclasses.replace(compute, device=torch.device("cuda", 0))
    preset = None if compute.device.type == "cpu" else ROOT / "presets/full.yaml"
    Measuring(compute, TINY if options.tiny else FULL, preset, options.out).all(options.ways)
    membership.leave(status=0)  # at once: NCCL's communicator would wait for a graph that someone still holds


def launched(options: argparse.Namespace, processes: int, ways: list[str], lines: Path, seconds: float) -> str:
    """One torchrun; what went wrong, if anything."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = ["-m", "benchmarks.several_gpus", "--worker", "--out", str(lines), "--ways", *ways]
    command = [sys.executable, *torchrun, *arguments, *(["--tiny"] if options.tiny else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_FX_GRAPH_CACHE": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        status = process.wait(max(seconds, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)  # torchrun ends its processes, each in the same session
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        return f"stopped after {seconds:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whoever is left of the session that was started here
    return "" if status == 0 else f"exit status {status}"


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each part, way and number of processes; ratios to the same way alone at the smallest batch."""
    batches = sorted({row["batch"] for row in rows if row["part"] != "draw"})
    small = batches[0] if batches else 0
    rates = {(r["part"], r["way"], r["processes"], r["batch"]): r for r in rows}
    lines = ["| part | way | processes | batch | curves/s | over one process at the smallest batch | loss |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for (part, way, processes, batch), row in sorted(rates.items(), key=lambda item: (item[0][0], item[0][1])):
        alone = rates.get((part, way, 1, batch if part == "draw" else small), {}).get("curves_per_s")
        result = f"{row['curves_per_s']:,.0f}" if "curves_per_s" in row else row["error"]
        ratio = f"{row['curves_per_s'] / alone:.2f}" if alone and "curves_per_s" in row else ""
        loss = f"{row['loss']:.5g}" if "loss" in row else ""
        lines.append(f"| {part} | {way} | {processes} | {batch} | {result} | {ratio} | {loss} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*OURS, "drawing", *DDP, COMPILED]
    parser.add_argument("--out", type=Path, default=Path(".scratch/several_gpus.json"))
    parser.add_argument("--ways", nargs="+", default=every, choices=every)
    parser.add_argument("--processes", type=int, nargs="+", help="1 and every power of two of GPUs there are")
    parser.add_argument("--limit", type=float, default=190, help="s, of the whole")
    parser.add_argument("--tiny", action="store_true", help="two CPU processes and tiny networks")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)  # one of torchrun's
    options = parser.parse_args()
    if options.worker:
        worker(options)
        return
    began = time.monotonic()
    gpus = 2 if options.tiny else torch.cuda.device_count()
    counts = options.processes or [n for n in (1, 2, 4, 8) if n <= gpus]
    compute = configure(RuntimeParams(device="cpu" if options.tiny else "auto"))
    about = machine(compute) | {"gpus": gpus}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    quick = [way for way in options.ways if way != COMPILED]
    jobs = [(n, quick) for n in counts if quick]
    jobs += [(n, [COMPILED]) for n in counts if COMPILED in options.ways]  # last: what takes long
    troubles = {}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "lines.jsonl")
        lines.touch()
        for n, ways in jobs:
            left = options.limit - (time.monotonic() - began)
            name = f"{n} processes, {', '.join(ways)}"
            if left < 20:
                troubles[name] = "not begun: out of time"
                continue
            trouble = launched(options, n, ways, lines, left - 4)
            if trouble:
                troubles[name] = trouble
            rows = [json.loads(line) for line in lines.read_text().splitlines()]
            artifacts.write_json(options.out, {"machine": about, "rows": rows, "troubles": troubles})
    artifacts.write_json(options.out, {"machine": about, "rows": rows, "troubles": troubles})
    print(f"{about['device']} x {gpus}, PyTorch {about['torch']}, commit {about['commit']}\n\n{table(rows)}\n")
    for name, trouble in troubles.items():
        print(f"{name}: {trouble}")
    print(f"{time.monotonic() - began:.0f} s; {options.out}")


if __name__ == "__main__":
    main()
