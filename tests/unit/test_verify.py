"""A run is carried out again from its folder alone, and every difference is named."""

import json
import shutil

import pytest
from plugin_files import METRIC, POLICY, changed
from trials import SCENARIOS, SMALL, small

from memsim import plugins
from memsim.errors import InputError
from memsim.execute import How, run
from memsim.load import load_scenario
from memsim.results import open_run, read_results
from memsim.results.manifest import digests
from memsim.verify import changes, verify

ONE = SMALL.replace("  mobility: {placement: mobility}\n", "").replace("1..2", "1")
AXES = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return run(small(), out=tmp_path_factory.mktemp("made")).folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of a run, without the trials that were kept."""
    shutil.copytree(made, tmp_path / "copy/run")
    return tmp_path / "copy/run"


def edit(folder, name, change, *, admit=False):
    """Change a file, and with ``admit`` let the manifest say that it is right."""
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    if admit:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"] |= digests({name: path.read_bytes()})
        (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("how", [How(), How("threads", 2)], ids=["serial", "threads"])
def test_a_run_is_identical_and_stays_untouched(folder, how):
    before = {path: path.stat().st_mtime_ns for path in folder.parent.parent.rglob("*")}
    found = verify(open_run(folder), how=how)
    files = [path for path in folder.iterdir() if path.name != "manifest.json"]
    assert (found.trials, found.files, found.count, found.differences) == (4, 10, 0, ())
    assert found.bytes == sum(path.stat().st_size for path in files)
    assert {p: p.stat().st_mtime_ns for p in folder.parent.parent.rglob("*")} == before
    assert changes(open_run(folder)) == []


def test_a_sweep_is_identical(tmp_path):
    done = run(small(SMALL + AXES, seeds="1"), out=tmp_path)
    assert (verify(done).trials, verify(done).count) == (4, 0)


def test_machine_file_and_capture_are_found_from_elsewhere(tmp_path, monkeypatch):
    desk = tmp_path / "desk"
    shutil.copytree(SCENARIOS / "data/frag", desk / "frag")
    (desk / "mine.yaml").write_text("nodes: [{id: 0, cpus: 0-1, memory: 64MiB}]\n")
    machine = "machine:\n  nodes: [{id: 0, cpus: 0-1, memory: 64MiB}]\n"
    texts = {
        "like": changed(ONE, machine, "machine: {like: mine.yaml}\n"),
        "from": changed(ONE, machine, "machine: {from: frag}\n"),
    }
    monkeypatch.chdir(desk)
    made = {}
    for name, text in texts.items():
        (desk / f"{name}.yaml").write_text(text)
        made[name] = run(load_scenario((desk / f"{name}.yaml").relative_to(desk)), out="results")
    (desk / "mine.yaml").unlink()
    folders = {name: done.folder.resolve() for name, done in made.items()}
    monkeypatch.chdir(tmp_path)
    assert [verify(open_run(f)).count for f in folders.values()] == [0, 0]
    (desk / "frag/SOURCE").write_text("another")
    assert verify(open_run(folders["like"])).count == 0
    with pytest.raises(InputError, match=r"frag: this input has changed since the run\n.*sha256"):
        verify(open_run(folders["from"]))
    shutil.rmtree(desk / "frag")
    with pytest.raises(InputError, match="frag: this input is gone"):
        verify(open_run(folders["from"]))


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        pytest.param("trials.csv", lambda t: t.replace(b",ok,,", b",failed,x,", 1), [
            "row 1 (none, 1): status: was failed, is ok", "row 1 (none, 1): error: was x, is blank",
        ], id="cells"),
        pytest.param("trials.csv", lambda t: t.replace(b",ok,", b",no,", 1),
                     ["row 1 (none, 1): status: was no, is ok"], id="same length"),
        pytest.param("vmstat.csv", lambda t: t[: t.rindex(b"\n", 0, -1) + 1],
                     ["rows: was {less}, is {rows}"], id="row gone"),
        pytest.param("vmstat.csv", lambda t: t + b"x\n",
                     ["rows: was {more}, is {rows}"], id="row new"),
        pytest.param("high_order.csv", lambda t: t.replace(b"gfp", b"flags", 1),
                     ["columns: gone: flags; new: gfp"], id="column"),
        pytest.param("high_order.csv", lambda t: t.replace(b"\n", b"\r\n"),
                     ["other bytes, though all cells are the same"], id="line ends"),
        pytest.param("timeline.parquet", lambda t: t[:-4], ["is no table: "], id="no table"),
        pytest.param("vmstat.csv", lambda t: b"", ["columns: gone: none; new: policy"], id="empty"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("admit", [True, False], ids=["admitted", "unsaid"])
def test_what_differs_is_named(folder, name, change, expected, admit):
    rows = len((folder / "vmstat.csv").read_bytes().splitlines()) - 1
    edit(folder, name, change, admit=admit)
    found = verify(open_run(folder))
    if not admit:
        expected = ["was changed since memsim wrote it", *expected]
    assert found.count == len(found.differences) == len(expected)
    for line, start in zip(found.differences, expected, strict=True):
        text = start.format(less=rows - 1, rows=rows, more=rows + 1)
        assert line.startswith(f"{name}: {text}")


def test_of_many_differences_twenty_are_named(folder):
    rows = len((folder / "vmstat.csv").read_bytes().splitlines()) - 1
    edit(folder, "vmstat.csv", lambda t: t.replace(b"\n", b"7\n").replace(b"value7", b"value", 1))
    found = verify(open_run(folder))
    assert found.count == rows + 1 and len(found.differences) == 20


def test_a_table_that_is_gone_is_a_difference(folder):
    (folder / "vmstat.csv").unlink()
    found = verify(open_run(folder))
    assert found.differences == ("vmstat.csv: cannot be read: No such file or directory",)


def test_a_table_of_parquet_is_compared_cell_by_cell(tmp_path):
    import pandas

    done = run(small(ONE + AXES), out=tmp_path)
    table = pandas.read_parquet(done.folder / "vmstat.parquet")
    was = table.loc[3, "value"]
    table.loc[3, "value"] += 1
    table.to_parquet(done.folder / "vmstat.parquet")
    changed, cell = verify(open_run(done.folder)).differences
    assert "was changed" in changed
    assert cell == f"vmstat.parquet: row 4 (none, 0, 1): value: was {was + 1}, is {was}"


@pytest.mark.parametrize("name", ["scenario.json", "scenario.yaml"])
def test_another_scenario_is_not_carried_out(folder, name):
    edit(folder, name, lambda t: t.replace(b"100ms", b"1ms"))
    with pytest.raises(InputError, match="was changed since memsim wrote it"):
        verify(open_run(folder))


def test_trials_of_another_scenario_are_refused(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["seeds"].append(3)
    manifest["trials"][0]["seed"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has trials that are not of the scenario"):
        verify(open_run(folder))


def test_changed_sources_are_said_first(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["engine"]["none"] = "0" * 64
    manifest["memsim"] = "0.0.9"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (said,) = changes(open_run(folder))
    assert "sources, or numpy, have changed" in said and "0.0.9 then" in said
    assert verify(open_run(folder)).count == 0


REFUSAL = "        assert not os.environ.get('FICKLE'), 'out of order'\n"
FICKLE = "import os\n\n" + changed(POLICY, "        tables =", REFUSAL + "        tables =")


@pytest.fixture
def with_plugin(tmp_path):
    """A run under a policy from outside, and its file."""
    path = tmp_path / "mine.py"
    path.write_text(FICKLE)
    with plugins.outside([str(path)]):
        text = changed(ONE, "placement: none", "placement: mine")
        return run(small(text), out=tmp_path / "results").folder, path


def test_plugins_must_be_what_they_were(with_plugin, tmp_path):
    folder, path = with_plugin
    other = tmp_path / "count.py"
    other.write_text(METRIC)
    with plugins.outside([str(path)]):
        assert verify(open_run(folder)).count == 0
    with pytest.raises(InputError, match=r"mine.py: this plug-in was in use, .*\n.*--plugin FILE"):
        verify(open_run(folder))
    with (
        plugins.outside([str(path), str(other)]),
        pytest.raises(InputError, match=r"count.py: this plug-in was not in use"),
    ):
        verify(open_run(folder))
    path.write_text(FICKLE + "\n")
    with (
        plugins.outside([str(path)]),
        pytest.raises(InputError, match="this plug-in has changed since the run"),
    ):
        verify(open_run(folder))


def test_metrics_of_plugins_are_typed_without_them(tmp_path):
    path = tmp_path / "count.py"
    path.write_text(METRIC)
    with plugins.outside([str(path)]):
        done = run(small(ONE), out=tmp_path / "results")
        assert verify(done).count == 0
    again = read_results(done.folder)
    assert str(again.trials["count.zones"].dtype) == "Int64"
    assert str(again.trials["count.free_ratio"].dtype) == "float64"


@pytest.mark.parametrize("fail_fast", [True, False])
def test_a_trial_that_fails_now_is_a_difference(with_plugin, monkeypatch, fail_fast):
    folder, path = with_plugin
    monkeypatch.setenv("FICKLE", "1")
    with plugins.outside([str(path)]):
        found = verify(open_run(folder), fail_fast=fail_fast)
    assert any("out of order" in line for line in found.differences)
    assert (found.count == 1) == fail_fast
