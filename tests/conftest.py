"""Fixtures that several stories share."""

import pytest
from repository import MAIN, Repository


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository in which all nine stages have run; a story leaves it as it found it."""
    repository = Repository(tmp_path_factory.mktemp("repository"))
    assert repository.repro() == MAIN
    repository.commit("run")
    return repository
