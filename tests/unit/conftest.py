"""A small run and its baseline, for the tests of what is kept and of what a check finds."""

import shutil

import pytest
from baseline_desk import baseline_of, recorded


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder for runs."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def now(results):
    """What a small run says."""
    return recorded(results)


@pytest.fixture(scope="module")
def kept(now, tmp_path_factory):
    """A baseline of the same run, to be copied."""
    return baseline_of(now, tmp_path_factory.mktemp("kept") / "small")


@pytest.fixture
def base(kept, tmp_path):
    """A baseline to edit."""
    return shutil.copytree(kept, tmp_path / "small")
