"""A report is one page: complete without a network, whatever names the run has."""

import base64
import html
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pandas
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trials import SMALL, small

from memsim.cli import main
from memsim.execute import run
from memsim.memory.mapping import MOST_CELLS
from memsim.report import figures, maps, report
from memsim.report.encoding import encoded, thinned
from memsim.report.grid import grid_of
from memsim.report.obstacles import mapped_trials, owned_blocks
from memsim.results import begin, save
from memsim.simulate import TrialResult

HOSTILE = "</title></script><img src=x onerror=alert(1)>"
ODD = SMALL.replace("name: small", f"name: small\ntitle: {json.dumps(HOSTILE)}") + (
    "axes:\n  policies.*.cmdline: ['', 'kernelcore=32M']\nrecord: {map: true}\n"
)
UNPLUG = """
memsim: 1
name: unplugged
duration: 100ms
policies:
  none:     {placement: none}
  movable:  {placement: mobility, cmdline: movable_node}
machine:
  nodes:
    - {id: 0, cpus: 0-1, memory: 128MiB}
    - {id: 1, cpus: [], memory: 384MiB, hotpluggable: true}
workloads:
  kern: {kind: slab, rate: 20000/s, lifetime: {exponential: {mean: 1s}}, nodes: [1]}
events:
  - {at: 50ms, do: offline, name: gone, node: 1}
"""


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    return run(small(), out=tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def page(small_run):
    return report([small_run])


@pytest.fixture(autouse=True)
def few_figures(page, monkeypatch):
    """Draw two figures only; all of them take seconds, and are on the page of the fixture."""
    monkeypatch.setattr(figures, "FIRST", ("high-order", "sweep"))


class Elements(HTMLParser):
    """What a browser would find: tags with attributes, and the text outside of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self.inside):
            self.texts.append(data)

    def named(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def data_of(page):
    found = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', page, re.S)
    return json.loads(found[1])


def decoded(text, cells):
    """The twin of the page's script: frames from runs of changed cells."""
    numbers, value, shift = [], 0, 0
    for byte in base64.b64decode(text):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    frames, frame = [], [0] * cells
    while numbers:
        frame, place = list(frame), 0
        runs = numbers.pop(0)
        for _ in range(runs):
            stay, change, new = numbers[:3]
            del numbers[:3]
            place += stay
            frame[place : place + change] = [new] * change
            place += change
        frames.append(frame)
    return frames


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 300), min_size=7, max_size=7), min_size=1, max_size=6))
def test_frames_are_encoded_without_loss(frames):
    assert decoded(encoded(frames), 7) == frames


def test_the_page_needs_nothing_from_outside(page):
    found = Elements(page)
    for tag, attrs in found.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttp|WebSocket|import\(", page)
    assert set(re.findall(r"https?://[^\s\"'<>)]*", page)) <= {
        "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink",
    }  # fmt: skip
    policy = next(m for m in found.named("meta") if "http-equiv" in m)
    assert policy["content"].startswith("default-src 'none';")


def test_the_answer_comes_first_with_its_interval(page, small_run):
    text = " ".join(Elements(page).texts)
    assert text.index("mobility, beside none:") < text.index("Each square is")
    rows = re.findall(r'<tr class="(?:better|worse)">.*?</tr>', page)
    assert rows and all("±" in row for row in rows)
    assert f"memsim verify {small_run.folder}" in html.unescape(page)


def test_without_scripts_there_are_pictures_and_tables(page):
    found = Elements(page)
    assert len(found.named("table")) >= 6
    without = page[page.index("<noscript>") : page.index("</noscript>")]
    assert without.count('class="still"') == 2 and without.count("<path") >= 4
    assert found.named("div") and next(d for d in found.named("div") if d.get("id") == "maps")
    pictures = [attrs for attrs in found.named("svg") if attrs.get("role") == "img"]
    assert len(pictures) >= 5 and all(len(p["aria-label"]) > 20 for p in pictures)


def test_ids_of_the_page_are_unique(page):
    ids = [attrs["id"] for _, attrs in Elements(page).tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))


def test_the_map_holds_what_the_table_holds(page, small_run):
    data = data_of(page)
    table = small_run.map
    assert [layer["label"] for layer in data["layers"]] == ["none", "mobility"]
    cells = sum(segment[2] for segment in data["segments"])
    layer = data["layers"][1]
    frames = decoded(layer["data"], cells)
    mine = table[(table.policy == "mobility") & (table.seed == 1)]
    assert len(frames) == len(layer["times"]) == mine.time_ns.nunique() == 51
    for frame, (_, rows) in zip(frames, mine.groupby("time_ns"), strict=True):
        shown = "".join(layer["palette"][number] for number in frame)
        assert shown == "".join(rows.sort_values("start_pfn").cells).replace("...", "")
    assert [time for time, _ in layer["marks"]] == [0.05, 0.1]
    assert sum(count for _, count in layer["zones"]) == cells


def test_hostile_names_stay_text(tmp_path):
    text = report([run(small(ODD, seeds="1"), out=tmp_path)])
    found = Elements(text)
    assert found.named("img") == []
    assert len(found.named("script")) == 2
    assert any(HOSTILE in text for text in found.texts)
    assert "<img" not in text


def test_text_of_plugins_and_errors_is_escaped(small_run, monkeypatch):
    manifest = json.loads(json.dumps(small_run.manifest))
    manifest["notes"] = [HOSTILE + "\x1b[31m\u202e"]
    for column in manifest["columns"].values():
        column["doc"] = HOSTILE
    odd = type(small_run)(small_run.folder)
    odd.__dict__["manifest"] = manifest
    odd.__dict__["scenario"] = small_run.scenario
    text = report([odd])
    assert Elements(text).named("img") == [] and "\x1b" not in text and "\u202e" not in text
    assert "\\x1b[31m\\u202e" in text


def test_a_sweep_without_a_map_says_how_to_keep_one(tmp_path):
    axes = SMALL + "axes:\n  workloads.app.anon: [1MiB, 2MiB]\n"
    text = report([run(small(axes, seeds="1"), out=tmp_path)])
    assert "No map was kept: write record: {map: true}" in text
    assert re.search(r"best [\d,.]+, with \w+ at \dMiB.*; worst [\d,.]+, with", text)
    assert 'id="figure-sweep"' in text and "map-data" not in text.replace('"map-data"', "", 1)


def test_several_runs_are_compared_on_one_page(tmp_path, small_run):
    other = run(small(sets=("workloads.app.anon=4MiB",)), out=tmp_path)
    text = report([small_run, other])
    data = data_of(text)
    assert len(data["layers"]) == 4 and len({layer["label"] for layer in data["layers"]}) == 4
    assert all(run.folder.name in text for run in (small_run, other))
    ids = [attrs["id"] for _, attrs in Elements(text).tags if "id" in attrs]
    assert sorted(ids) == sorted(set(ids))


def test_blocks_say_what_became_of_them_and_whose_pages_kept_them(tmp_path):
    done = run(small(UNPLUG), out=tmp_path)
    blocks = data_of(report([done]))["layers"][0]["blocks"]
    table = done.hotplug[done.hotplug.policy == "none"]
    assert sorted(map(int, blocks)) == sorted(table.block)
    owned = [one for trial in mapped_trials(done) for one in owned_blocks(done, trial)]
    more = data_of(report([done], owned))["layers"][0]["blocks"]
    texts = [text for lines in more.values() for text in lines]
    assert any("pages of kern (" in text for text in texts)
    stood = table[table.obstacles > 0]
    for row in stood.itertuples():
        pages = [int(t.split()[0].replace(",", "")) for t in more[str(row.block)][1:]]
        assert sum(pages) == row.obstacles


def test_the_commands_of_the_page_repeat_the_run(page, small_run, tmp_path):
    command = re.search(r'<pre class="commands">(memsim run [^\n]*)', page)[1]
    words = shlex.split(html.unescape(command))[1:]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path), "--format", "json"])
    assert result.exit_code == 0, result.output
    (folder,) = tmp_path.glob("small/*")
    for name in ("trials.csv", "map.parquet", "vmstat.csv"):
        assert (folder / name).read_bytes() == (small_run.folder / name).read_bytes()


def test_the_command_writes_the_page(small_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", str(small_run.folder)])
    assert result.exit_code == 0 and result.stdout.startswith("report.html   ")
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_same_run_gives_the_same_page(small_run):
    assert report([small_run]) == report([small_run])


def problem(*args):
    result = CliRunner().invoke(main, ["report", *args])
    assert result.exit_code == 2, result.output
    return result.stderr.strip().split("\n")


def test_runs_with_nothing_to_show_are_refused_in_a_line(tmp_path, small_run):
    unfinished, empty = tmp_path / "a" / "small" / "12345678", tmp_path / "empty"
    begin(unfinished, small())
    empty.mkdir()
    failed = tmp_path / "b" / "small" / "12345678"
    results = [(trial, TrialResult("failed", "no room")) for trial in small().trials()]
    save(failed, small(), results, {"started": "now", "wall_time_s": 0.0})
    lines = problem(str(unfinished))
    assert "this run is not finished" in lines[0] and "memsim run" in lines[1]
    lines = problem(str(failed))
    assert "all 4 trials failed" in lines[0] and "no room" in lines[0]
    assert "there is no such run" in problem(str(empty), "--out", str(tmp_path / "none"))[0]
    assert len(problem(str(small_run.folder), str(unfinished))) == 2


def test_a_trial_that_failed_is_named_and_the_others_are_shown(tmp_path, small_run):
    results = [(trial, TrialResult("failed", HOSTILE)) for trial in small().trials()]
    good = [(trial, done) for trial, done in _kept(small_run)]
    save(tmp_path / "x" / "small" / "12345678", small(), [results[0], *good[1:]],
         {"started": "now", "wall_time_s": 0.0})  # fmt: skip
    from memsim.results import read_results

    text = report([read_results(tmp_path / "x" / "small" / "12345678")])
    assert "none, seed 1: &lt;/title&gt;" in text and "4, 1 failed" in text


def _kept(run):
    from memsim.results.store import TrialStore

    store = TrialStore(run.folder.parents[1])
    return [(trial, store.get(trial).result) for trial in run.scenario.trials()]


def synthetic(instants):
    """A map of as many cells as there may be, a third of which changes each time."""
    import random

    draws = random.Random(1)
    cells = ["M" + 2 * f"{draws.randrange(16):x}" for _ in range(MOST_CELLS)]
    rows = []
    for n in range(instants):
        for _ in range(MOST_CELLS // 3):
            cells[draws.randrange(MOST_CELLS)] = f"{draws.choice('UMR')}{draws.randrange(256):02x}"
        rows.append(("none", "", 1, n, "node0 Normal", 0, 1 << 15, "".join(cells)))
    heads = ["policy", "point", "seed", "time_ns", "zone", "start_pfn", "cell_pages", "cells"]
    return pandas.DataFrame(rows, columns=heads)


def test_a_tebibyte_stays_below_15_mb(small_run):
    table = synthetic(6)
    grid = grid_of([table], 1 << 15)
    layer = maps._layer(small_run, table, grid, (), False)
    each = len(encoded(layer.frames)) / 6
    assert each * 51 * 3 < 15e6 - 2e6
    half = thinned(layer)
    assert half.times == [layer.times[n] for n in (0, 2, 4, 5)]
    assert len(encoded(half.frames)) < len(encoded(layer.frames))


def test_maps_that_are_too_much_lose_instants(small_run, monkeypatch):
    monkeypatch.setattr(maps, "MOST_BYTES", 100)
    layer = data_of(report([small_run]))["layers"][0]
    assert len(layer["times"]) < 51 and layer["times"][-1] == 0.1
