"""Every mistake in a scenario file has its line, and all are reported at once."""

from pathlib import Path

import pytest
from fake_plugins import fake_plugins

from memsim.errors import InputError
from memsim.load import find_scenario, load_scenario, load_text
from memsim.load.document import MAX_BYTES, read_yaml

BASE = """\
memsim: 1
name: base
duration: 60s
seeds: 1..3
policies:
  plain: {placement: plain}
  zone: {placement: plain, cmdline: kernelcore=4G}
machine:
  nodes:
    - {id: 0, cpus: 0-7, memory: 8GiB}
    - {id: 1, cpus: [], memory: 8GiB}
  vm: {swappiness: 60}
workloads:
  db: {kind: app, anon: 3GiB, nodes: [1]}
events:
  - {every: 5s, do: probe, orders: [3, 9]}
expect: ["fallback.events <= 100"]
"""


@pytest.fixture(autouse=True)
def _plugins():
    with fake_plugins():
        yield


def load(text, **options):
    return load_text(text, "x.yaml", ".", **options)


def complaints(text, **options):
    with pytest.raises(InputError) as error:
        load(text, **options)
    return str(error.value)


def test_base_is_valid():
    scenario = load(BASE)
    assert scenario.name == "base"
    assert scenario.duration == 60 * 10**9
    assert scenario.machine.nodes[1].memory == 8 << 30
    assert scenario.trial_count == 6
    assert scenario.source == BASE


CASES = [
    # (id, what to replace in BASE, by what, the complaint)
    ("unknown key", "name: base", "nmae: base",
     'x.yaml:1:1: missing key "name"\n'
     'x.yaml:2:1: unknown key "nmae"\n  hint: did you mean "name"?'),
    ("unknown version", "memsim: 1", "memsim: 2", "x.yaml:1:9: memsim: expected 1, found 2"),
    ("bad name", "name: base", "name: a/b",
     "x.yaml:2:7: name: expected text that matches ^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$, "
     'found "a/b"'),
    ("number as text", "name: base", "name: 5",
     'x.yaml:2:7: name: expected text, found 5\n  hint: put it in quotes: "5"'),
    ("boolean as text", "name: base", "name: true",
     'x.yaml:2:7: name: expected text, found true\n  hint: put it in quotes: "true"'),
    ("no duration", "duration: 60s\n", "",
     'x.yaml:1:1: missing key "duration"\n  hint: for example duration: 60s'),
    ("sexagesimal", "duration: 60s", "duration: 12:30",
     'x.yaml:3:11: expected a duration such as 60s, 80us or 2min, found "12:30"'),
    ("zero duration", "duration: 60s\nseeds: 1..3\n", "duration: 0\n",
     "x.yaml:3:11: expected more than 0, found 0"),
    ("octal", "swappiness: 60", "swappiness: 010",
     'x.yaml:12:20: swappiness: expected a whole number, found "010"\n'
     "  hint: a number with a leading zero is text; write it without"),
    ("exponent", "swappiness: 60", "swappiness: 1e2",
     "x.yaml:12:20: swappiness: expected a whole number, found 100.0\n  hint: write 100"),
    ("out of range", "swappiness: 60", "swappiness: 201",
     "x.yaml:12:20: swappiness: expected at most 200, found 201"),
    ("neither of two", "swappiness: 60", "min_free_kbytes: lots",
     'x.yaml:12:25: min_free_kbytes: expected a whole number or "auto", found "lots"'),
    ("no as boolean", "anon: 3GiB", "anon: 3GiB, huge: no",
     'x.yaml:14:37: huge: expected true or false, found "no"\n  hint: write false'),
    ("date", "swappiness: 60", "swappiness: 2005-11-16",
     'x.yaml:12:20: swappiness: expected a whole number, found "2005-11-16"'),
    ("bad unit", "anon: 3GiB", "anon: 3GB",
     'x.yaml:14:25: expected a size such as 8GiB, 512MiB or 4096, found "3GB"'),
    ("no seed", "seeds: 1..3", "seeds: []", "x.yaml:4:8: expected at least one number, found none"),
    ("negative seed", "seeds: 1..3", "seeds: [-1]",
     "x.yaml:4:8: expected whole numbers such as 0-7, 1..10 or [1, 2], found -1"),
    ("no policy", "  plain: {placement: plain}\n  zone: {placement: plain, cmdline: kernelcore=4G}",
     "  {}", "x.yaml:6:3: policies: expected at least 1, found a mapping"),
    ("policy with a dot", "  zone:", "  zo.ne:",
     "x.yaml:7:3: expected a name that matches ^[A-Za-z0-9_-]{1,64}$, found \"zo.ne\""),
    ("unknown placement", "{placement: plain}", "{placement: plane}",
     'x.yaml:6:22: there is no policy "plane"\n  hint: did you mean "plain"?'),
    ("placement of another kernel", "{placement: plain}", "{placement: old}",
     'x.yaml:6:22: placement "old" does not go with profile "linux-6.1": its free lists and '
     "per-CPU lists are those of grouping by mobility\n"
     "  hint: it goes with linux-2.6.14"),
    ("unknown option", "{placement: plain}", "{placement: plain, bost: true}",
     'x.yaml:6:29: unknown key "bost"\n  hint: did you mean "boost"?'),
    ("plug-in by file", "{placement: plain}", "{placement: ./plain.py}",
     'x.yaml:6:22: there is no policy "./plain.py"\n  hint: did you mean "plain"?'),
    ("unknown command line word", "kernelcore=4G", "kernelcores=4G",
     "x.yaml:7:37: kernel command line: expected kernelcore=SIZE, movablecore=SIZE, movable_node "
     'or transparent_hugepage=always|madvise|never, found "kernelcores=4G"'),
    ("mirror", "kernelcore=4G", "kernelcore=mirror",
     'x.yaml:7:37: kernel command line: "kernelcore=mirror" is not in this version'),
    ("command line size", "kernelcore=4G", "kernelcore=4GB",
     'x.yaml:7:37: expected a size such as 4G, 512M or 50%, found "4GB"'),
    ("command line twice", "kernelcore=4G", "movable_node movable_node",
     'x.yaml:7:37: kernel command line: "movable_node" appears twice'),
    ("unknown profile", "  nodes:", "  profile: linux-5.0\n  nodes:",
     'x.yaml:9:12: profile "linux-5.0" is not in this version\n'
     '  hint: did you mean "linux-6.1"?'),
    ("no machine", BASE[BASE.index("machine:"):BASE.index("workloads:")], "machine: {}\n",
     'x.yaml:8:1: the machine has no nodes\n  hint: give "nodes" or "from"'),
    ("machine is a list", BASE[BASE.index("machine:"):BASE.index("workloads:")],
     "machine: []\n", "x.yaml:8:10: machine: expected a mapping, found a list"),
    ("node without memory", "memory: 8GiB}\n  vm", "memory: 0}\n  vm",
     "x.yaml:11:7: node 1 has no memory\n  hint: for example memory: 8GiB"),
    ("duplicate node", "id: 1", "id: 0",
     "x.yaml:11:12: node 0 appears twice\n  hint: this would be node 1"),
    ("gap in nodes", "id: 1", "id: 2",
     "x.yaml:11:12: expected node 1, found 2\n  hint: nodes are numbered 0, 1, 2 ..."),
    ("CPU on two nodes", "cpus: []", "cpus: 7-9", "x.yaml:11:21: CPU 7 is on node 0 already"),
    ("no CPU", "cpus: 0-7", "cpus: []",
     "x.yaml:9:3: no node has a CPU\n  hint: for example cpus: 0-7"),
    ("CPU number", "cpus: []", "cpus: 8192",
     "x.yaml:11:21: CPU 8192 does not exist\n  hint: CPUs are 0 to 8191"),
    ("odd memory", "memory: 8GiB}\n  vm", "memory: 8190MiB}\n  vm",
     "x.yaml:11:33: memory is not a multiple of 4MiB\n  hint: found 8190MiB"),
    ("huge machine", "memory: 8GiB}\n  vm", "memory: 8TiB}\n  vm",
     "x.yaml:9:3: the machine has 8200GiB of memory\n  hint: expected 16MiB to 8160GiB"),
    ("tiny machine", BASE[BASE.index("    - {id: 0"):BASE.index("  vm")],
     "    - {id: 0, cpus: 0, memory: 12MiB}\n    - {id: 1, memory: 0MiB}\n",
     "x.yaml:9:3: the machine has 12MiB of memory\n  hint: expected 16MiB to 8160GiB\n"
     "x.yaml:11:7: node 1 has no memory\n  hint: for example memory: 8GiB"),
    ("DIMM", "memory: 8GiB}\n  vm", "dimms: [{size: 100MiB}]}\n  vm",
     "x.yaml:11:40: a DIMM of 100MiB does not consist of memory blocks\n"
     "  hint: a block has 128MiB"),
    ("DIMM zone", "memory: 8GiB}\n  vm", "dimms: [{size: 1GiB, online: moveable}]}\n  vm",
     'x.yaml:11:54: online: expected "movable", "kernel" or "auto", found "moveable"'),
    ("block size", "  vm:", "  block_size: 96MiB\n  vm:",
     "x.yaml:12:15: block_size: expected a power of two from 128MiB to 2GiB, found 96MiB"),
    ("matrix shape", "  vm:", "  distances: [[10, 20]]\n  vm:",
     "x.yaml:12:14: distances: expected 2 rows of 2 numbers, a row per node"),
    ("matrix diagonal", "  vm:", "  distances: [[11, 20], [20, 10]]\n  vm:",
     "x.yaml:12:16: the distance of node 0 to itself is 10, found 11"),
    ("matrix value", "  vm:", "  distances: [[10, 9], [255, 10]]\n  vm:",
     "x.yaml:12:20: expected a distance from 10 to 254, found 9\n"
     "x.yaml:12:25: expected a distance from 10 to 254, found 255"),
    ("CMA", "  vm:", "  cma: 3MiB\n  vm:",
     "x.yaml:12:8: cma: expected a multiple of 4MiB, at most half of memory, found 3MiB"),
    ("min_free_kbytes", "swappiness: 60", "min_free_kbytes: 16777216",
     "x.yaml:12:25: min_free_kbytes: 16777216 is all memory of the machine"),
    ("capture and nodes", "  nodes:", "  from: .\n  nodes:",
     'x.yaml:10:3: "nodes" is what the capture says\n  hint: leave it out beside "from"'),
    ("live machine", "  nodes:", "  from: /\n  nodes:",
     'x.yaml:9:9: "/" is a live machine, no file that stays\n  '
     "hint: memsim snapshot -o DIR copies what it says of memory"),
    ("unknown workload", "kind: app", "kind: ap",
     'x.yaml:14:14: there is no workload "ap"\n  hint: did you mean "app"?'),
    ("no kind", "kind: app, ", "", 'x.yaml:14:3: missing key "kind"'),
    ("missing knob", "anon: 3GiB, ", "",
     'x.yaml:14:3: missing key "anon"\n  hint: for example anon: 8GiB'),
    ("unknown knob", "nodes: [1]", "node: [1]",
     'x.yaml:14:31: unknown key "node"\n  hint: did you mean "nodes"?'),
    ("node of a workload", "nodes: [1]", "nodes: [3]",
     "x.yaml:14:38: node 3 does not exist\n  hint: nodes are 0 and 1"),
    ("lifetime", "nodes: [1]", "lifetime: {lognormal: {median: 2}}",
     'x.yaml:14:42: missing key "sigma"\n'
     "x.yaml:14:62: expected a duration such as 60s, 80us or 2min, found 2"),
    ("missing file", "kind: app, anon: 3GiB, nodes: [1]", "kind: recorded, trace: no/such.txt",
     'x.yaml:14:31: file "no/such.txt" does not exist'),
    ("event after the end", "every: 5s", "at: 2min",
     "x.yaml:16:10: at: 2min is after the end of the scenario\n  hint: it ends at 1min"),
    ("event that is not repeated", "do: probe, orders: [3, 9]", "do: offline, node: 1",
     'x.yaml:16:5: "every" does not go with offline\n'
     "  hint: known: blocks, name, node, order, timeout"),
    ("removal without memory", "every: 5s, do: probe, orders: [3, 9]", "at: 5s, do: offline",
     'x.yaml:16:5: expected either "node" or "blocks"\n  hint: for example node: 1'),
    ("removal twice", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: offline, node: 1}\n  - {at: 5s, do: offline, node: 1",
     "x.yaml:17:33: node 1 is to be taken offline twice at once: EINVAL\n"
     "  hint: try again at a later time"),
    ("removal of no block", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: offline, blocks: [1, 4096]",
     "x.yaml:16:35: memory block 4096 does not exist\n  hint: memory blocks are 0-23, 32-135"),
    ("removal of a hole", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: offline, blocks: [0]",
     "x.yaml:16:35: memory block 0 has a hole: EINVAL"),
    ("removal of a node and a block of it", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: offline, node: 1}\n  - {at: 5s, do: offline, blocks: [100]",
     "x.yaml:17:35: block 100 is to be taken offline twice at once: EINVAL\n"
     "  hint: try again at a later time"),
    ("block that is online already", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: online, blocks: [2]",
     "x.yaml:16:34: memory block 2 is online already: EINVAL"),
    ("migration to the same node", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: migrate_pages, workload: db, from: [1], to: [1]",
     "x.yaml:16:62: pages are to move to where they are\n  hint: choose another node"),
    ("migration to no node", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: mbind, workload: db, to: [2]",
     "x.yaml:16:43: node 2 does not exist\n  hint: nodes are 0, 1"),
    ("migration of nobody", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: move_pages, workload: dbs, to: [0]",
     'x.yaml:16:40: there is no workload dbs\n  hint: did you mean "db"?'),
    ("mode of 2005", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: migrate_pages, workload: db, from: [1], to: [0], mode: swap",
     'x.yaml:16:73: "mode" is for kernels of 2005, profile "linux-6.1" moves pages directly'),
    ("event without orders", "orders: [3, 9]", "gfp: GFP_KERNEL",
     'x.yaml:16:5: missing key "orders"\n  hint: for example orders: [3, 9]'),
    ("key of another event", "every: 5s, do: probe, orders: [3, 9]",
     "at: 5s, do: compact_memory, hold: true",
     'x.yaml:16:5: "hold" does not go with compact_memory\n  hint: known: every, until'),
    ("phase without an instant", "do: probe", "do: high_alloc", 'x.yaml:16:5: expected "at"'),
    ("phase that does not end", "every: 5s, do: probe, orders: [3, 9]",
     "at: 50s, do: high_alloc, orders: [3], attempts: 60, passes: 2",
     "x.yaml:16:5: the phase ends at 62s, after the end of the scenario\n  hint: it ends at 1min"),
    ("attempts for all of memory", "orders: [3, 9]", "orders: [3, 9], attempts: auto",
     'x.yaml:16:5: "attempts: auto" goes with high_alloc'),
    ("unknown event", "do: probe", "do: prob",
     'x.yaml:16:21: there is no event "prob"\n  hint: did you mean "probe"?'),
    ("event without time", "every: 5s, ", "", 'x.yaml:16:5: expected either "at" or "every"'),
    ("event at and every", "every: 5s", "at: 1s, every: 5s",
     'x.yaml:16:5: expected either "at" or "every"'),
    ("event bomb", "every: 5s", "every: 1ns",
     "x.yaml:16:13: the event would happen more than 1000000 times"),
    ("attempts bomb", "orders: [3, 9]", "orders: [3, 9], attempts: 1000000",
     "x.yaml:16:5: the event would make 24000000 attempts, 10000000 is the most\n"
     "  hint: take fewer attempts, orders or instants"),
    ("no node", "nodes: [1]", "nodes: []",
     "x.yaml:14:38: expected at least one node, found none"),
    ("name of another folder", "name: base", "name: ..",
     "x.yaml:2:7: name: expected text that matches ^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$, "
     'found ".."'),
    ("event order", "[3, 9]", "[3, 11]", "x.yaml:16:36: expected orders from 0 to 10, found 11"),
    ("event node", "[3, 9]", "[3, 9], node: 3",
     "x.yaml:16:50: node 3 does not exist\n  hint: nodes are 0 and 1"),
    ("gfp", "[3, 9]", "3, gfp: GFP_KERNL",
     'x.yaml:16:44: there is no gfp flag "GFP_KERNL"\n  hint: did you mean "GFP_KERNEL"?'),
    ("metric", "fallback.events", "fallback.event",
     'x.yaml:17:10: there is no metric "fallback.event"\n  hint: did you mean "fallback.events"?'),
    ("metric unit", "<= 100", "<= 100MiB",
     'x.yaml:17:10: metric "fallback.events" is not in bytes\n  hint: its unit is 1'),
    ("expectation of no policy", "<= 100", "<= 100 for zon",
     'x.yaml:17:10: there is no policy "zon"\n  hint: did you mean "zone"?'),
    ("axis of no policy", "expect:", "axes: {policies.zon.cmdline: [x]}\nexpect:",
     'x.yaml:17:8: there is no policy "zon"\n  hint: did you mean "zone"?'),
    ("axis beyond a list", "expect:", "axes: {machine.nodes.2.memory: [1GiB]}\nexpect:",
     'x.yaml:17:8: machine.nodes has 2 items, no item "2"'),
    ("axis below a value", "expect:", "axes: {duration.x: [1GiB]}\nexpect:",
     'x.yaml:17:8: duration is "60s", which has no "x"'),
    ("axis of seeds", "expect:", "axes: {seeds: [1]}\nexpect:",
     'x.yaml:17:8: "seeds" cannot be an axis\n'
     "  hint: axes lie in duration, events, machine, policies, workloads"),
    ("axis value", "expect:", "axes: {machine.nodes.1.memory: [1GiB, 3MiB, 1GB]}\nexpect:",
     "x.yaml:17:39: memory is not a multiple of 4MiB\n  hint: found 3MiB\n"
     'x.yaml:17:45: expected a size such as 8GiB, 512MiB or 4096, found "1GB"'),
    ("axis value elsewhere", "expect:", "axes: {duration: [60s, 1s]}\nexpect:",
     "x.yaml:17:24: every: 5s is after the end of the scenario\n  hint: it ends at 1s"),
    ("axis value twice", "expect:", "axes: {duration: [60s, 60s]}\nexpect:",
     "x.yaml:17:24: 60s appears twice"),
    ("point", "expect:",
     "axes: {machine.nodes.1.memory: [8GiB, 4MiB], machine.nodes.0.memory: [8GiB, 8MiB]}\nexpect:",
     "x.yaml:17:1: with machine.nodes.1.memory = 4MiB, machine.nodes.0.memory = 8MiB: "
     "the machine has 12MiB of memory\n  hint: expected 16MiB to 8160GiB"),
    ("too many trials", "seeds: 1..3", "seeds: 0..999999",
     "x.yaml:4:8: 2000000 trials are more than 1000000\n  hint: take fewer seeds"),
    ("control characters", "name: base", 'name: "a\\e[31m\\n"',
     "x.yaml:2:7: name: expected text that matches ^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$, "
     'found "a\\x1b[31m\\n"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "complaint"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
def test_mistakes(old, new, complaint):
    assert BASE.count(old) >= 1
    assert complaints(BASE.replace(old, new, 1)) == complaint


YAML_CASES = [
    ("empty", "", "x.yaml:1:1: expected a mapping, found an empty file\n"
     "  hint: memsim new writes a commented scenario to begin with"),
    ("comment only", "# nothing\n", "x.yaml:1:1: expected a mapping, found an empty file\n"
     "  hint: memsim new writes a commented scenario to begin with"),
    ("a list", "- 1\n", "x.yaml:1:1: expected a mapping, found a list\n"
     "  hint: memsim new writes a commented scenario to begin with"),
    ("a word", "hello\n", 'x.yaml:1:1: expected a mapping, found "hello"\n'
     "  hint: memsim new writes a commented scenario to begin with"),
    ("duplicate key", "a: 1\nb: 2\na: 3\n",
     'x.yaml:3:1: key "a" appears twice\n  hint: the first one is in line 1'),
    ("duplicate below", "a:\n  b: 1\n  b: 2\n",
     'x.yaml:3:3: key "b" appears twice\n  hint: the first one is in line 2'),
    ("anchor and alias", "a: &x [1]\nb: *x\n",
     "x.yaml:1:4: anchors are not allowed\n  hint: write the value out\n"
     "x.yaml:2:4: aliases are not allowed\n  hint: write the value out"),
    ("merge key", "a:\n  <<: {b: 1}\n",
     "x.yaml:2:3: merge keys are not allowed\n  hint: write the keys out"),
    ("tag", "a: !!python/object:os.system x\n",
     'x.yaml:1:4: tags are not allowed, found "tag:yaml.org,2002:python/object:os.system"\n'
     "  hint: leave it out"),
    ("two documents", "a: 1\n---\nb: 2\n",
     "x.yaml:2:1: a scenario file holds one document, found a second"),
    ("tab", "a:\n\tb: 1\n",
     "x.yaml:2:1: this is not YAML: while scanning for the next token found character '\\t' that "
     "cannot start any token\n  hint: indent with spaces, and put text that begins with a special "
     "character in quotes"),
    ("open bracket", "a: [1, 2\nb: 3\n",
     "x.yaml:2:2: this is not YAML: while parsing a flow sequence expected ',' or ']', "
     "but got ':'"),
    ("colon in text", "a: b: c\n",
     "x.yaml:1:5: this is not YAML: mapping values are not allowed here\n"
     '  hint: put text that contains ": " in quotes'),
    ("NUL", "a: 1\nb: \0\n", "x.yaml:2:4: character U+0000 is not allowed in YAML"),
    ("list as key", "? [a]\n: 1\n", "x.yaml:1:3: a key must be a word, found a list or a mapping"),
    ("half a surrogate", 'a: "\\ud800"\n', "x.yaml:1:4: text is not valid Unicode"),
    ("no such character", 'a: "\\UFFFFFFFF"\n', None),
    ("too deep", "a: " + "[" * 20 + "]" * 20 + "\n", "x.yaml:1:19: nested more than 16 deep"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"), [pytest.param(*case[1:], id=case[0]) for case in YAML_CASES]
)
def test_yaml_traps(text, complaint):
    found = complaints(text)
    if complaint is None:
        assert found.startswith("x.yaml:1:1: this is not YAML: ")
    else:
        assert found == complaint


def test_words_keep_their_meaning():
    text = "[yes, no, on, 12:30, 010, 1_000, 0x10, 2005-11-16, 1e3, -5, true, null, .inf, '7']"
    words = ["yes", "no", "on", "12:30", "010", "1_000", "0x10", "2005-11-16"]
    assert read_yaml(text, "x").data == [*words, 1000.0, -5, True, None, ".inf", "7"]


def test_all_problems_are_reported_sorted():
    text = BASE.replace("seeds: 1..3", "sede: 1").replace("kind: app", "kind: ap")
    text = text.replace("id: 1", "id: 7").replace("9]", "99]")
    found = complaints(text).splitlines()
    assert [line.split(": ")[0] for line in found if not line.startswith(" ")] == [
        "x.yaml:4:1", "x.yaml:11:12", "x.yaml:14:14", "x.yaml:16:36",
    ]  # fmt: skip


def test_set_changes_a_value_before_it_is_checked():
    scenario = load(BASE, sets=["workloads.db.anon=1GiB", "machine.nodes.1.cpus=[8, 9]"])
    assert scenario.workloads["db"].params["anon"] == "1GiB"
    assert scenario.machine.nodes[1].cpus == (8, 9)
    assert scenario.overrides == ("workloads.db.anon=1GiB", "machine.nodes.1.cpus=[8, 9]")


def test_set_can_make_a_mapping():
    assert load(BASE, sets=["machine.costs.page_copy=1us"]).machine.costs.page_copy == 1000


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"sets": ["workloads.db.anon=1GB"]},
         "--set workloads.db.anon: expected a size such as 8GiB, 512MiB or 4096, found \"1GB\""),
        ({"sets": ["workloads.bd.anon=1GiB"]},
         '--set workloads.bd.anon: there is no workload "bd"\n  hint: known: db'),
        ({"sets": ["workloads.db.anno=1GiB"]},
         '--set workloads.db.anno: unknown key "anno"\n  hint: did you mean "anon"?'),
        ({"sets": ["duration"]}, '--set duration: expected path=value, found "duration"'),
        ({"sets": ["duration=[1"]},
         "--set duration: this is not YAML: while parsing a flow sequence expected ',' or ']', "
         "but got '<stream end>'"),
        ({"seeds": "x"},
         '--seeds: expected whole numbers such as 0-7, 1..10 or [1, 2], found "x"'),
        ({"policies": ["zon"]}, '--policy: there is no policy "zon"\n  hint: did you mean "zone"?'),
    ],
)  # fmt: skip
def test_mistakes_in_options(options, complaint):
    assert complaints(BASE, **options) == complaint


def test_policies_and_seeds_can_be_chosen():
    scenario = load(BASE, policies=["zone"], seeds="5-6")
    assert [(trial.policy, trial.seed) for trial in scenario.trials()] == [("zone", 5), ("zone", 6)]


def test_files_are_hashed_and_relative_to_the_scenario(tmp_path):
    text = BASE.replace("kind: app, anon: 3GiB, nodes: [1]", "kind: recorded, trace: t.txt")
    (tmp_path / "s.yaml").write_text(text)
    (tmp_path / "t.txt").write_text("one")
    first = load_scenario(tmp_path / "s.yaml")
    (tmp_path / "t.txt").write_text("two")
    second = load_scenario(tmp_path / "s.yaml")
    assert [name for name, _ in first.inputs] == ["t.txt"]
    assert first.directory == str(tmp_path)
    assert next(first.trials()).name != next(second.trials()).name


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"a: 1\nb: \xff\n", ":2:4: byte 0xff is not UTF-8\n"
                     "  hint: save the file as UTF-8", id="not UTF-8"),
        pytest.param("a: 1".encode("utf-16"), ":1:1: byte 0xff is not UTF-8\n"
                     "  hint: save the file as UTF-8", id="UTF-16"),
        pytest.param(b" " * (MAX_BYTES + 1), ": is larger than 1048576 bytes", id="too large"),
    ],
)  # fmt: skip
def test_files_that_are_not_text(tmp_path, content, complaint):
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_scenario(file)
    assert str(error.value) == f"{file}{complaint}"


def test_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load_scenario(tmp_path / "s.yaml").name == "base"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"s\.yaml: cannot be read: No such file or directory$"):
        load_scenario(tmp_path / "s.yaml")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory$"):
        load_scenario(tmp_path)


def test_scenarios_are_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "first-look.yaml").write_text(BASE)
    monkeypatch.setattr("memsim.load.scenario_folders", lambda: (tmp_path,))
    assert find_scenario("first-look") == tmp_path / "first-look.yaml"
    assert find_scenario("other.yaml") == Path("other.yaml")
    with pytest.raises(InputError) as error:
        find_scenario("first-lok")
    assert str(error.value) == (
        'first-lok: there is no such scenario\n  hint: did you mean "first-look"?'
    )


@pytest.mark.parametrize("name", ["", "x" * 5000, "x\0y"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(InputError, match="there is no such scenario"):
        find_scenario(name)
