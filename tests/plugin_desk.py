"""A folder to try plug-ins in, and what a command says of them."""

from pathlib import Path

from click.testing import CliRunner
from plugin_files import changed
from trials import SMALL

from memsim import plugins
from memsim.cli import main


def set_up(tmp_path, monkeypatch):
    """Go to a folder with a small scenario of one policy and seed."""
    monkeypatch.chdir(tmp_path)
    text = changed(SMALL, "  mobility: {placement: mobility}\n", "")
    (tmp_path / "small.yaml").write_text(changed(text, "seeds: 1..2", "seeds: 1"))
    return tmp_path


def memsim(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def one_message(result, code=2):
    """The only problem that a command tells, without hint and command; nothing else is left."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert plugins.loaded() == ()
    lines = [
        line
        for line in result.stderr.splitlines()
        if not line.startswith(("  hint: ", "  again: "))
    ]
    assert len(lines) == 1, lines
    return lines[0]


def run_policy(text, *args):
    Path("mine.py").write_text(text)
    placed = "policies.none.placement=mine"
    return memsim("run", "small.yaml", "--plugin", "mine.py", "--set", placed, *args)


def run_workload(text, *args):
    Path("mine.py").write_text(text)
    kern = "workloads.kern={kind: mine}"
    return memsim("run", "small.yaml", "--plugin", "mine.py", "--set", kern, *args)


def run_metric(text, *args):
    Path("mine.py").write_text(text)
    return memsim("run", "small.yaml", "--plugin", "mine.py", *args)


def import_trace(text):
    Path("mine.py").write_text(text)
    Path("trace.txt").write_text("pages of a test\n100 7\n200 8\n")
    return memsim("import", "trace.txt", "--plugin", "mine.py", "--out", "out.parquet")
