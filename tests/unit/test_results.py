"""Tables have declared columns, escaped text, and are read back as they were."""

import csv
import hashlib
import io
import json
import pathlib
import re
import shutil

import pytest
from trials import SMALL, small

import memsim
from memsim import plugins
from memsim.errors import InputError
from memsim.execute import run
from memsim.results import begin, is_complete, open_run, read_results, save
from memsim.results.answer import answer, shown, verdicts
from memsim.results.store import TrialStore, run_folder, write_all, write_whole
from memsim.results.tables import (
    Table,
    csv_text,
    markdown_text,
    timeline_table,
    trials_table,
    vmstat_table,
)
from memsim.schema import Column
from memsim.simulate import TrialResult

AXES = SMALL + "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    return run(small(), out=tmp_path_factory.mktemp("results"))


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def failed(scenario):
    return [(trial, TrialResult("failed", "no\x1b[31m room")) for trial in scenario.trials()]


def test_the_run_folder_is_named_by_content(tmp_path, small_run):
    assert small_run.folder.name == small().content_hash[:8]
    assert run_folder(tmp_path, small()).parent == tmp_path / "small"
    assert run_folder(tmp_path, small(seeds="1")) != run_folder(tmp_path, small())


def test_trials_have_a_row_each_with_every_metric(small_run):
    table = small_run.trials
    assert list(table.columns) == [
        "policy", "seed", "status", "error", *plugins.metric_columns(),
    ]  # fmt: skip
    assert list(zip(table.policy, table.seed, strict=True)) == [
        ("none", 1), ("none", 2), ("mobility", 1), ("mobility", 2),
    ]  # fmt: skip
    assert set(table.status) == {"ok"}
    assert (table["allocation.succeeded"] > 100).all()


def test_vmstat_and_timeline_are_read_back(small_run):
    total = small_run.vmstat.query("zone == '' and counter == 'alloc_success'").value
    assert list(total) == list(small_run.trials["allocation.succeeded"])
    by_node = small_run.vmstat.query("zone != '' and counter == 'numa_hit'")
    assert by_node.value.sum() == small_run.trials["numa.hit"].sum()
    assert small_run.timeline.time_ns.max() == 100_000_000
    assert set(small_run.timeline.zone) == {"node0 DMA", "node0 DMA32"}


def test_high_order_says_why_not(small_run):
    table = small_run.high_order
    why = [c for c in table.columns if c.startswith("why_not_")]
    assert why == [
        "why_not_no_memory",
        "why_not_fragmentation",
        "why_not_watermark",
        "why_not_deferred",
        "why_not_not_simulated",
    ]
    assert (table.succeeded + table[why].sum(axis=1) == table.attempted).all()


def test_axes_are_columns_of_every_table(tmp_path):
    done = run(small(AXES, seeds="1"), out=tmp_path)
    axis = "machine.vm.watermark_boost_factor"
    for table in (done.trials, done.high_order, done.vmstat, done.timeline):
        assert list(table.columns[:3]) == ["policy", axis, "seed"]
        assert set(table[axis]) == {"0", "15000"}
    points = {row.point for row in answer(done).rows}
    assert points == {((axis, "0"),), ((axis, "15000"),)}


def test_a_failed_trial_is_a_row_with_blank_metrics():
    (row, *_) = rows(trials_table(failed(small())).to_csv())
    assert row["status"] == "failed"
    assert row["error"] == "no\\x1b[31m room"
    assert {row[name] for name in plugins.metric_columns()} == {""}


def test_an_endless_error_is_cut(tmp_path):
    scenario = small(seeds="1", policies=("none",))
    finished = [(trial, TrialResult("failed", "=" * 10**6)) for trial in scenario.trials()]
    save(tmp_path / "small/run", scenario, finished, {"started": "", "wall_time_s": 1})
    (row,) = read_results(tmp_path / "small/run").trial_rows()
    assert row["error"] == "'" + "=" * 2000


def test_tables_of_failed_trials_alone_are_empty_but_whole():
    assert vmstat_table(failed(small())).to_csv() == b"policy,seed,zone,counter,value\n"
    assert timeline_table(failed(small())).to_parquet()[:4] == b"PAR1"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@sum", "'@sum"),
        ("-2", "-2"),
        ("+cmd", "'+cmd"),
        ("a\x1b[2J\nb", "a\\x1b[2J\\nb"),
        ("plain", "plain"),
    ],
)
def test_text_is_escaped(text, cell):
    assert csv_text(text) == cell


def test_numbers_are_written_so_that_reading_gives_the_same():
    columns = (Column("a", "1", "a", dtype="float64"), Column("b", "1", "b"))
    table = Table(columns, ((0.1, 1), (1 / 3, None), (float("nan"), -3)))
    assert table.to_csv() == b"a,b\n0.1,1\n0.3333333333333333,\n,-3\n"


def test_the_scenario_stands_there_word_for_word(small_run):
    assert (small_run.folder / "scenario.yaml").read_text() == SMALL


def test_time_and_host_stand_in_the_manifest_only(small_run):
    manifest = json.loads((small_run.folder / "manifest.json").read_text())
    assert manifest["schema_version"] == 5
    assert manifest["seeds"] == [1, 2]
    assert [t["name"] for t in manifest["trials"]] == [t.name for t in small().trials()]
    host = manifest["host"]["name"]
    assert {"started", "wall_time_s"} <= set(manifest)
    others = [p for p in small_run.folder.iterdir() if p.is_file() and p.name != "manifest.json"]
    assert len(others) == 10
    stamp = manifest["started"][:10]
    for path in others:
        content = path.read_bytes()
        assert stamp.encode() not in content
        named = re.search(rb"\b" + re.escape(host.encode()) + rb"\b", content)
        assert path.suffix == ".parquet" or named is None


def test_a_trial_result_survives_the_store(tmp_path, small_run):
    trial = next(iter(small().trials()))
    kept = TrialStore(small_run.folder.parents[1]).get(trial)
    assert kept.result.status == "ok"
    TrialStore(tmp_path).put(trial, kept)
    assert TrialStore(tmp_path).get(trial) == kept


def test_a_run_knows_its_scenario(small_run):
    assert small_run.scenario.content_hash == small().content_hash
    assert small_run.metric_columns == plugins.metric_columns()


def test_the_large_tables_of_a_sweep_are_parquet(tmp_path):
    done = run(small(AXES, seeds="1"), out=tmp_path)
    names = {"trials.csv", "high_order.parquet", "vmstat.parquet", "timeline.parquet"}
    assert names <= {path.name for path in done.folder.iterdir()}
    assert (done.high_order.succeeded <= done.high_order.attempted).all()


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "folder" / "file"
    write_whole(target, b"old")

    def fail(self, other):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_whole(target, b"new")
    assert [p.read_bytes() for p in target.parent.iterdir()] == [b"old"]


def test_results_are_read_from_their_folder(small_run):
    again = memsim.read_results(small_run.folder)
    assert again.trials.equals(small_run.trials)
    assert again.failed == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "there is no such file", id="missing"),
        pytest.param("{", "is no JSON", id="broken"),
        pytest.param("[]", "is no manifest", id="list"),
        pytest.param('{"schema_version": 99}', "update memsim", id="newer"),
        pytest.param('{"schema_version": 1}', "memsim run writes today's", id="older"),
    ],
)
def test_a_manifest_that_is_no_good_is_one_sentence(tmp_path, content, message):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path)


@pytest.fixture
def copied(tmp_path, small_run):
    """A folder of results to damage."""
    shutil.copytree(small_run.folder, tmp_path / "small/run")
    return tmp_path / "small/run"


def change_manifest(folder, change):
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def replace_file(folder, name, content):
    """Put other content into a file, and let the manifest say that it is right."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change_manifest(folder, lambda manifest: manifest["files"].update({name: digest}))


@pytest.mark.parametrize("content", [b"", b"garbage\n1,2\n", b"\xff\xfe\n"])
def test_a_changed_table_is_one_sentence(copied, content):
    (copied / "trials.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"was changed since memsim wrote it\n.*--force"):
        read_results(copied)


def test_a_table_that_is_gone_is_one_sentence(copied):
    (copied / "trials.csv").unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_results(copied)


@pytest.mark.parametrize("table", ["high_order", "vmstat", "timeline"])
def test_other_tables_are_looked_at_when_they_are_asked_for(copied, table):
    run = read_results(copied)
    path = copied / run.table_file(table)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="was changed since memsim wrote it"):
        getattr(run, table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: b"", "columns are others", id="empty"),
        pytest.param(lambda t: b"\xff", "utf-8", id="bytes"),
        pytest.param(lambda t: b"policy" + t, "columns are others", id="head"),
        pytest.param(lambda t: t.replace(b"none,", b"more,"), "trials are others", id="policy"),
        pytest.param(lambda t: t.replace(b",ok,", b",failed,", 1), "trials are", id="status"),
        pytest.param(lambda t: t + t.splitlines()[-1] + b"\n", "trials are others", id="one more"),
        pytest.param(lambda t: t[: t.rindex(b",")] + b"\n", "one length", id="short row"),
        pytest.param(lambda t: t[: t.rindex(b",")] + b",x\n", "to float", id="text"),
        pytest.param(lambda t: t[: t.rindex(b",")] + b",inf\n", "no number", id="infinite"),
        pytest.param(lambda t: t + b'"', "unexpected end", id="open quote"),
    ],
)
def test_a_table_that_its_manifest_does_not_describe_is_one_sentence(copied, change, message):
    replace_file(copied, "trials.csv", change((copied / "trials.csv").read_bytes()))
    with pytest.raises(InputError, match=f"does not go with manifest.json: .*{message}"):
        read_results(copied)


@pytest.mark.parametrize("table", ["high_order", "vmstat", "timeline"])
@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PAR1PAR1"])
def test_what_is_no_table_is_one_sentence(copied, table, content):
    replace_file(copied, read_results(copied).table_file(table), content)
    with pytest.raises(InputError, match="is no table of memsim's"):
        getattr(read_results(copied), table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda m: m.pop("seeds"), "seeds: Field required", id="missing"),
        pytest.param(lambda m: m.update(seeds="1"), "seeds: ", id="type"),
        pytest.param(lambda m: m.update(seeds=[10**30]), "seeds.0: ", id="huge"),
        pytest.param(lambda m: m["seeds"].append(99), "some of each seed", id="more"),
        pytest.param(lambda m: m.update(missing=[1]), "missing.0: ", id="lacking"),
        pytest.param(lambda m: m.update(scenario="../up"), "scenario: ", id="path"),
        pytest.param(lambda m: m["files"].update({"../x": "0" * 64}), "files: ", id="file"),
        pytest.param(lambda m: m["trials"][1].update(policy="x"), "trials.1: policy", id="policy"),
        pytest.param(lambda m: m["trials"][1].update(point={"x": "1"}), "trials.1: point", id="at"),
        pytest.param(lambda m: m["trials"].append(m["trials"][0]), "same name", id="twice"),
        pytest.param(lambda m: m["engine"].clear(), "engine: ", id="engine"),
        pytest.param(lambda m: m["columns"].update(x={}), "columns.x.name", id="column"),
        pytest.param(lambda m: m.update(schema_version=True), "found no version", id="bool"),
        pytest.param(lambda m: m.update(schema_version=10**400), "a later version", id="later"),
    ],
)
def test_a_manifest_of_another_shape_is_one_sentence(copied, change, message):
    change_manifest(copied, change)
    with pytest.raises(InputError, match=f"manifest.json: .*{message}"):
        read_results(copied)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "is no scenario"),
        (b"[1", "is no scenario"),
        (None, "is not the scenario of manifest"),
    ],
)
def test_a_scenario_that_is_another_is_one_sentence(copied, content, message):
    written = (copied / "scenario.json").read_bytes()
    replace_file(copied, "scenario.json", content or written.replace(b"100ms", b"200ms"))
    with pytest.raises(InputError, match=f"scenario.json: {message}"):
        _ = read_results(copied).scenario


def test_a_run_that_is_not_finished_says_so(tmp_path):
    begin(tmp_path / "small/run", small())
    with pytest.raises(InputError, match=r"not finished\n.*goes on"):
        read_results(tmp_path / "small/run")


def test_a_policy_may_be_called_what_others_take_for_blank(tmp_path):
    text = SMALL.replace("none: ", "NA: ").replace("mobility: ", "-x: ")
    done = run(small(text, seeds="1"), out=tmp_path)
    assert [row["policy"] for row in done.trial_rows()] == ["NA", "-x"]
    assert list(done.trials.policy) == ["NA", "'-x"]
    assert None not in answer(done).rows[0].means


def test_a_run_says_its_policies_in_their_order(small_run, tmp_path):
    assert list(small_run.scenario.policies) == ["none", "mobility"]
    other = SMALL.replace("none: ", "zone: ")
    swapped = small(other).only(("mobility", "zone"))
    policies = dict(reversed(swapped.policies.items()))
    swapped = swapped.model_copy(update={"policies": policies})
    assert run_folder(tmp_path, swapped) != run_folder(tmp_path, small(other))


def test_where_there_is_no_room_for_all_files_all_stay_as_they_were(copied, monkeypatch):
    before = {path: path.read_bytes() for path in copied.iterdir()}
    write = pathlib.Path.write_bytes

    def fill(self, content):
        if content == b"large":
            raise OSError(28, "No space left on device")
        return write(self, content)

    monkeypatch.setattr("pathlib.Path.write_bytes", fill)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_all({copied / "trials.csv": b"small", copied / "vmstat.csv": b"large"})
    assert {path: path.read_bytes() for path in copied.iterdir()} == before


def test_the_manifest_is_the_last_file_that_others_see(copied, monkeypatch):
    scenario = read_results(copied).scenario
    shutil.rmtree(copied)
    seen = []
    replace = pathlib.Path.replace

    def watched(self, other):
        seen.append((other.name, is_complete(copied)))
        return replace(self, other)

    monkeypatch.setattr("pathlib.Path.replace", watched)
    trials = [(trial, TrialResult("ok")) for trial in scenario.trials()]
    save(copied, scenario, trials, {"started": "", "wall_time_s": 0.0})
    assert len(seen) == 11 and seen[-1][0] == "manifest.json"
    assert not any(complete for _, complete in seen)


def test_a_folder_that_another_process_removes_is_made_again(tmp_path, monkeypatch):
    write = pathlib.Path.write_bytes
    removed = []

    def too_late(self, content):
        if not removed:
            removed.append(self.parent.rmdir())
        return write(self, content)

    monkeypatch.setattr("pathlib.Path.write_bytes", too_late)
    write_whole(tmp_path / "ab" / "file", b"new")
    assert removed and [p.read_bytes() for p in (tmp_path / "ab").iterdir()] == [b"new"]


def test_a_manifest_names_the_files_that_its_axes_call_for(copied):
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace("vmstat.csv", "vmstat.parquet").replace(
        "high_order.csv", "high_order.parquet"))  # fmt: skip
    with pytest.raises(InputError, match="files: expected those of a run"):
        open_run(copied)


@pytest.mark.parametrize("text", ["![x](//a)", "a|b", "<b>", "`c`", "@me", "\x1b[0m", "_i_ *j*"])
def test_text_is_no_markup_in_markdown(text):
    escaped = markdown_text(text)
    assert re.sub(r"\\(.)", "", escaped).isprintable()
    assert not re.search(r"(?<!\\)[*_\[\]|`@!]|[<>]", escaped)


def test_the_answer_is_means_over_seeds(small_run):
    found = answer(small_run)
    assert found.policies == ("none", "mobility")
    row = next(r for r in found.rows if r.metric == "fragmentation.free_blocks_order_9_up")
    table = small_run.trials
    means = [table[table.policy == p][row.metric].mean() for p in found.policies]
    assert row.means == pytest.approx(means)
    assert all(r.column.better != "neither" for r in found.rows)


@pytest.mark.parametrize(
    ("value", "column", "text"),
    [
        (None, Column("x", "1", ""), "-"),
        (0.613, Column("success_ratio_order_9", "1", ""), "61.3 %"),
        (1204.0, Column("x", "pages", ""), "1,204"),
        (2.25, Column("x", "pages", ""), "2.2"),
        (3.9 * 2**30, Column("x", "bytes", ""), "3.9 GiB"),
        (0.0, Column("x", "bytes", ""), "0 B"),
    ],
)
def test_values_are_shown_as_people_read_them(value, column, text):
    assert shown(value, column) == text


def test_expectations_are_judged_over_the_rows(tmp_path):
    lines = [
        "allocation.success_ratio >= 1%",
        "allocation.success_ratio < 1% for none",
        "pageblocks.mixed <= 0 in 0% of seeds",
    ]
    scenario = small(SMALL + f"expect: {json.dumps(lines)}\n")
    met = [v.met for v in verdicts(run(scenario, out=tmp_path), scenario)]
    assert met == [True, False, True]
