"""Seconds of an epoch of the default VQ-VAE, by how OpenMP's threads wait, alone and beside busy processes.

    PYTHONPATH=. python benchmarks/waits.py            # prints a table; run it while the machine does nothing else

An epoch is 41 steps of 64 curves in the portable mode, on two threads. Of some epochs each, in alternation: the least
seconds, the least of a step, and the load that the machine had by itself before (`uptime`).
"""

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from spiro_diffusion.core import portable

WAYS = {"passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "not set": {}, "active": {"OMP_WAIT_POLICY": "ACTIVE"}}
LIMIT_S = 120  # of an epoch with the start of Python; one that takes longer says so
EPOCH = """
import time, torch
from spiro_diffusion.compute import portable_products
from spiro_diffusion.models.vqvae import VQVAE, VQVAEConfig
portable_products.settle()
torch.set_num_threads(2)
torch.manual_seed(0)
model = VQVAE(VQVAEConfig())
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
flow = 4 * torch.rand(64, 512)
seconds = []
for _ in range(44):
    began = time.monotonic()
    decoded, _ = model(flow)
    optimiser.zero_grad()
    (decoded.mean.square().mean() + decoded.going.mean()).backward()
    optimiser.step()
    seconds.append(time.monotonic() - began)
print(sum(seconds[3:]), min(seconds[3:]))
"""


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing without rest."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def epoch(way: dict[str, str]) -> tuple[float, float]:
    """Seconds of an epoch and of its fastest step; infinite where it took longer than LIMIT_S."""
    others = {key: value for key, value in os.environ.items() if key not in {*portable.CHOSEN, "OMP_NUM_THREADS"}}
    environment = others | portable.KERNELS | way
    try:
        output = subprocess.check_output([sys.executable, "-c", EPOCH], env=environment, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return float("inf"), float("inf")
    first, second = map(float, output.split())
    return first, second


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3, help="of each way")
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1], help="busy processes")
    options = parser.parse_args()
    print("| busy processes beside it | threads wait | epoch, s | step, s | load |\n| --- | --- | ---: | ---: | ---: |")
    for beside in options.beside:
        load = os.getloadavg()[0]
        with busy(beside):
            turns = [{name: epoch(way) for name, way in WAYS.items()} for _ in range(options.epochs)]
        for name in WAYS:
            whole, step = (min(turn[name][i] for turn in turns) for i in (0, 1))
            print(f"| {beside} | {name} | {whole:.1f} | {step:.3f} | {load:.1f} |", flush=True)


if __name__ == "__main__":
    main()
