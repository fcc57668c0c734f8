"""Same bytes on any x86-64 processor with AVX2: settings that must be made before NumPy and PyTorch load.

The libraries choose their kernels by the processor, and with them the order of sums. Each of these keeps one to what
all processors have, or to one thread; all are needed.

No setting keeps MKL, which computes PyTorch's functions of many numbers, from the instructions `rsqrtps` and `rcpps`,
whose approximations differ between Intel and AMD. It uses them for square roots, common logarithms and logarithms of
float64, which the stages therefore avoid (tests/test_portable.py).
"""

import os
import platform
import sys

from spiro_diffusion.core.errors import SpiroError, printable
from spiro_diffusion.core.params import read_params

KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions and, by compute.portable_products, most products
    "MKL_CBWR": "COMPATIBLE",  # the other products; AVX2 agrees among Intels, not with AMD
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's products
    "OPENBLAS_NUM_THREADS": "1",  # else one a core, and how its sums are split depends on how many there are
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",  # NumPy's exp, log, sin, ...
}
WAITS = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that spin make a busy machine 5 to 10 times slower
CHOSEN = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}  # one of these in the environment: the user chose
FAST = "SPIRO_FAST"  # set by `pipeline.fast`, which keeps DVC from storing what a fast run makes


def settle(name: str) -> None:
    """Start the stage `name` anew with these settings, where this process has others; before NumPy is imported.

    `runtime.portable: false` leaves the kernels to the libraries.

    Raises SpiroError where DVC would store what a fast run makes.
    """
    required = {} if CHOSEN & os.environ.keys() else dict(WAITS)
    if _is_portable() and platform.machine() in ("x86_64", "AMD64"):
        required |= KERNELS
        others = [f"{key}={os.environ[key]}" for key in KERNELS if os.environ.get(key, KERNELS[key]) != KERNELS[key]]
        if others:
            message = f"{name}: not used: {', '.join(others)}; a portable run sets its own"
            print(message, file=sys.stderr, flush=True)
    if any(os.environ.get(key) != value for key, value in required.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | required)


def holds() -> bool:
    """Whether this process has the settings."""
    return all(os.environ.get(key) == value for key, value in KERNELS.items())


def _is_portable() -> bool:
    if os.environ.get(FAST):
        return False
    portable = (read_params().get("runtime") or {}).get("portable", True)
    if not isinstance(portable, bool):
        raise SpiroError(f"params.yaml: runtime.portable is {printable(repr(portable))}; expected bool")
    if not portable and "DVC_STAGE" in os.environ:
        raise SpiroError(
            "params.yaml: runtime.portable is false, and DVC would store fast results as portable ones; "
            "run `make repro FAST=1`, or set it to true"
        )
    return portable
