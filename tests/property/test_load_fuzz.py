"""Whatever the file, loading it ends in a scenario or in problems with places, never otherwise."""

import random

import pytest
from fake_plugins import fake_plugins
from hypothesis import example, given
from hypothesis import strategies as st

from memsim.errors import InputError
from memsim.load import load_scenario, load_text
from memsim.scenario import Scenario

TEXT = """\
memsim: 1
name: base
title: A title
duration: 60s
seeds: 1..3
policies:
  plain: {placement: plain, boost: true}
  zone: {placement: plain, cmdline: kernelcore=4G movable_node}
machine:
  profile: linux-6.1
  nodes:
    - {id: 0, cpus: 0-7, memory: 8GiB}
    - {id: 1, cpus: [], memory: 8GiB, dimms: [{size: 1GiB, online: movable}]}
  distances: [[10, 21], [21, 10]]
  swap: {size: 4GiB}
  vm: {swappiness: 60, min_free_kbytes: auto}
workloads:
  db: {kind: app, anon: 3GiB, nodes: [1], lifetime: {lognormal: {median: 2s, sigma: 1.5}}}
events:
  - {every: 5s, do: probe, orders: [3, 9], gfp: GFP_KERNEL|__GFP_NORETRY, until: 20s}
axes:
  policies.zone.cmdline: [kernelcore=2G, "kernelcore=50%"]
  machine.nodes.1.memory: [1GiB, 2GiB]
expect: ["fallback.events <= 100 in 95% of seeds for zone"]
"""
LINES = TEXT.splitlines(keepends=True)
PIECES = [
    *("{", "}", "[", "]", ": ", "- ", "&a ", "*a", "!!x ", "<<", "\t", "\n", "  ", '"', "'", "|"),
    *("? ", "#", "%", "---\n", "...\n", "\\u", "\x00", "\x85", "\ud800", "1e999", "0x", ".", ".."),
    *("-", ",", "null", "true", "~", "9" * 30, "9" * 5000),
]


@pytest.fixture(autouse=True, scope="module")
def _plugins():
    with fake_plugins():
        yield


def outcome(load):
    """Load and return the problems, none if it went well; anything else fails the test."""
    try:
        assert isinstance(load(), Scenario)
    except InputError as error:
        assert error.problems
        assert all(len(str(problem).splitlines()) <= 2 for problem in error.problems)
        assert all(str(problem).isprintable() or problem.hint for problem in error.problems)
        return error.problems
    return []


def test_the_text_to_mutate_is_valid():
    assert outcome(lambda: load_text(TEXT, "x.yaml", ".")) == []


@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 9), st.sampled_from(PIECES)),
                min_size=1, max_size=4))  # fmt: skip
@example([(0, 0, "? ")])
@example([(0, 0, '"\\UFFFFFFFF')])
@example([(0, 0, "%YAML 9" + "9" * 5000 + ".1\n---\n")])
def test_changed_text(edits):
    text = TEXT
    for at, length, piece in edits:
        text = text[:at] + piece + text[at + length :]
    outcome(lambda: load_text(text, "x.yaml", "."))


@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(0, 255)), max_size=5))
def test_changed_bytes(tmp_path_factory, edits):
    content = bytearray(TEXT.encode())
    for at, byte in edits:
        content[at] = byte
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(content)
    outcome(lambda: load_scenario(file))


@given(st.randoms(use_true_random=False), st.integers(1, 3))
def test_changed_lines(rng: random.Random, edits):
    lines = list(LINES)
    for _ in range(edits):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(3):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at] = "  " * rng.randrange(4) + lines[other].lstrip()
    outcome(lambda: load_text("".join(lines), "x.yaml", "."))


VALUES = st.recursive(
    st.sampled_from(
        ["", "x", "-1", "0", "1", "8GiB", "60s", "true", "1.5", '"1"', "1e30", "50%", "0..3", "."]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["id", "kind", "at", "size", "x"]), inner, max_size=3).map(
            lambda items: "{" + ", ".join(f"{k}: {v}" for k, v in items.items()) + "}"
        ),
    ),
    max_leaves=5,
)
PATHS = st.sampled_from(
    [
        *("memsim", "name", "title", "duration", "seeds", "axes", "axes.duration"),
        *("expect", "expect.0", "policies"),
        *(f"policies.zone{key}" for key in ("", ".cmdline", ".placement", ".profile", ".x")),
        *("machine", "machine.distances", "machine.distances.0", "machine.swap", "machine.vm"),
        *("machine.vm.min_free_kbytes", "machine.vm.lowmem_reserve_ratio", "machine.cma"),
        *("machine.costs", "machine.from", "machine.block_size", "machine.x", "machine.nodes"),
        *(f"machine.nodes.1{key}" for key in ("", ".id", ".cpus", ".memory", ".dimms")),
        *("machine.nodes.1.dimms.0.size", "workloads", "workloads.db", "workloads.db.kind"),
        *("workloads.db.nodes", "workloads.db.lifetime", "workloads.db.lifetime.uniform"),
        *("events", "events.0", "events.0.do", "events.0.at", "events.0.every", "events.0.until"),
        *("events.0.orders", "events.0.gfp", "events.0.node"),
    ]
)


@given(st.dictionaries(PATHS, VALUES, min_size=1, max_size=4))
def test_changed_structure(values):
    sets = [f"{path}={value}" for path, value in values.items()]
    outcome(lambda: load_text(TEXT, "x.yaml", ".", sets=sets))
