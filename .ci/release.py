"""Make a release in dist/vVERSION, all but the upload: `make release`, from a clean tree whose HEAD carries the tag.

The tree, the tag, the changelog, the citation and the model are checked; wheel and sdist are built twice, from two
clones, and compared; the wheel is installed in an empty environment and draws; the licence of every installed package
is held against those allowed here; the SBOM of the wheel's environment, the notes and the checksums are written. The
first thing that is wrong ends it with one line.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import yaml

from spiro_diffusion.core.errors import SpiroError

ROOT = Path(__file__).parents[1]
MODELS = ("vqvae", "cldm", "reconstructor")

# Licences that a dependency may have. SPDX names, and what older packages write in their metadata instead.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "ZPL-2.1",
    "Zlib",
    "Apache License",
    "Apache License 2.0",
    "Apache License, Version 2.0",
    "Apache Software License",
    "3-Clause BSD License",
    "BSD",
    "BSD License",
    "ISC License (ISCL)",
    "MIT License",
    "Mozilla Public License 2.0 (MPL 2.0)",
    "Python Software Foundation License",
    "Zope Public License",
}
EXCEPTIONS = {  # packages of the extra `pipeline` and of the tests; none of them is in the wheel or needed by it
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",  # of DVC's SSH remote; used under EPL-2.0
    "grandalf": "GNU General Public License v2 (GPLv2)",  # of `dvc dag`; dual with EPL-1.0 by its own LICENSE
    "mlcroissant": "UNKNOWN",  # of the tests; Apache-2.0 by its repository, without metadata
    "pygit2": "GPLv2 with linking exception",  # of DVC; the exception allows use by any program
}


def main(models: Path, out: Path) -> None:
    """Everything; raises SpiroError at the first thing that is wrong."""
    version = project_version(ROOT)
    check_tree(ROOT)
    check_tag(ROOT, version)
    notes = notes_of(ROOT / "CHANGELOG.md", version)
    check_citation(ROOT, version)
    check_models(ROOT, models)
    print(f"version {version}: clean tree, tag, changelog, citation and model agree", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        release = make(Path(scratch), models.resolve(), notes)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(release, out)
    print(f"{out}: {', '.join(sorted(file.name for file in out.iterdir()))}")
    print(f"upload: gh release create v{version} {out}/* --verify-tag --notes-file {out}/notes.md")


def make(scratch: Path, models: Path, notes: str) -> Path:
    """The folder of the release, in a scratch folder."""
    epoch = said(ROOT, "git", "log", "-1", "--format=%ct")
    tools = tools_in(scratch / "tools")
    release = build(scratch / "first", models, epoch, tools)
    compare(release, build(scratch / "second", models, epoch, tools))
    print("wheel and sdist: the same bytes from two builds", flush=True)
    (wheel,) = release.glob("*.whl")
    installed = install(wheel, scratch / "installed")
    draw(installed, scratch)
    print("the wheel, in an empty environment: installed, draws", flush=True)
    count = check_licences(licences(tools, sys.executable) | licences(tools, installed))
    print(f"licences of {count} packages: allowed", flush=True)
    sbom = release / "sbom.cdx.json"
    run(
        *(tools.with_name("cyclonedx-py"), "environment", installed, "--pyproject", ROOT / "pyproject.toml"),
        *("--mc-type", "library", "--output-reproducible", "--output-file", sbom),
        where="SBOM",
        SOURCE_DATE_EPOCH=epoch,
    )
    (release / "notes.md").write_text(notes, encoding="utf-8")
    write_checksums(release)
    return release


def project_version(root: Path) -> str:
    """The version, which pyproject.toml alone states."""
    return str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def check_tree(root: Path) -> None:
    """Raises SpiroError where git knows of a change, or of a file that is neither committed nor ignored."""
    changed = said(root, "git", "status", "--porcelain").splitlines()
    if changed:
        raise SpiroError(
            f"{changed[0][3:]} is not committed ({len(changed)} such files): commit or remove what changed"
        )


def check_tag(root: Path, version: str) -> None:
    """Raises SpiroError where HEAD does not carry the tag of the version."""
    tags = said(root, "git", "tag", "--points-at", "HEAD").split()
    if f"v{version}" in tags:
        return
    if said(root, "git", "tag", "--list", f"v{version}"):
        raise SpiroError(
            f"tag v{version} is on another commit than HEAD: raise the version in pyproject.toml, or check out the tag"
        )
    has = f" (it has {', '.join(tags)})" if tags else ""
    raise SpiroError(
        f"HEAD has no tag v{version}, the version of pyproject.toml{has}: git tag -a v{version} -m {version}"
    )


def section(changelog: Path, version: str) -> tuple[str, str]:
    """Date and text of a version in the changelog; raises SpiroError where it has none."""
    text = changelog.read_text(encoding="utf-8")
    found = re.search(rf"^## \[?{re.escape(version)}\]? - (\d{{4}}-\d\d-\d\d)\n(.*?)(?=^## |^\[|\Z)", text, re.M | re.S)
    if found is None:
        raise SpiroError(
            f"{changelog.name} has no section '## {version} - YYYY-MM-DD': write it, from what is Unreleased"
        )
    return found[1], found[2].strip()


def notes_of(changelog: Path, version: str) -> str:
    """Notes of the release: the version's section of the changelog; raises SpiroError where something is unreleased."""
    _, text = section(changelog, version)
    unreleased = re.search(r"^## \[?Unreleased\]?\n(.*?)(?=^## )", changelog.read_text(encoding="utf-8"), re.M | re.S)
    if unreleased and unreleased[1].strip():
        raise SpiroError(f"{changelog.name}: 'Unreleased' is not empty: move its entries to the section {version}")
    return f"{text}\n\nSimulated data are not NHANES; nothing here is for diagnosis.\n"


def check_citation(root: Path, version: str) -> None:
    """Raises SpiroError where CITATION.cff states another version or date than pyproject.toml and the changelog."""
    cited = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    date, _ = section(root / "CHANGELOG.md", version)
    for key, wanted in (("version", version), ("date-released", date)):
        if str(cited.get(key)) != wanted:
            raise SpiroError(f"CITATION.cff: {key} is {cited.get(key)}: write {wanted}")


def check_models(root: Path, models: Path) -> None:
    """Raises SpiroError where the models are not those that dvc.lock of this commit names."""
    stages = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    wanted = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    for name in MODELS:
        file = models / f"{name}.safetensors"
        if not file.is_file():
            raise SpiroError(f"{file} is missing: make repro, or dvc pull train_vqvae train_cldm train_reconstructor")
        if hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest() != wanted.get(f"models/{file.name}"):
            raise SpiroError(
                f"{file} is not the file that dvc.lock names: dvc checkout, or make repro and commit dvc.lock"
            )


def tools_in(folder: Path) -> Path:
    """Python of an environment with the dependency group `release`."""
    venv.create(folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--group", "release", where="tools")
    return python


def build(folder: Path, models: Path, epoch: str, tools: Path) -> Path:
    """Folder with sdist and wheel, the wheel built from the sdist, of a clone of HEAD with the exported model in it."""
    source, out = folder / "source", folder / "out"
    run("git", "clone", "--quiet", "--shared", ROOT, source, where="clone")
    run(
        sys.executable,
        "-m",
        "spiro_diffusion.engines.package",
        models,
        where="model",
        cwd=source,
        PYTHONPATH=str(source),
    )
    files = [file for file in source.rglob("*") if ".git" not in file.parts]
    for file in files:  # a wheel keeps modes, and these are the umask's
        file.chmod(0o755 if file.is_dir() or file.stat().st_mode & 0o100 else 0o644)
    run(tools, "-m", "build", "--no-isolation", "--outdir", out, source, where="build", SOURCE_DATE_EPOCH=epoch)
    (sdist,) = out.glob("*.tar.gz")
    normalise(sdist, int(epoch))
    return out


def normalise(sdist: Path, epoch: int) -> None:
    """Write an sdist again without what depends on when, where and by whom it was built."""
    packed = sdist.with_suffix(".again")
    with (
        tarfile.open(sdist) as source,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", mtime=epoch, fileobj=raw) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda m: m.name):
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    packed.replace(sdist)


def compare(first: Path, second: Path) -> None:
    """Raises SpiroError where two builds do not hold the same files with the same bytes."""
    sums = [{file.name: sha256(file) for file in sorted(folder.iterdir())} for folder in (first, second)]
    for name in sums[0] | sums[1]:
        if sums[0].get(name) != sums[1].get(name):
            raise SpiroError(f"{name}: two builds of one commit differ: compare them with diffoscope {first} {second}")


def install(wheel: Path, folder: Path) -> Path:
    """Python of a new environment that holds the wheel and, by the lock, what it needs."""
    pins = re.findall(r"^([\w.-]+==[\w.!+-]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.M)
    constraints = folder.with_suffix(".txt")
    constraints.write_text("\n".join(pins) + "\n", encoding="utf-8")
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    run(*pip, "--constraint", constraints, wheel, where="installation of the wheel")
    return python


def draw(python: Path, folder: Path) -> None:
    """Two curves by the model in the wheel; raises SpiroError where there are none."""
    person = ("--age", "45", "--height", "175", "--sex", "male", "-n", "2", "--out", "curves.csv")
    run(python.with_name("spiro"), "generate", *person, where="spiro generate", cwd=folder, PYTHONPATH="")


def licences(tools: Path, python: str | Path) -> dict[str, str]:
    """The licence of each package of an environment, this one's own aside."""
    listed = run(
        *(tools, "-m", "piplicenses", "--python", python, "--from", "mixed", "--format", "json"), where="licences"
    )
    return {row["Name"]: row["License"] for row in json.loads(listed) if row["Name"] != "spiro-diffusion"}


def check_licences(found: dict[str, str]) -> int:
    """How many packages there are; raises SpiroError that names the first whose licence is not allowed."""
    for name, licence in sorted(found.items()):
        if EXCEPTIONS.get(name) != licence and not is_allowed(licence):
            raise SpiroError(
                f"{name}: its licence {licence!r} is not allowed: replace the package, or name it in .ci/release.py"
            )
    return len(found)


def is_allowed(licence: str) -> bool:
    """Whether a licence, or an expression of several, may be used: all that AND joins, any that OR joins."""
    if licence in ALLOWED:
        return True
    parts = re.split(r" AND |; ", licence)
    return all(any(word in ALLOWED for word in part.strip("()").split(" OR ")) for part in parts)


def write_checksums(folder: Path) -> None:
    """SHA256SUMS of a folder's files."""
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def said(root: Path, *command: str) -> str:
    """What a command prints; raises SpiroError where it fails."""
    return run(*command, where=command[0], cwd=root).strip("\n")


def run(*command: str | Path, where: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command; what it prints. Raises SpiroError with its last line where it fails."""
    options: dict[str, Any] = {"cwd": cwd, "env": os.environ | environment, "capture_output": True, "text": True}
    done = subprocess.run([*map(str, command)], check=False, **options)
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        line = next((text for text in reversed(lines) if text.lower().startswith("error")), lines[-1])
        raise SpiroError(f"{where}: {line.strip()} (from {' '.join(map(str, command[:4]))})")
    return done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a release, all but the upload.")
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of checkpoints (default: models)")
    chosen = parser.parse_args()
    try:
        main(chosen.models, Path("dist") / f"v{project_version(ROOT)}")
    except SpiroError as error:
        sys.exit(f"release: {error}")
