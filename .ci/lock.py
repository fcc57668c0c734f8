"""Write requirements.lock again, with the SHA-256 of every file of each release: all platforms, all Pythons.

    pip install uv                            # in an environment of its own; nothing else needs it
    python .ci/lock.py                        # the pins as they are
    python .ci/lock.py moto==5.1.0 boto3-     # a pin added or changed; one taken out

torch stands in requirements-torch.lock, pinned without hashes: its files differ by index (CPU, CUDA), and the CUDA
ones bring packages of their own. Dependencies are not resolved here: pin all of them, as `pip freeze` lists them.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK, TORCH = ROOT / "requirements.lock", ROOT / "requirements-torch.lock"
APART = "torch"
HEAD = {
    LOCK: "# Exact versions and hashes of what make repro, make test and CI install. Written by .ci/lock.py.\n",
    TORCH: "# Installed after requirements.lock. On Linux without CUDA, pip takes what the index offers.\n",
}
UV = ["uv", "pip", "compile", "--no-deps", "--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"]
UV += ["--no-emit-index-url", "--no-annotate", "--no-header"]


def pins(text: str) -> dict[str, str]:
    """Version of each package (its name normalised) in a requirements file; ValueError at a line that pins none."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", words[0])
        if pin is None:
            raise ValueError(f"{line.strip()!r} pins no version")
        found[normal(pin[1])] = pin[2]
    return found


def normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def changed(pinned: dict[str, str], changes: list[str]) -> dict[str, str]:
    """Pins with `NAME==VERSION` put in and `NAME-` taken out; ValueError where a change is neither."""
    result = dict(pinned)
    for change in changes:
        if change.endswith("-"):
            del result[normal(change[:-1])]
        else:
            result |= pins(change)
    return dict(sorted(result.items()))


def main(changes: list[str]) -> None:
    """Both files."""
    pinned = pins(LOCK.read_text()) | (pins(TORCH.read_text()) if TORCH.is_file() else {})
    wanted = changed(pinned, changes)
    TORCH.write_text(f"{HEAD[TORCH]}{APART}=={wanted.pop(APART)}\n")
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "pins.in", Path(folder) / "pins.lock"
        source.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        subprocess.run([*UV, "--output-file", out, source], check=True)
        hashed = out.read_text()
    if pins(hashed) != wanted:
        sys.exit(f"lock: uv pinned otherwise: {sorted(pins(hashed).items() ^ wanted.items())}")
    LOCK.write_text(HEAD[LOCK] + hashed)


if __name__ == "__main__":
    main(sys.argv[1:])
