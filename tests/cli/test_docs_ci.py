"""docs/ci.md does what it says: its commands and the steps of its workflow are carried out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from baseline_desk import edit, plus

from memsim.check.findings import WORSENING
from memsim.cli import main

SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WORKFLOW = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLS = re.compile(r"pip install \S+")
"""The one kind of step that is left out: memsim is installed already."""
ACTIONS = {"actions/checkout", "actions/setup-python", "actions/cache", "actions/upload-artifact"}
TRIALS = Path("baselines/my-first/trials.csv")


@pytest.fixture(scope="module")
def page(request):
    return (request.config.rootpath / "docs/ci.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(page):
    """The page's shell commands: make a baseline, tolerances, accept, anywhere else."""
    found = SHELL.findall(page)
    assert len(found) == 4
    return found


@pytest.fixture(scope="module")
def steps(page):
    """The steps of the workflow that are carried out here, and those of GitHub's own."""
    (text,) = WORKFLOW.findall(page)
    (job,) = yaml.safe_load(text)["jobs"].values()
    own = [step["run"] for step in job["steps"] if "run" in step]
    actions = [step for step in job["steps"] if "uses" in step]
    assert {step["uses"].partition("@")[0] for step in actions} == ACTIONS
    assert len(own) + len(actions) == len(job["steps"])
    return [run for run in own if not INSTALLS.fullmatch(run)], actions


def shell(commands, **env):
    """Carry out commands as GitHub does: bash that stops at the first that fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", commands],
        env={**clean, "PATH": path, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def repository(blocks, tmp_path_factory):
    """A repository whose baseline was made as the page says."""
    folder = tmp_path_factory.mktemp("repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made = shell(blocks[0])
        assert made.returncode == 0, made.stderr
        assert "wrote baselines/my-first\n" in made.stdout
        assert made.stdout.endswith(": as in the baseline\n")
        yield folder


@pytest.fixture
def worsened(repository):
    """The repository with a figure that is worse than its baseline; afterwards as it was."""
    kept = TRIALS.read_bytes()
    old = int(edit(TRIALS, 2, "allocation.succeeded", plus(7)))
    yield f"allocation.succeeded of none, seed 1: {old + 7} -> {old} (-7, "
    TRIALS.write_bytes(kept)


def run_workflow(steps):
    """Run the steps on GitHub; returns the last one and the summary."""
    own, _ = steps
    assert [run.split()[:2] for run in own] == [["memsim", "warmup"], ["memsim", "check"]]
    for run in own:
        result = shell(run, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY="summary.md")
        if result.returncode:
            break
    return result, Path("summary.md").read_text()


def test_the_workflow_passes_as_long_as_nothing_is_worse(repository, steps):
    result, summary = run_workflow(steps)
    assert result.returncode == 0, result.stderr
    assert "| ✅ | my-first | 6 | " in summary
    assert "::" not in result.stdout
    assert not list(ElementTree.parse("junit.xml").iter("failure"))
    last = {action["uses"].partition("@")[0]: action for action in steps[1]}
    upload, cache = last["actions/upload-artifact"], last["actions/cache"]
    assert upload["if"] == "always()"
    assert all(list(Path().glob(pattern)) for pattern in upload["with"]["path"].split())
    kept, compiled = cache["with"]["path"].split()
    assert list(Path(kept).rglob("*.json"))
    assert compiled == "~/.cache/memsim"


def test_the_workflow_fails_and_marks_what_is_worse(worsened, steps):
    result, summary = run_workflow(steps)
    assert result.returncode == 1, result.stderr
    assert f"{TRIALS}:2: worse: {worsened}" in result.stdout
    assert f"::error file={TRIALS},line=2,title=my-first%3A worse::{worsened}" in result.stdout
    assert "| ❌ | my-first | 6 | " in summary
    (failure,) = ElementTree.parse("junit.xml").iter("failure")
    assert worsened in failure.text


def test_a_change_is_accepted_as_the_page_says(worsened, blocks):
    assert shell(blocks[3]).returncode == 1
    (one,) = json.loads(Path("check.json").read_text())
    assert [finding["fails"] for finding in one["findings"]] == [True]
    assert list(ElementTree.parse("junit.xml").iter("failure"))
    assert shell(blocks[2]).returncode == 0
    assert shell(blocks[3]).returncode == 0


def test_the_tolerances_of_the_page_are_understood(repository, blocks):
    result = shell(blocks[1])
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(": as in the baseline\n") == 2


def test_what_fails_is_what_the_page_says(page):
    rows = re.findall(r"^\| (`.*`) \| .* \| ([01]) \|$", page, re.MULTILINE)
    exits = {kind: int(code) for kinds, code in rows for kind in re.findall(r"`([^`]+)`", kinds)}
    assert {kind for kind, code in exits.items() if code} == WORSENING
    assert len(exits) == 10


def test_all_options_of_the_page_exist(page):
    known = {
        option
        for name in ("check", "run")
        for param in main.get_command(None, name).params
        for option in (*param.opts, *param.secondary_opts)
    }
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page)) <= known
