"""Feed edited files to every reader: `make fuzz`, or one of them again and longer:

    python benchmarks/fuzz_readers.py                                # 5,000 files for each reader
    python benchmarks/fuzz_readers.py --examples 50000 --only csv
    python benchmarks/fuzz_readers.py --seed 7

Hypothesis edits the files (tests/fuzzing.py), shrinks what fails, prints it, and keeps it in benchmarks/fuzz_examples,
from where each later run tries it first. A file fails where a reader raises anything but a SpiroError of one short
line, warns, gives values that differ from the unhurt file's outside of the edited bytes, takes longer than LIMIT_S,
ends the process, or takes more than MOST_MB beyond what the program has when it starts. Each reader runs in a process
of its own. Ends with status 1 where one failed.
"""

import argparse
import faulthandler
import functools
import resource
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LIMIT_S = 10.0
MOST_MB = 1024
SEED = 20050826
EXAMPLES = ROOT / "benchmarks" / "fuzz_examples"
Judge = Callable[[Any], str]  # of a fuzzing.Edited


def readers(folder: Path) -> dict[str, tuple[bytes, Judge]]:
    """A sound file and a judge of its edited bytes, of every reader."""
    import corruption  # noqa: PLC0415
    import fuzzing  # noqa: PLC0415
    import held_files  # noqa: PLC0415
    import mutation  # noqa: PLC0415

    from spiro_diffusion.formats.sas7bdat_layout import Layout  # noqa: PLC0415

    found: dict[str, tuple[bytes, Judge]] = {}
    for name in (*held_files.FILES, "excel sheet"):
        found[name] = fuzzing.content(name)[0], functools.partial(fuzzing.judge, name)
    wide = corruption.sas7bdat_sample(40, 6, Layout(wide=True, little=False))
    for sample in (*corruption.samples(), wide):
        found[f"repair {sample.name}"] = sample.data, functools.partial(_repaired, sample, folder)
    for i, original in enumerate(mutation.samples(folder / "sound")):
        if original.reader != "curves":
            found[f"{original.reader} {i}"] = original.data, functools.partial(_mutated, original, folder)
    return found


def _mutated(original: Any, folder: Path, hurt: Any) -> str:
    import fuzzing  # noqa: PLC0415
    import mutation  # noqa: PLC0415

    outcome, read = mutation.judge(original, hurt.data, folder / "a"), mutation.READERS[original.reader]
    # A checkpoint has no checksum: a byte lost and one put in elsewhere shift the weights between (docs/reliability).
    if outcome == "read" and (original.reader == "people" or hurt.edits == 1):
        (folder / "unhurt").write_bytes(original.data)
        fuzzing.hold_numbers(read(folder / "a"), read(folder / "unhurt"), hurt)
    return outcome


def _repaired(sample: Any, folder: Path, hurt: Any) -> str:
    import corruption  # noqa: PLC0415
    import fuzzing  # noqa: PLC0415

    touched = sample.cells[~hurt.kept]
    verdict = corruption.judge(sample, hurt.data, folder, touched=set(touched[touched >= 0].tolist()))
    if verdict.outcome == corruption.FAILED:
        raise fuzzing.Failed(verdict.detail)
    return "refused" if verdict.outcome == corruption.REFUSED else "read"


def fuzz(name: str, examples: int, seed: int) -> None:
    """One reader, in this process."""
    import fuzzing  # noqa: PLC0415
    import hypothesis  # noqa: PLC0415
    from hypothesis.database import DirectoryBasedExampleDatabase  # noqa: PLC0415

    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        sound, judge = readers(Path(folder))[name]
        judge(fuzzing.edited(sound, []))  # what readers load once is the program's own
        warnings.simplefilter("error")  # they would be lines on the screen
        with Path("/proc/self/status").open() as status:
            used = next(int(line.split()[1]) for line in status if line.startswith("VmData")) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (used + (MOST_MB << 20), resource.RLIM_INFINITY))

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=DirectoryBasedExampleDatabase(EXAMPLES / name),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(fuzzing.EDITS)
        def test(edits: list) -> None:
            faulthandler.dump_traceback_later(LIMIT_S, exit=True)
            outcomes[judge(fuzzing.edited(sound, edits))] += 1
            faulthandler.cancel_dump_traceback_later()

        test()
    print(f"{name}: {outcomes.total():,} files, {outcomes['read']:,} read rightly, {outcomes['refused']:,} refused")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", help="a reader's name, as printed")
    arguments = parser.parse_args()
    if arguments.only:
        fuzz(arguments.only, arguments.examples, arguments.seed)
        sys.exit()
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        names = list(readers(Path(temporary)))
    for name in names:
        words = ["--only", name, "--examples", str(arguments.examples), "--seed", str(arguments.seed)]
        if subprocess.run([sys.executable, __file__, *words], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
