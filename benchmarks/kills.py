"""SIGKILL the stages of `dvc repro` at random moments, and see that nothing is lost and the bytes are the same.

    python benchmarks/kills.py --kills 40 --seed 0 --folder /tmp/kills      # as often as you like; other seeds
    python benchmarks/kills.py --folder /tmp/kills --table                  # what all of them gave

The folder holds a small copy of the repository (tests/repository.py) in which the pipeline has run once, unbroken.
For each kill one stage is taken out of dvc.lock, as before its first run, started and killed:

- `stage`: the process of the stage, as a lack of memory does;
- `all`: DVC and the stage, as a scheduler does; nothing is left running;
- `dvc`: DVC alone, while the stage is held; then a second `dvc repro` has to be refused, or to do the work where the
  stage had not begun, but was loading its modules. Then the stage goes on to its end.

Half of the moments are uniform over the stage's time, half are aimed at a change in the folders that it writes to.
At the moment of the kill no file may lie half-written under its final name; training logs, which grow while a
training goes on, are told apart. Then `dvc repro` without the run cache has to end with the hashes of the unbroken
run in dvc.lock, run no stage but the killed one, and leave no temporary file. Ends with status 1 where one did not.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import killing
import psutil
from killing import Stage
from repository import Repository

MODES = {"stage": 0.45, "all": 0.4, "dvc": 0.15}
MOST_WRITES = 64  # of which a kill awaits one at most, small numbers more often: most stages write little


def prepared(folder: Path) -> Repository:
    """The repository after an unbroken run; made where the folder does not hold one."""
    if (folder / "repository" / "dvc.lock").is_file():
        return Repository.at(folder / "repository")
    folder.mkdir(parents=True, exist_ok=True)
    repository = Repository(folder / "repository")
    repository("dvc", "repro")
    repository("dvc", "repro", "baselines/dvc.yaml")
    repository.commit("run")
    return repository


def timed(repository: Repository, stage: Stage) -> float:
    """Seconds that the stage's process takes."""
    killing.forget(repository, stage)
    command = repro("--single-item", stage.address)
    with tempfile.TemporaryDirectory() as logs, killing.started(repository, command, Path(logs) / "log") as dvc:
        process = killing.stage_process(dvc, stage)
        assert process is not None
        began = time.monotonic()
        while killing.alive(process):
            time.sleep(killing.POLL_S)
        seconds = time.monotonic() - began
        assert dvc.wait() == 0, (Path(logs) / "log").read_text()
    return seconds


def repro(*arguments: str) -> list[str]:
    """DVC without its run cache, which would serve what the killed stage made before."""
    return ["dvc", "repro", "--no-run-cache", *arguments]


def kill(repository: Repository, stage: Stage, seconds: float, rng: random.Random) -> dict[str, Any] | None:
    """Kill a stage once and mend it; what was seen. None where it had ended before."""
    whole, lock = killing.contents(repository, stage), killing.locks(repository)
    killing.forget(repository, stage)
    mode = rng.choices(list(MODES), list(MODES.values()))[0]
    aimed = rng.random() < 0.5
    moment = (3 * seconds, round(MOST_WRITES ** rng.random())) if aimed else (rng.uniform(0, seconds), 0)
    with tempfile.TemporaryDirectory() as logs:
        log = Path(logs) / "log"
        with killing.started(repository, repro("--single-item", stage.address), log) as dvc:
            process = killing.stage_process(dvc, stage)
            if process is None:
                raise SystemExit(f"dvc repro ended before the stage: {log.read_text()}")
            began = time.monotonic()
            killing.until(lambda: killing.alive(process), repository, stage, *moment)
            if not killing.alive(process):
                dvc.wait()
                return None
            process.send_signal(signal.SIGSTOP)  # what is seen now is what the kill leaves
            found = {"stage": stage.name, "mode": mode, "aimed": aimed, "after_s": round(time.monotonic() - began, 3)}
            found |= _left(repository, stage, whole)
            found |= _end(repository, stage, mode, dvc, process, Path(logs) / "second")
        began = time.monotonic()
        with killing.started(repository, repro(*_file(stage)), log) as dvc:
            status = dvc.wait()
        found["again_s"], output = round(time.monotonic() - began, 2), log.read_text()
    ran = [line.split("'")[1].rpartition(":")[2] for line in output.splitlines() if line.startswith("Running stage")]
    same = killing.locks(repository) == lock and killing.contents(repository, stage) == whole
    wrong = {
        "half-written": bool(found["half_written"]),
        "failed": status != 0,
        "other bytes": not same,
        "other stages ran": ran != [stage.name] and not (found.get("refused") is False and not ran),
        "left behind": bool(killing.parts(repository) or killing.states(repository)),
        "a second writer": found.get("refused", found["begun"]) != found["begun"],
    }
    found["wrong"] = [name for name, is_so in wrong.items() if is_so]
    return found | ({"said": output[-3000:]} if found["wrong"] else {})


def _left(repository: Repository, stage: Stage, whole: dict[str, bytes]) -> dict[str, Any]:
    """What lies there at the moment of the kill."""
    left = killing.contents(repository, stage)
    return {
        "begun": killing.locked(repository, stage),
        "parts": len(killing.parts(repository)),
        "states": len(killing.states(repository)),
        "finals": len(left),
        "half_written": killing.half_written(left, whole),
        "growing_logs": sum(bool(killing.LOGS.fullmatch(name)) and left[name] != whole[name] for name in left),
    }


def _end(
    repository: Repository, stage: Stage, mode: str, dvc: subprocess.Popen, process: psutil.Process, second: Path
) -> dict[str, Any]:
    """Kill; where only DVC is killed, whether a second writer was refused while the stage was still there."""
    if mode in ("dvc", "all"):
        dvc.kill()
        dvc.wait()
    if mode in ("stage", "all"):
        process.kill()
        dvc.wait()
        return {}
    with killing.started(repository, repro(*_file(stage)), second) as other:
        other.wait()
    process.send_signal(signal.SIGCONT)
    while killing.alive(process):
        time.sleep(killing.POLL_S)
    return {"refused": other.returncode != 0 and killing.REFUSED in second.read_text()}


def restored(repository: Repository) -> None:
    """The repository as after the unbroken run."""
    repository("git", "checkout", "--quiet", "--", "dvc.lock", "baselines/dvc.lock")
    repository("dvc", "checkout", "--quiet", "--force")


def _file(stage: Stage) -> list[str]:
    """The pipeline that `dvc repro` is told, where it is not the main one."""
    return [stage.address.partition(":")[0]] if ":" in stage.address else []


def table(records: list[dict[str, Any]]) -> str:
    """The records by stage, as Markdown."""
    columns = ["stage alone", "all", "dvc alone", "within a write", "with a state", "same bytes", "again, s"]
    lines = ["| stage | kills | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) + 1)]
    for name in [*dict.fromkeys(r["stage"] for r in records), "in all"]:
        rows = [r for r in records if name in (r["stage"], "in all")]
        modes = Counter(r["mode"] for r in rows)
        again = sorted(r["again_s"] for r in rows)[len(rows) // 2]
        cells = [len(rows), *(modes[m] for m in MODES), sum(r["parts"] > 0 for r in rows)]
        cells += [sum(r["states"] > 0 for r in rows), sum(not r["wrong"] for r in rows)]
        lines.append(f"| {name} | " + " | ".join(map(str, cells)) + f" | {again:.1f} |")
    refused = [r["refused"] for r in records if "refused" in r and r["begun"]]
    half = sum(len(r["half_written"]) for r in records)
    finals = sum(r["finals"] for r in records)
    lines.append(f"\nSecond writers refused: {sum(refused)} of {len(refused)}. ")
    lines.append(f"Half-written files under their final name: {half} of {finals} that lay there. ")
    lines.append(f"Wrong: {dict(Counter(w for r in records for w in r['wrong']))}.")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="only show what earlier calls gave")
    options = parser.parse_args()
    record = options.folder / "kills.jsonl"
    if not options.table:
        repository = prepared(options.folder)
        stages = killing.stages(repository)
        durations = options.folder / "seconds.json"
        if not durations.is_file():
            durations.write_text(json.dumps({name: timed(repository, stage) for name, stage in stages.items()}))
        seconds = json.loads(durations.read_text())
        rng, done = random.Random(options.seed), 0
        with record.open("a") as file, tqdm(total=options.kills, unit="kill") as bar:
            while done < options.kills:
                name = list(stages)[done % len(stages)]
                found = kill(repository, stages[name], seconds[name], rng)
                if found is not None:
                    file.write(json.dumps(found | {"seed": options.seed}) + "\n")
                    file.flush()
                    done += 1
                    bar.update()
                if found and found["wrong"]:
                    print(json.dumps(found, indent=2))
                    restored(repository)
    records = [json.loads(line) for line in record.read_text().splitlines()]
    print(table(records))
    sys.exit(any(r["wrong"] for r in records))


if __name__ == "__main__":
    main()
