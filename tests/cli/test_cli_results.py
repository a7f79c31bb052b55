"""``memsim results``: what is listed, shown, removed, merged and exported, and what is refused."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from trials import SMALL

from memsim.cli import main
from memsim.execute import run
from memsim.execute.watch import Unwatched
from memsim.load import load_scenario
from memsim.results import read_results

AXES = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"


class Interrupt(Unwatched):
    def ends(self, done):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two finished runs of one scenario, an unfinished one, and a sweep."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "small.yaml").write_text(SMALL)
    (desk / "sweep.yaml").write_text(SMALL.replace("name: small", "name: sweep") + AXES)
    for seeds in ("1..2", "2..3"):
        run(load_scenario(desk / "small.yaml", seeds=seeds), out=desk / "results")
    with pytest.raises(KeyboardInterrupt):
        unfinished = load_scenario(desk / "small.yaml", seeds="2,7")
        run(unfinished, out=desk / "results", watcher=Interrupt())
    run(load_scenario(desk / "sweep.yaml", seeds="1"), out=desk / "results")
    return desk


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    """A copy of all that, to work in."""
    shutil.copytree(made, tmp_path / "desk", symlinks=True)
    monkeypatch.chdir(tmp_path / "desk")
    return Path()


def memsim(*args, code=0, **options):
    result = CliRunner().invoke(main, ["results", *args], **options)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def problem(*args):
    """The one line that a command says is wrong, and its hint."""
    lines = memsim(*args, code=2).stderr.splitlines()
    assert len(lines) <= 2 and all(line.startswith("  hint: ") for line in lines[1:])
    return " ".join(lines)


def listed(*args):
    return list(csv.DictReader(io.StringIO(memsim("ls", "--format", "csv", *args).stdout)))


def folder_of(seeds, scenario="small"):
    (row,) = [r for r in listed(scenario) if r["seeds"] == seeds]
    return Path("results", scenario, row["run"])


def trials():
    return {p.stem for p in Path("results/.trials").rglob("*.json")}


def names(folder):
    return {trial["name"] for trial in read_results(folder).manifest["trials"]}


def test_runs_are_listed_with_their_state(desk):
    rows = {row["seeds"]: row for row in listed("small")}
    assert rows.keys() == {"1-2", "2-3", ""}
    assert rows["1-2"]["trials"] == "4" and rows["1-2"]["failed"] == "0"
    assert rows["1-2"]["policies"] == "none,mobility" and rows["1-2"]["state"] == "complete"
    # Of the four trials of the unfinished run, two are those of seed 2.
    assert rows[""]["state"] == "unfinished: 3 of 4 trials kept"
    size = sum(p.stat().st_size for p in folder_of("1-2").iterdir())
    assert int(rows["1-2"]["size"]) == size
    assert {row["scenario"] for row in listed()} == {"small", "sweep"}


@pytest.mark.parametrize("form", ["table", "markdown", "json"])
def test_every_format_lists_all_runs(desk, form):
    text = memsim("ls", "--format", form).stdout
    assert all(row["run"] in text for row in listed())
    if form == "json":
        assert [row["trials"] for row in json.loads(text)] == [int(r["trials"]) for r in listed()]


def test_runs_that_cannot_be_read_are_listed_as_such(desk, tmp_path):
    (folder_of("1-2") / "manifest.json").write_text("{")
    other = folder_of("2-3")
    (other / "manifest.json").write_text('{"schema_version": 1}')
    (Path("results/small/far")).symlink_to(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    (Path("results/small/odd")).mkdir()
    (Path("results/small/odd/unfinished.json")).write_text('{"trials": ["../x"]}')
    states = {row["run"]: row["state"] for row in listed("small")}
    assert states.pop("far") == "unreadable: is a symbolic link out of results"
    assert states.pop("odd") == "unreadable: does not say which trials the run is to have"
    assert states.pop(other.name) == ("unreadable: expected results of version 5, found version 1")
    assert sorted(state.partition(":")[0] for state in states.values()) == [
        "unfinished", "unreadable",
    ]  # fmt: skip


def test_a_folder_without_runs_is_said(desk):
    said = memsim("ls", "--out", "nowhere").stdout
    assert said.splitlines()[1:] == ["", "no runs below nowhere; memsim run SCENARIO makes one"]
    assert 'did you mean "small"' in problem("ls", "smal")


def test_the_answer_is_shown_as_run_prints_it(desk):
    again = CliRunner().invoke(main, ["run", "small.yaml", "--seeds", "1..2"])
    assert memsim("show", str(folder_of("1-2"))).stdout == again.stdout
    assert memsim("show", folder_of("1-2").name).stdout == again.stdout


def test_a_table_is_shown_with_its_first_rows_or_whole(desk):
    text = memsim("show", "small", "--table", "vmstat").stdout
    assert text.splitlines()[0].split() == ["policy", "seed", "zone", "counter", "value"]
    rows = len(read_results(folder_of("2-3")).vmstat)
    assert len(text.splitlines()) == 23 and f"the first 20 of {rows:,} rows" in text
    whole = memsim("show", "small", "--table", "vmstat", "--format", "csv").stdout
    assert whole.encode() == (folder_of("2-3") / "vmstat.csv").read_bytes()
    markdown = memsim("show", "small", "--table", "high_order", "--format", "markdown").stdout
    assert markdown.startswith("| policy | seed | phase |")
    wide = memsim("show", "small", "--table", "trials").stdout
    assert "numa.hit" in wide and "all 4 rows" in wide


def test_long_cells_are_cut_where_people_read(desk):
    lines = memsim("show", "small", "--table", "map").stdout.splitlines()
    assert all(len(line.split()[-1]) <= 63 for line in lines[1:20])
    assert any(line.endswith("...") for line in lines)
    whole = memsim("show", "small", "--table", "map", "--format", "csv").stdout.splitlines()
    assert max(map(len, whole)) > 100 and not any(line.endswith("...") for line in whole)


def test_a_table_as_json_is_a_list_of_rows(desk):
    rows = json.loads(memsim("show", "sweep", "--table", "timeline", "--format", "json").stdout)
    table = read_results(folder_of("1", "sweep")).timeline
    assert [row["nr_free_pages"] for row in rows] == list(table.nr_free_pages)
    assert {row["machine.vm.watermark_boost_factor"] for row in rows} == {"0", "15000"}


def test_what_others_need_stays_when_a_run_goes(desk):
    going, staying = folder_of("1-2"), folder_of("2-3")
    needed = names(staying) | {t for t in trials() if t not in names(going)}
    text = memsim("rm", str(going), "--yes").stdout
    assert "11 files" in text and "2 kept trials that no other run needs" in text
    assert not going.exists() and staying.exists()
    assert trials() == needed


def test_the_last_run_takes_all_with_it(desk):
    memsim("rm", *(f"{row['scenario']}/{row['run']}" for row in listed()), "--yes")
    assert listed() == [] and trials() == set()
    assert [p.name for p in Path("results").iterdir()] == [".trials"]


def test_a_dry_run_says_the_same_and_removes_nothing(desk):
    before = sorted(Path("results").rglob("*"))
    said = memsim("rm", "sweep", "--dry-run").stdout
    assert sorted(Path("results").rglob("*")) == before
    assert memsim("rm", "sweep", "--yes").stdout == said + "removed\n"


def test_without_a_terminal_nothing_goes_unasked(desk):
    before = sorted(Path("results").rglob("*"))
    assert "--yes" in memsim("rm", "sweep", code=2).stderr
    assert "give runs, or --stale" in memsim("rm", code=2).stderr
    assert sorted(Path("results").rglob("*")) == before


def test_on_a_terminal_it_asks(desk, monkeypatch):
    monkeypatch.setattr("memsim.cli.results._may_ask", lambda: True)
    memsim("rm", "sweep", code=130, input="n\n")
    assert listed("sweep")
    assert "Remove them?" in memsim("rm", "sweep", input="y\n").stdout
    assert {row["scenario"] for row in listed()} == {"small"}


def test_other_files_and_what_links_lead_to_stay(desk, tmp_path):
    going = folder_of("1-2")
    (going / "notes.txt").write_text("mine")
    (tmp_path / "treasure.csv").write_text("mine")
    (going / "vmstat.csv").unlink()
    (going / "vmstat.csv").symlink_to(tmp_path / "treasure.csv")
    (tmp_path / "other").mkdir()
    shutil.copy(going / "manifest.json", tmp_path / "other")
    Path("results/small/link").symlink_to(tmp_path / "other")
    text = memsim("rm", str(going), "small/link", "--yes").stdout
    assert "notes.txt stays: memsim did not write it" in text
    assert [p.name for p in going.iterdir()] == ["notes.txt"]
    assert not Path("results/small/link").is_symlink()
    assert (tmp_path / "treasure.csv").read_text() == "mine"
    assert (tmp_path / "other/manifest.json").exists()


@pytest.mark.parametrize("place", [".trials", "small"])
def test_nothing_is_removed_through_a_link_out_of_the_results(desk, tmp_path, place):
    going = folder_of("1-2")
    Path("results", place).rename(tmp_path / "moved")
    Path("results", place).symlink_to(tmp_path / "moved")
    before = sorted(tmp_path.rglob("*"))
    assert "symbolic link out of results" in problem("rm", f"small/{going.name}", "--yes")
    assert sorted(tmp_path.rglob("*")) == before


def test_only_runs_of_the_results_folder_are_removed(desk, tmp_path):
    shutil.copytree(folder_of("1-2"), tmp_path / "elsewhere/run")
    assert "is no run below results" in problem("rm", str(tmp_path / "elsewhere/run"), "--yes")
    assert (tmp_path / "elsewhere/run/manifest.json").exists()


def test_trials_stay_while_another_run_cannot_say_which_it_needs(desk):
    (folder_of("2-3") / "manifest.json").write_text("{")
    going, before = folder_of("1-2"), trials()
    assert "all kept trials stay" in memsim("rm", str(going), "--yes").stdout
    assert not going.exists() and trials() == before


def test_trials_stay_that_an_unfinished_run_has_kept(desk):
    begun = Path("results/small") / next(r["run"] for r in listed("small") if not r["when"])
    names = json.loads((begun / "unfinished.json").read_text())["trials"]
    shared = {name for name in names if Path(f"results/.trials/{name[:2]}/{name}.json").exists()}
    memsim("rm", str(folder_of("1-2")), str(folder_of("2-3")), "--yes")
    assert shared and {Path(path).stem for path in trials()} >= shared


def test_a_run_of_version_1_goes_with_its_trials(desk):
    old = Path("results/small/0ld")
    (old / "trials").mkdir(parents=True)
    (old / "trials" / f"{'a' * 64}.json").write_text("{}")
    (old / "manifest.json").write_text('{"schema_version": 1}')
    memsim("rm", "small/0ld", "--yes")
    assert not old.exists()


def test_stale_drafts_and_trials_of_other_versions_go(desk):
    store = next(Path("results/.trials").iterdir())
    (kept, *_) = store.iterdir()
    head, _, body = kept.read_bytes().partition(b"\n")
    other = store / f"{'b' * 64}.json"
    other.write_bytes(head.replace(b'"schema_version":5', b'"schema_version":1') + b"\n" + body)
    new, old = store / ".x.json.12.0123abcd", folder_of("1-2") / ".trials.csv.7.0123abcd"
    for draft in (new, old):
        draft.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    text = memsim("rm", "--stale", "--yes").stdout
    assert "1 drafts" in text and "1 kept trials that another version wrote" in text
    assert new.exists() and kept.exists() and not old.exists() and not other.exists()


def test_runs_are_merged_and_found(desk):
    parts = [str(folder_of("1-2")), folder_of("2-3").name]
    text = memsim("merge", *parts, "--out", "merged").stdout
    assert text.endswith("   6 trials of 2 runs\n")
    whole = run(load_scenario(Path("small.yaml"), seeds="1..3"), out="whole")
    (found,) = Path("merged/small").iterdir()
    for name in (
        "trials.csv",
        "high_order.csv",
        "oom.csv",
        "migration.csv",
        "hotplug.csv",
        "vmstat.csv",
        "timeline.parquet",
        "map.parquet",
    ):
        assert (found / name).read_bytes() == (whole.folder / name).read_bytes()
    assert "there already" in problem("merge", *parts, "--out", "merged")


def test_what_cannot_be_merged_is_one_sentence(desk):
    assert "two runs or more" in memsim("merge", "sweep", code=2).stderr
    assert "another scenario: name" in problem("merge", "sweep", "small")


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_exported_tables_are_not_replaced_without_force(desk, form):
    said = memsim("export", "sweep", "--format", form, "--out", "tables").stdout
    assert said.split() == [
        f"tables/{t}.{form}"
        for t in (
            "trials",
            "high_order",
            "oom",
            "migration",
            "hotplug",
            "vmstat",
            "timeline",
            "map",
        )
    ]
    args = (
        "export",
        "sweep",
        "--format",
        form,
        "--table",
        "vmstat",
        "--out",
        "tables/vmstat." + form,
    )
    assert "is there already" in problem(*args)
    assert memsim(*args, "--force").stdout == f"tables/vmstat.{form}\n"
    lines = memsim("export", "sweep", "--format", form, "--out", "tables", code=2).stderr
    assert lines.count("is there already") == 8


@pytest.mark.parametrize("place", [(), ("--table", "vmstat")])
def test_nothing_is_exported_among_the_files_of_a_run(desk, place):
    folder = folder_of("1-2")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    out = folder / "vmstat.csv" if place else folder
    said = problem("export", "small", "--format", "csv", "--force", "--out", str(out), *place)
    assert f"{folder}: is the folder of a run" in said
    assert before == {path: path.read_bytes() for path in folder.iterdir()}


PLAIN = """
import json, sys
sys.modules["memsim"] = None
import pandas

folder, exported = sys.argv[1:]
with open(f"{folder}/manifest.json") as file:
    manifest = json.load(file)
read = {
    "csv": pandas.read_csv,
    "parquet": pandas.read_parquet,
    "json": lambda path: pandas.read_json(path, precise_float=True),
}
tables = {}
for name in manifest["files"]:
    stem, _, end = name.partition(".")
    if end in ("csv", "parquet"):
        tables[stem] = read[end](f"{folder}/{name}")
for form in read:
    for name, table in tables.items():
        other = read[form](f"{exported}/{name}.{form}")
        if name in ("oom", "migration", "hotplug", "map"):  # a heading, or no rows
            assert len(other) == len(table) == 0, form
            continue
        assert list(other.columns) == list(table.columns), (form, name)
        assert len(other) == len(table) > 0, (form, name)
        numbers = other.select_dtypes("number").columns.difference(manifest["axes"])
        assert len(numbers) > 1
        for column in numbers:
            one, two = other[column].astype(float), table[column].astype(float)
            assert one.equals(two), (form, name, column)
print(sorted(tables), len(tables["trials"]))
"""


def test_plain_pandas_reads_runs_and_exports_without_memsim(desk, tmp_path):
    for form in ("csv", "parquet", "json"):
        memsim("export", "sweep", "--format", form, "--out", "tables")
    args = [sys.executable, "-W", "error", "-c", PLAIN, str(folder_of("1", "sweep")), "tables"]
    done = subprocess.run(args, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = ["high_order", "hotplug", "map", "migration", "oom", "timeline", "trials", "vmstat"]
    assert done.stdout == f"{names} 4\n"


@pytest.mark.parametrize("scenario", ["small", "sweep"])
def test_the_page_reads_a_run_with_pandas_alone(desk, request, scenario):
    page = (request.config.rootpath / "docs/results.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    folder = folder_of({"small": "1-2", "sweep": "1"}[scenario], scenario)
    code = f"import sys\nsys.modules['memsim'] = None\nfolder = {str(folder)!r}\n{block}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    means = read_results(folder).trials.groupby("policy", sort=False)["fallback.events"].mean()
    printed = [line.split() for line in done.stdout.splitlines()[1:3]]
    assert [(name, float(mean)) for name, mean in printed] == list(means.items())


def test_the_page_names_every_file_and_key(desk, request):
    page = (request.config.rootpath / "docs/results.md").read_text(encoding="utf-8")
    manifest = read_results(folder_of("1-2")).manifest
    told = set(re.findall(r"`([a-z_]+)`", page))
    assert {*manifest} - told <= {"jobs", "checked", "kept_trials"}
    assert all(f" {name} " in page for name in manifest["files"])


@pytest.mark.parametrize(
    "args",
    [
        ("show", "smal"),
        ("rm", "smal"),
        ("merge", "smal", "sweep"),
        ("export", "smal", "--format", "csv", "--out", "x"),
    ],
)
def test_a_run_that_is_not_there_is_one_sentence(desk, args):
    assert 'smal: there is no such run below results   hint: did you mean "small"?' in problem(
        *args
    )


def test_hostile_text_cannot_steer_the_terminal(desk):
    manifest = folder_of("1-2") / "manifest.json"
    text = manifest.read_text().replace('"memsim": "0', '"memsim": "\\u001b[2J[red]0')
    manifest.write_text(text)
    for form in ("table", "markdown", "csv"):
        out = memsim("ls", "--format", form).stdout
        assert "\x1b" not in out and "x1b[2J[red]0" in out.replace("\\", "")
