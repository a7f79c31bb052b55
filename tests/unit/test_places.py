"""Runs are found by what users call them, and links out of the results are refused."""

import os

import pytest

from memsim.errors import InputError
from memsim.results.places import find_run, refuse_links, runs_below


def make_run(root, name, *, when=1, file="manifest.json"):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / file).write_text("{}")
    os.utime(folder / file, ns=(when, when))
    return folder


@pytest.fixture
def root(tmp_path):
    """Results of two scenarios; the newest run of one is not the last by name."""
    root = tmp_path / "results"
    make_run(root, "alpha/aa11", when=3)
    make_run(root, "alpha/aa22", when=2)
    make_run(root, "alpha/ff33", when=9, file="unfinished.json")
    make_run(root, "beta/bb11")
    (root / ".trials/ab").mkdir(parents=True)
    (root / "alpha/notes").mkdir()
    (root / "beta/file").write_text("no folder")
    return root


def problem(call, *args):
    with pytest.raises(InputError) as refusal:
        call(*args)
    (found,) = refusal.value.problems
    return found


def test_complete_and_unfinished_runs_are_listed(root):
    assert [(place.name, place.complete) for place in runs_below(root)] == [
        ("alpha/aa11", True), ("alpha/aa22", True), ("alpha/ff33", False), ("beta/bb11", True),
    ]  # fmt: skip


def test_where_nothing_is_there_are_no_runs(tmp_path):
    assert runs_below(tmp_path / "none") == []
    assert "memsim run" in problem(find_run, "x", tmp_path / "none").hint


def test_results_that_are_a_file_are_one_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    assert "cannot be read: Not a directory" in str(problem(runs_below, tmp_path / "results"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("alpha/aa22", "alpha/aa22", id="scenario and run"),
        pytest.param("alpha/aa2", "alpha/aa22", id="scenario and beginning"),
        pytest.param("alpha", "alpha/aa11", id="newest complete"),
        pytest.param("aa22", "alpha/aa22", id="run"),
        pytest.param("bb", "beta/bb11", id="beginning"),
        pytest.param("ff", "alpha/ff33", id="unfinished"),
        pytest.param("beta/", "beta/bb11", id="slash at the end"),
    ],
)
def test_a_run_is_found_by_what_it_is_called(root, text, name):
    assert find_run(text, root) == root / name


def test_a_run_is_found_by_its_folder(root, tmp_path, monkeypatch):
    assert find_run(str(root / "alpha/aa22"), tmp_path) == root / "alpha/aa22"
    assert find_run(str(root / "alpha"), tmp_path) == root / "alpha/aa11"
    monkeypatch.chdir(root / "beta/bb11")
    assert find_run(".", tmp_path).resolve() == root / "beta/bb11"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param("aa", "more than one run", "alpha/aa11 or alpha/aa22", id="two"),
        pytest.param("alhpa", "no such run", 'did you mean "alpha"?', id="typing"),
        pytest.param("alpha/zz", "no such run", 'did you mean "alpha/', id="wrong run"),
        pytest.param("", "no such run", "known", id="empty"),
        pytest.param("a\0b", "no such run", "known", id="NUL"),
        pytest.param("x" * 5000, "no such run", "known", id="long"),
        pytest.param("..", "no such run", "known", id="above"),
        pytest.param("notes", "no such run", "known", id="no run"),
    ],
)
def test_what_is_no_run_is_one_sentence(root, monkeypatch, text, message, hint):
    monkeypatch.chdir(root / ".trials")
    found = problem(find_run, text, root)
    assert message in found.message
    assert hint in found.hint


@pytest.mark.parametrize(
    "place", ["alpha/aa11", "alpha", ".trials", ".trials/ab", "alpha/aa11/trials.csv"]
)
def test_a_link_out_of_the_results_is_refused(root, tmp_path, place):
    outside = tmp_path / "outside"
    run = root / "alpha/aa11"
    refuse_links(root, run)
    link = root / place
    if link.exists():
        link.rename(outside)
    link.symlink_to(outside)
    found = problem(refuse_links, root, run)
    assert found.path.endswith(place)
    assert "symbolic link out of" in found.message and str(outside) in found.hint


def test_links_within_the_results_and_to_them_are_fine(root, tmp_path, monkeypatch):
    (root / "alpha/latest").symlink_to("aa11")
    (tmp_path / "link").symlink_to(root)
    for base in (root, tmp_path / "link"):
        refuse_links(base, base / "alpha/latest")
        refuse_links(base, base / "alpha/not-there")
    monkeypatch.chdir(tmp_path)
    refuse_links(tmp_path / "results", root / "alpha/latest")
    assert find_run("alpha/latest", tmp_path / "link") == tmp_path / "link/alpha/latest"


def test_a_link_to_itself_is_refused_or_harmless(root):
    (root / "loop").symlink_to("loop")
    assert [place.name for place in runs_below(root)][-1] == "beta/bb11"
    refuse_links(root, root / "loop/run")
