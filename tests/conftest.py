"""Fixtures that several stories share."""

import fcntl
import os
from pathlib import Path

import pytest
import tiny
from repository import MAIN, Repository

LONG = ("remotes", "portable", "pipeline", "readme", "experiments", "evaluate", "workflows", "kills", "distributed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that no process of two is left alone with one at the end."""
    order = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which all stages have run; a story leaves it as it found it.

    The stages run once: each process that runs tests has a copy of its own.
    """
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    shared = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    first = shared / "repository"
    with (shared / "repository.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second waits for who makes it
        if not (shared / "repository.made").exists():
            repository = Repository(first)
            assert repository.repro() == MAIN
            repository.commit("run")
            (shared / "repository.made").touch()
    return Repository.copy(Repository.at(first), tmp_path_factory.mktemp("done") / "repository")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny, untrained checkpoints."""
    return tiny.models(tmp_path_factory.mktemp("trained") / "models")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `data` of a few simulated people."""
    return tiny.data(tmp_path_factory.mktemp("made") / "data")


@pytest.fixture(scope="session")
def reconstructing(models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny checkpoints, a reconstructor among them."""
    return tiny.reconstructor(tmp_path_factory.mktemp("reconstructing"), models, data)
