"""Fixtures that several stories share."""

from pathlib import Path

import pytest
import tiny
from repository import MAIN, Repository


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which all stages have run; a story leaves it as it found it."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    assert repository.repro() == MAIN
    repository.commit("run")
    return repository


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
