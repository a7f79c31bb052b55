"""new, validate, schema and list: exit codes, messages, and how little ``--help`` imports."""

import json
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from fake_plugins import fake_plugins

from memsim.cli import command_files, main

VALID = """\
memsim: 1
name: ok
duration: 1s
seeds: 1..3
policies: {a: {placement: plain}}
machine: {nodes: [{id: 0, cpus: 0, memory: 64MiB}]}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with fake_plugins():
        yield lambda *args: CliRunner().invoke(main, args)


def test_validate_says_ok(run, tmp_path):
    (tmp_path / "a.yaml").write_text(VALID)
    (tmp_path / "b.yaml").write_text(VALID.replace("1..3", "1"))
    result = run("validate", "a.yaml", "b.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "a.yaml: OK, 3 trials\nb.yaml: OK, 1 trial\n"


def test_validate_reports_all_files(run, tmp_path):
    (tmp_path / "a.yaml").write_text(VALID.replace("duration", "durration"))
    (tmp_path / "b.yaml").write_text(VALID)
    result = run("validate", "a.yaml", "b.yaml", "c.yaml")
    assert result.exit_code == 2
    assert result.stdout == "b.yaml: OK, 3 trials\n"
    assert result.stderr.splitlines() == [
        'a.yaml:1:1: missing key "duration"',
        "  hint: for example duration: 60s",
        'a.yaml:3:1: unknown key "durration"',
        '  hint: did you mean "duration"?',
        "c.yaml: cannot be read: No such file or directory",
    ]


def test_validate_takes_overrides(run, tmp_path):
    (tmp_path / "a.yaml").write_text(VALID)
    assert run("validate", "a.yaml", "--seeds", "1..7").stdout == "a.yaml: OK, 7 trials\n"
    result = run("validate", "a.yaml", "--set", "duration=x")
    assert result.exit_code == 2
    assert result.stderr == (
        '--set duration: expected a duration such as 60s, 80us or 2min, found "x"\n'
    )


def test_control_characters_do_not_reach_the_terminal(run, tmp_path):
    (tmp_path / "a.yaml").write_text(VALID + '"\\e[2J\\u202e": 1\n')
    result = run("validate", "a.yaml")
    assert result.stderr.splitlines()[0] == 'a.yaml:7:1: unknown key "\\x1b[2J\\u202e"'
    assert "\x1b" not in result.output


def test_new_writes_once(run, tmp_path):
    result = run("new", "mine.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith("Wrote mine.yaml\n")
    written = (tmp_path / "mine.yaml").read_text()
    (tmp_path / "mine.yaml").write_text("kept")
    again = run("new", "mine.yaml")
    assert again.exit_code == 2
    assert again.stderr == "mine.yaml: exists already\n  hint: --force replaces it\n"
    assert (tmp_path / "mine.yaml").read_text() == "kept"
    assert run("new", "mine.yaml", "--force").exit_code == 0
    assert (tmp_path / "mine.yaml").read_text() == written


def test_new_into_a_missing_folder(run):
    result = run("new", "no/such.yaml")
    assert result.exit_code == 2
    assert result.stderr == "no/such.yaml: cannot be written: No such file or directory\n"


def test_schema_is_json(run):
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "memsim scenario"


def test_list_as_table(run):
    result = run("list", "policies")
    assert result.exit_code == 0
    assert result.stdout == "old    Belong to another kernel.\nplain  Prefer nothing.\n" + (
        "    boost: true\n"
    )


def test_list_as_json(run):
    metrics = json.loads(run("list", "metrics", "--format", "json").stdout)
    assert [row["name"] for row in metrics] == ["fallback.events", "fallback.bytes"]
    workloads = json.loads(run("list", "workloads", "--format", "json").stdout)
    knobs = {knob["name"]: knob["default"] for knob in workloads[0]["knobs"]}
    assert (knobs["anon"], knobs["think"]) == ("required", "1us")


def test_list_scenarios(run, tmp_path, monkeypatch):
    (tmp_path / "fine.yaml").write_text(VALID + "title: A [bold]title\\e\n")
    (tmp_path / "wrong.yaml").write_text("- 1\n")
    monkeypatch.setattr("memsim.load.scenario_folders", lambda: (tmp_path,))
    assert run("list", "scenarios").stdout.splitlines() == [
        "fine   A [bold]title\\e",
        "wrong  (not valid: see memsim validate)",
    ]


def test_list_machines(run):
    names = [line.split()[0] for line in run("list", "machines").stdout.splitlines()]
    assert names == ["ppc64-6g", "x86-highmem-1.5g"]
    one = run("list", "machines", "ppc64-6g").stdout
    assert one == "ppc64-6g  ppc64 with 6 GiB, of the memory removal tests of 2005\n"
    assert "did you mean" in run("list", "machines", "ppc64").stderr


def test_schema_knows_machines(run):
    machine = json.loads(run("schema").stdout)["$defs"]["Machine"]["properties"]
    assert {"like", "arch", "max_order"} <= set(machine)
    assert "linux-2.6.14" in machine["profile"]["enum"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["valdate"], "Error: there is no command 'valdate'\n  hint: did you mean \"validate\"?\n"),
        (["list", "foo"], "'foo' is not one of"),
        (["validate"], "Missing argument"),
        (["--nonsense"], "No such option"),
    ],
)
def test_usage_errors(run, args, message):
    result = run(*args)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "this computer's memory does not suffice"),
        (OSError(28, "No space left on device"), 2, "cannot be written: No space left on device"),
        (OSError(5, "Input/output error"), 70, "This is a bug of memsim"),
        (RuntimeError("boom"), 70, "This is a bug of memsim"),
    ],
)
def test_what_escapes_a_command(run, monkeypatch, error, code, message):
    @click.command("schema")
    def failing():
        raise error

    monkeypatch.setattr("memsim.cli.schema.command", failing)
    result = run("schema")
    assert result.exit_code == code
    assert message in result.stderr
    assert ("Traceback" in result.stderr) == (code == 70)


def test_help_shows_every_command_and_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from memsim.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "finally:\n"
        "    print('modules', *sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0
    shown, _, modules = result.stdout.partition("modules ")
    assert all(f"\n  {name} " in shown for name in command_files())
    heavy = {"numpy", "numba", "pandas", "yaml", "pydantic", "scipy", "pyarrow", "rich"}
    assert heavy & set(modules.split()) == set()


def test_a_reader_that_leaves_is_no_error():
    script = "from memsim.cli import main; main(['list', 'policies'])"
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run([sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (result.returncode, result.stderr) == (0, b"")


def test_shell_completion_offers_commands():
    env = {**os.environ, "_MEMSIM_COMPLETE": "bash_complete", "COMP_WORDS": "memsim va",
           "COMP_CWORD": "1"}  # fmt: skip
    script = "from memsim.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert result.stdout.split() == ["plain,validate"]


def test_the_starter_is_valid_with_the_shipped_plugins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["new"]).exit_code == 0
    result = CliRunner().invoke(main, ["validate", "scenario.yaml"])
    assert result.output == "scenario.yaml: OK, 9 trials\n"


@pytest.mark.parametrize("kind", ["policies", "workloads", "metrics", "traces", "scenarios"])
def test_everything_shipped_can_be_listed(kind):
    result = CliRunner().invoke(main, ["list", kind, "--format", "json"])
    assert result.exit_code == 0
    assert all(row["name"] and row["summary"] for row in json.loads(result.stdout))
