"""Fetch the CDC's files over an unreliable network: retry, resume, verify, and keep partial downloads.

What arrives lies in a cache (outside of DVC's outputs, which DVC removes before a stage runs): as `NAME.part`
while it is incomplete, under its name once its content has been checked. A later run asks the server whether
the file has changed, and does without the server where it cannot be reached.
"""

import json
import re
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from tqdm import tqdm
from urllib3.util import Retry

from spiro_diffusion.core.artifacts import not_following, sha256, write_json
from spiro_diffusion.core.errors import SpiroError
from spiro_diffusion.core.version import VERSION
from spiro_diffusion.formats.archives import opened
from spiro_diffusion.formats.repair_log import Findings
from spiro_diffusion.formats.sniff import TABLES, Kind
from spiro_diffusion.nhanes import codebook, xport_repair

CACHE = Path(".scratch/download")
FAILING = (429, 500, 502, 503, 504)  # answers after which it is worth asking again
BLOCK = 1 << 13  # bytes; an unfinished block is requested again
LONGEST = 100 << 20  # bytes; eight times the largest file of the CDC (SPXRAW_G.zip, 12.3 MB)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    attempts: int = 5  # of connections, of failing answers, of bodies that break off
    pause: float = 1.0  # s before the second attempt, doubled before each further one
    connect: float = 15.0  # s
    stall: float = 60.0  # s without a byte


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched and checked, as its record in the cache says."""

    address: str
    size: int  # bytes
    sha256: str
    etag: str = ""
    last_modified: str = ""


class _NotThere(SpiroError):
    """The address does not have the file; another one may."""


class _Unreachable(SpiroError):
    """No answer, or none that could be read to its end; another address of the same server will not help."""


def fetch(
    file: codebook.File, cache: Path = CACHE, host: str = codebook.HOST, patience: Patience = Patience()
) -> tuple[Path, Fetched]:
    """The file in the cache, fetched or found unchanged, and its record.

    Tries where the CDC keeps the file since December 2024, then where it was before.

    Raises SpiroError that names the addresses and what each answered.
    """
    path = cache / urlsplit(host).netloc.replace(":", "_") / file.filename
    record = path.with_name(path.name + ".json")
    kept = _kept(path, record)
    if kept:
        patience = replace(patience, attempts=1)  # no long wait for a file that is there already
    session = _session(patience)
    failures = []
    for place in file.paths:
        address = host.rstrip("/") + place
        try:
            fetched = _fetch_one(session, address, path, kept, file, patience)
        except _NotThere as error:
            failures.append(f"{address} {error}")
        except _Unreachable as error:
            if kept:
                tqdm.write(f"download: {address} {error}; {file.filename} as fetched before serves", file=sys.stderr)
                return path, kept
            failures.append(f"{address} {error}")
            break
        else:
            write_json(record, asdict(fetched))
            return path, fetched
    raise SpiroError(f"{file.filename} cannot be fetched: {'; '.join(failures)}; or give download.source a folder")


def check(path: Path, file: codebook.File) -> None:
    """Refuse content that is not the table `file`, read to its end so that an archive's checksum is tested."""
    with opened(path) as content:
        if content.kind in (Kind.XPORT, Kind.XPORT8):
            xport_repair.parsed(content.stream.read(), file, Findings(), file.rows)
        elif content.kind in TABLES:
            while content.stream.read(1 << 20):
                pass
        else:
            raise _NotThere(f"gave {content.what}")


def _kept(path: Path, record: Path) -> Fetched | None:
    """The record of a complete file in the cache, if there is one and it fits."""
    try:
        earlier = Fetched(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return earlier if path.is_file() and sha256(path) == earlier.sha256 else None


def _session(patience: Patience) -> requests.Session:
    session = requests.Session()
    session.headers.update({"User-Agent": f"spiro-diffusion/{VERSION}", "Accept-Encoding": "identity"})
    retry = Retry(
        total=patience.attempts - 1,
        backoff_factor=patience.pause,
        status_forcelist=FAILING,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _fetch_one(
    session: requests.Session, address: str, path: Path, kept: Fetched | None, file: codebook.File, patience: Patience
) -> Fetched:
    """Fetch from one address, in as many attempts as it may take to get a whole body with sound content."""
    part = path.with_name(path.name + ".part")
    part.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause * 2 ** (attempt - 1))
        try:
            fetched = _attempt(session, address, part, kept, patience)
        except _Unreachable as error:
            reason = str(error)
            continue
        except requests.RequestException as error:  # after the attempts of the session
            raise _Unreachable(_in_words(error)) from None
        if fetched is kept and kept:
            return kept
        try:
            check(part, file)
        except SpiroError as error:
            part.unlink()
            if isinstance(error, _NotThere):
                raise
            reason = f"gave a file that {error}"
        else:
            part.replace(path)
            return fetched
    raise _Unreachable(f"{reason} ({patience.attempts} attempts)")


def _attempt(session: requests.Session, address: str, part: Path, kept: Fetched | None, patience: Patience) -> Fetched:
    """Ask once and write what comes behind what `part` holds already, where the server can continue there."""
    unchanged = part.with_name(part.name + ".json")  # address and validator of what `part` holds the start of
    have, headers = 0, {}
    if part.exists() and (validator := _validator_of(unchanged, address)):
        have = part.stat().st_size
        headers = {"Range": f"bytes={have}-", "If-Range": validator}
    elif kept and kept.address == address:
        headers = {"If-None-Match": kept.etag, "If-Modified-Since": kept.last_modified}
    headers = {name: value for name, value in headers.items() if value}
    with session.get(address, headers=headers, stream=True, timeout=(patience.connect, patience.stall)) as response:
        if response.status_code == requests.codes.not_modified and kept:
            return kept
        if response.status_code == requests.codes.partial_content:
            total = _total(response, have)
        elif response.status_code == requests.codes.ok:
            have, total = 0, int(response.headers.get("Content-Length", 0))
        else:
            unchanged.unlink(missing_ok=True)
            busy = response.status_code in FAILING or response.status_code == requests.codes.range_not_satisfiable
            raise (_Unreachable if busy else _NotThere)(f"answered {response.status_code} {response.reason}")
        etag, last_modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        write_json(unchanged, [address, last_modified if etag.startswith("W/") else etag or last_modified])
        _receive(response, part, have, total)
    unchanged.unlink()
    return Fetched(address, part.stat().st_size, sha256(part), etag, last_modified)


def _validator_of(record: Path, address: str) -> str:
    """What names the version of a file that broke off, so that only the same version is continued."""
    try:
        of, validator = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(validator) if of == address else ""


def _total(response: requests.Response, have: int) -> int:
    """Size of the whole file, of which the answer continues with byte `have`."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        raise _Unreachable("continued at another byte than was asked for")
    return int(found[2])


def _receive(response: requests.Response, part: Path, have: int, total: int) -> None:
    if total > LONGEST:
        raise _NotThere(f"announced {total:,} bytes, more than any file of the CDC")
    with (
        open(part, "ab" if have else "wb", opener=not_following) as out,
        tqdm(desc=response.url.rsplit("/", 1)[-1], initial=have, total=total or None, unit="B", unit_scale=True) as bar,
    ):
        try:
            for block in response.iter_content(BLOCK):
                out.write(block)
                bar.update(len(block))
                if out.tell() > (total or LONGEST):
                    break
        except requests.RequestException as error:
            raise _Unreachable("stalled" if _timed_out(error) else "broke off") from None
    size = part.stat().st_size
    if (total and size != total) or size > LONGEST:
        if size > total:
            part.unlink()
        raise _Unreachable(f"sent {size:,} bytes of {total:,}")


def _in_words(error: requests.RequestException) -> str:
    if _timed_out(error):
        return "was silent for too long"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached"
    return f"failed ({type(error).__name__})"


def _timed_out(error: requests.RequestException) -> bool:
    return "timed out" in str(error)  # requests wraps the timeouts of a body, and of a retry, in other errors
