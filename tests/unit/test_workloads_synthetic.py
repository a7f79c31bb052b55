"""Rates, totals and shares of the synthetic workloads."""

import numpy as np
import pytest
from pydantic import ValidationError
from workload_runs import SECOND, carry_out, plan, small_memory, together, uses

from memsim.errors import TrialError
from memsim.memory.requests import gfp_zone_2005
from memsim.mm import (
    OP_COLD,
    OP_FREE,
    Gfp,
    Status,
    Use,
    ZoneType,
    ZoneType2005,
    gfp_zone,
)
from memsim.plugins import model_of

MIB_PAGES = 256


def allocs(events):
    return events.op < OP_FREE


def test_process_asks_for_every_page_and_its_page_tables():
    stream, events = plan("process", {"anon": "4GiB"})
    tables = 2048 + 4 + 1
    assert uses(stream, events) == {
        ("ANON", 0): 4096 * MIB_PAGES,
        ("PAGE_TABLE", 0): tables,
        ("PAGE_TABLE", 1): 1,
    }
    assert stream.handles == 4096 * MIB_PAGES + tables + 1
    anon = next(r for r in stream.requests if r.use == Use.ANON)
    table = next(r for r in stream.requests if r.use == Use.PAGE_TABLE)
    assert anon.lru and anon.gfp & Gfp.MOVABLE and not table.gfp & Gfp.MOVABLE


def test_a_page_table_comes_before_the_first_page_that_it_maps():
    stream, events = plan("process", {"anon": "8MiB"})
    use = np.array([r.use for r in stream.requests])[events.request]
    order = np.argsort(events.time, kind="stable")
    tables = np.flatnonzero(use[order] == Use.PAGE_TABLE)
    pages_before = [int((use[order][:t] == Use.ANON).sum()) for t in tables]
    assert pages_before == [0, 0, 0, 0, 512, 1024, 1536]


def test_process_grows_at_an_even_rate():
    _, events = plan("process", {"anon": "64MiB", "start": "1s", "grow": "4s"})
    per_second = np.bincount(events.time // SECOND, minlength=10)
    assert per_second[0] == 0 and per_second[5:].sum() == 0
    assert per_second[1:5] == pytest.approx(64 * MIB_PAGES / 4, rel=0.01)


def test_process_frees_all_at_exit_pages_before_tables():
    stream, events = plan("process", {"anon": "64MiB", "exit": "5s"})
    gone = events.time[~allocs(events)]
    assert allocs(events).sum() == len(gone) == stream.handles
    assert gone[0] == 5 * SECOND and 0 < gone[-1] - gone[0] < SECOND // 10
    assert events.op[-1] == OP_FREE | 1
    freed = events.handle[~allocs(events)]
    np.testing.assert_array_equal(freed, np.arange(stream.handles))


def test_a_process_that_exits_while_it_grows_touches_no_more():
    stream, events = plan("process", {"anon": "64MiB", "grow": "8s", "exit": "2s"})
    assert uses(stream, events)["ANON", 0] == 64 * MIB_PAGES // 4
    assert (~allocs(events)).sum() == allocs(events).sum()


def test_huge_pages_stand_for_512_and_keep_one_table():
    stream, events = plan("process", {"anon": "512MiB", "thp": "50%"})
    count = uses(stream, events)
    assert count["ANON", 0] + 512 * count["ANON", 9] == 512 * MIB_PAGES
    assert 90 < count["ANON", 9] < 166
    assert count["PAGE_TABLE", 0] == 256 + 1 + 1
    whole = uses(*plan("process", {"anon": "3MiB", "thp": "100%"}))
    assert (whole["ANON", 9], whole["ANON", 0]) == (1, 256)


def test_many_short_processes_live_as_long_as_they_should():
    knobs = {
        "anon": "64KiB",
        "count": 2000,
        "spread": "5s",
        "grow": "1ms",
        "lifetime": {"exponential": {"mean": "200ms"}},
    }
    _, events = plan("process", knobs)
    pgd = events.op % OP_FREE == 1
    born, died = events.time[pgd & allocs(events)], events.time[pgd & ~allocs(events)]
    assert len(born) == 2000 and born.max() < 5 * SECOND
    assert (died.sum() - born.sum()) / 2000 == pytest.approx(0.2 * SECOND, rel=0.1)


@pytest.mark.parametrize(
    ("mem", "nodes", "preferred", "tables"),
    [
        ({}, {None}, {0, 1}, {0, 1}),
        ({"bind": [2]}, {(2,)}, {0, 1}, {2}),
        ({"bind": [1, 2]}, {(1, 2)}, {0, 1}, {1}),
        ({"preferred": 2}, {None}, {2}, {2}),
        ({"interleave": [0, 2]}, {None}, {0, 2}, {0, 2}),
    ],
    ids=["local", "bind", "bind-near", "preferred", "interleave"],
)
def test_memory_policies(mem, nodes, preferred, tables):
    stream, events = plan("process", {"anon": "16MiB", "mem": mem})
    asked = {stream.requests[r] for r in np.unique(events.request[allocs(events)])}
    anon = [r for r in asked if r.use == Use.ANON]
    assert {r.nodes for r in anon} == nodes
    assert {r.preferred for r in anon} == preferred
    assert {r.preferred for r in asked if r.use == Use.PAGE_TABLE} == tables


def test_interleave_takes_the_nodes_in_turn():
    stream, events = plan("process", {"anon": "16MiB", "mem": {"interleave": [0, 1, 2]}})
    anon = [stream.requests[r] for r in events.request]
    nodes = [r.preferred for r in anon if r.use == Use.ANON]
    assert nodes[:7] == [0, 1, 2, 0, 1, 2, 0]


def test_a_process_runs_on_its_nodes():
    _, events = plan("process", {"anon": "16MiB", "nodes": [1]})
    assert set(np.unique(events.cpu)) == {2, 3}


def test_page_cache_fills_then_replaces_the_oldest():
    knobs = {"size": "4MiB", "grow": "2s", "churn": "1MiB/s"}
    stream, events = plan("page_cache", knobs)
    filling = events.time < 2 * SECOND
    assert filling.sum() == stream.handles == 4 * MIB_PAGES
    assert allocs(events)[filling].all()
    churn = allocs(events)[~filling]
    assert churn.sum() == (~churn).sum() == 8 * MIB_PAGES
    freed = events.handle[~allocs(events)]
    np.testing.assert_array_equal(freed, np.arange(8 * MIB_PAGES) % (4 * MIB_PAGES))
    live = np.cumsum(np.where(allocs(events), 1, -1))[filling.sum() :]
    assert live.min() >= 4 * MIB_PAGES - 32 and live.max() == 4 * MIB_PAGES


def test_deleted_files_leave_nothing():
    knobs = {"size": "2MiB", "churn": "1MiB/s", "replace": "random", "drop": "6s"}
    _, events = plan("page_cache", knobs)
    last = events.handle[events.time >= 6 * SECOND]
    np.testing.assert_array_equal(last, np.arange(2 * MIB_PAGES))
    assert allocs(events).sum() == (~allocs(events)).sum() == (2 + 5) * MIB_PAGES
    assert events.time[-1] < 6 * SECOND + SECOND // 100


def test_random_replacement_reaches_all_pages_and_dirties_a_share():
    knobs = {"size": "1MiB", "churn": "2MiB/s", "replace": "random", "dirty": "25%"}
    stream, events = plan("page_cache", knobs)
    freed = events.handle[~allocs(events)]
    assert len(np.unique(freed)) == MIB_PAGES
    assert not np.array_equal(freed, np.arange(len(freed)) % MIB_PAGES)
    written = [bool(stream.requests[r].gfp & Gfp.WRITE) for r in events.request[allocs(events)]]
    assert np.mean(written) == pytest.approx(0.25, abs=0.02)


def test_buffers_are_movable_in_directly_mapped_memory_and_dropped_cold():
    knobs = {"size": "4MiB", "grow": "2s", "churn": "1MiB/s"}
    stream, events = plan("buffers", {**knobs, "lifetime": {"constant": "500ms"}})
    assert uses(stream, events) == {("BUFFERS", 0): (4 + 8) * MIB_PAGES}
    for request in stream.requests:
        assert request.lru and request.gfp & Gfp.MOVABLE and request.gfp & Gfp.EASYRCLM
        assert not request.gfp & Gfp.HIGHMEM
        assert gfp_zone(request.gfp) == ZoneType.NORMAL
        assert gfp_zone_2005(request) == ZoneType2005.NORMAL
    assert allocs(events)[events.time < 2 * SECOND].all()
    dropped = events.handle[~allocs(events)]
    assert len(dropped) == pytest.approx(7.5 * MIB_PAGES, rel=0.01)
    assert dropped.min() == 4 * MIB_PAGES and len(np.unique(dropped)) == len(dropped)
    assert set(events.op[~allocs(events)].tolist()) == {OP_FREE | OP_COLD}


def test_an_unmounted_file_system_leaves_nothing():
    knobs = {"size": "2MiB", "churn": "1MiB/s", "drop": "6s", "lifetime": {"constant": "3s"}}
    stream, events = plan("buffers", knobs)
    assert allocs(events).sum() == (~allocs(events)).sum() == (2 + 5) * MIB_PAGES == stream.handles
    at_once = events.handle[events.time >= 6 * SECOND]
    assert len(at_once) == pytest.approx((2 + 3) * MIB_PAGES, rel=0.01)
    assert events.time[-1] < 6 * SECOND + SECOND // 100


def test_page_cache_gives_back_cold_pages_and_exit_hot_ones():
    knobs = {"size": "1MiB", "grow": "1s", "churn": "1MiB/s"}
    for kind, cold in [("page_cache", OP_COLD), ("process", 0)]:
        _, events = plan(kind, knobs if cold else {"anon": "1MiB", "exit": "5s"})
        assert {op & OP_COLD for op in events.op[~allocs(events)].tolist()} == {cold}


def test_arguments_are_taken_at_exec_and_freed_at_exit():
    knobs = {"anon": "64KiB", "count": 20, "spread": "1s", "grow": "1ms", "exit": "5s"}
    stream, events = plan("process", {**knobs, "arguments": 2})
    assert uses(stream, events)["EXEC", 0] == 20 * 2
    assert allocs(events).sum() == (~allocs(events)).sum() == stream.handles
    use = np.array([r.use for r in stream.requests])[events.request]
    execs = np.flatnonzero(allocs(events) & (use == Use.EXEC))
    forks = np.flatnonzero(events.op == 1)
    np.testing.assert_array_equal(events.time[execs], np.repeat(events.time[forks], 2))
    without = plan("process", knobs)[1]
    assert len(without.time) == len(events.time) - 2 * 20 * 2


def test_slab_rate_orders_and_types():
    knobs = {"rate": "20000/s", "reclaimable": "60%", "orders": ["70%", "30%"]}
    stream, events = plan("slab", {**knobs, "lifetime": {"forever": True}})
    assert allocs(events).all() and len(events.time) == 200_000 == stream.handles
    assert np.bincount(events.time // SECOND) == pytest.approx(20_000, rel=0.001)
    count = uses(stream, events)
    assert sum(n for (_, order), n in count.items() if order == 1) == pytest.approx(
        60_000, rel=0.02
    )
    for use in ("INODE", "DENTRY"):
        assert count[use, 0] == pytest.approx(0.3 * 140_000, rel=0.02)
    gfps = {r.use: r.gfp for r in stream.requests}
    assert gfps[Use.INODE] & gfps[Use.DENTRY] & Gfp.RECLAIMABLE
    assert not gfps[Use.SLAB] & Gfp.RECLAIMABLE


def test_slabs_are_taken_from_their_start_to_their_stop():
    knobs = {"rate": "1000/s", "start": "3s", "stop": "5s", "lifetime": {"constant": "1s"}}
    stream, events = plan("slab", knobs)
    born, died = events.time[allocs(events)], events.time[~allocs(events)]
    assert len(born) == len(died) == stream.handles == 2000
    assert 3 * SECOND <= born.min() < 3.01 * SECOND
    assert 4.99 * SECOND < born.max() < 5 * SECOND
    assert died.max() == born.max() + SECOND


@pytest.mark.parametrize(
    ("lifetime", "mean"),
    [
        ({"constant": "500ms"}, 0.5),
        ({"exponential": {"mean": "500ms"}}, 0.5),
        ({"uniform": {"min": "200ms", "max": "600ms"}}, 0.4),
        ({"lognormal": {"median": "200ms", "sigma": 0.5}}, 0.2 * np.exp(0.125)),
    ],
    ids=["constant", "exponential", "uniform", "lognormal"],
)
def test_slabs_live_as_long_as_their_distribution_says(lifetime, mean):
    knobs = {"rate": "2000/s", "lifetime": lifetime}
    stream, events = plan("slab", knobs, duration=20 * SECOND)
    died = np.full(stream.handles, -1)
    died[events.handle[~allocs(events)]] = events.time[~allocs(events)]
    born = np.empty(stream.handles)
    born[events.handle[allocs(events)]] = events.time[allocs(events)]
    early = born < 10 * SECOND
    assert (died[early] > born[early]).all()
    assert (died - born)[early].mean() == pytest.approx(mean * SECOND, rel=0.05)


def test_slab_asks_for_the_memory_of_a_node_without_cpus():
    stream, events = plan("slab", {"nodes": [0, 2]})
    asked = {stream.requests[r].preferred for r in np.unique(events.request[allocs(events)])}
    assert asked == {0, 2} and set(np.unique(events.cpu)) == {0, 1}


def test_probes_are_given_back_at_once_unless_held():
    knobs = {"orders": [3, 9], "attempts": 20, "every": "2s"}
    stream, events = plan("high_order", knobs)
    assert stream.observe and stream.handles == 1
    assert events.op[:4].tolist() == [3, OP_FREE | 3, 9, OP_FREE | 9]
    assert allocs(events).sum() == (~allocs(events)).sum() == 2 * 20 * 5
    held, kept = plan("high_order", {**knobs, "hold": True})
    assert allocs(kept).all() and held.handles == len(kept.time) == 200
    assert np.bincount(kept.time // (2 * SECOND)).tolist() == [40] * 5


def test_workloads_interleave():
    parts = [
        plan("process", {"anon": "64MiB", "grow": "10s"}, seed=1)[1],
        plan("slab", {"rate": "1000/s"}, seed=2)[1],
        plan("page_cache", {"size": "16MiB", "grow": "5s"}, seed=3)[1],
        plan("high_order", {"attempts": 100}, seed=4)[1],
    ]
    who = np.repeat(np.arange(4), [len(part.time) for part in parts])
    who = who[np.argsort(together(parts).time, kind="stable")]
    runs = np.diff(np.flatnonzero(np.concatenate([[True], np.diff(who) != 0, [True]])))
    assert runs.max() < 100
    assert runs.mean() < 5


def test_slab_allocations_and_frees_interleave():
    _, events = plan("slab", {"rate": "5000/s", "lifetime": {"exponential": {"mean": "100ms"}}})
    settled = allocs(events)[events.time > SECOND]
    changes = np.flatnonzero(np.diff(settled))
    assert np.diff(changes).max() < 64


@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        ("process", {"exit": "1s", "start": "2s"}),
        ("process", {"mem": {"bind": [0], "preferred": 1}}),
        ("process", {"mem": {"bind": []}}),
        ("process", {"touch": {"move_at": "1s"}}),
        ("process", {"pinned": {"share": "1%", "term": "forever"}}),
        ("process", {"count": 0}),
        ("slab", {"orders": ["50%", "20%"]}),
        ("slab", {"orders": ["20%"] * 5}),
        ("slab", {"rate": "fast"}),
        ("slab", {"lifetime": {"uniform": {"min": "2s", "max": "1s"}}}),
        ("slab", {"lifetime": {"lognormal": {"median": "1s", "sigma": float("nan")}}}),
        ("slab", {"lifetime": {"lognormal": {"median": "1s", "sigma": -1.0}}}),
        ("high_order", {"orders": [13]}),
        ("high_order", {"orders": []}),
        ("high_order", {"every": "0"}),
        ("high_order", {"gfp": "GFP_NONSENSE"}),
        ("page_cache", {"replace": "lru"}),
        ("page_cache", {"grow": "2s", "drop": "1s"}),
        ("buffers", {"grow": "2s", "drop": "1s"}),
        ("replay", {}),
        ("replay", {"trace": "x", "from": "2s", "until": "1s"}),
    ],
    ids=str,
)
def test_knobs_that_make_no_sense_are_refused(kind, knobs):
    with pytest.raises(ValidationError):
        model_of("workloads", kind).model_validate(knobs)


@pytest.mark.parametrize(
    ("kind", "knobs", "said"),
    [
        ("slab", {"rate": "1000000000/s"}, "asks for memory"),
        ("process", {"anon": "16TiB", "grow": "1s"}, "asks for memory"),
        ("process", {"nodes": [7]}, "node 7 does not exist"),
        ("high_order", {"attempts": 1_000_000}, "1000000 is the most"),
    ],
)
def test_what_cannot_be_simulated_is_a_failed_trial(kind, knobs, said):
    with pytest.raises(TrialError, match=said):
        plan(kind, knobs)


@pytest.mark.parametrize("kind", ["process", "slab", "page_cache", "buffers", "high_order"])
def test_an_empty_workload_plans_nothing_or_little(kind):
    none = {
        "process": {"anon": "0"},
        "slab": {"rate": "0"},
        "page_cache": {"size": "0"},
        "buffers": {"size": "0", "churn": "0"},
        "high_order": {"every": "1h", "attempts": 1},
    }
    stream, events = plan(kind, none[kind])
    assert len(events.time) == stream.handles == (1 if kind == "process" else 0)


def test_all_of_it_on_a_small_machine():
    memory = small_memory()
    free = memory.vmstat()["nr_free_pages"]
    knobs = {"anon": "32MiB", "exit": "5s", "thp": "25%", "nodes": [0, 1]}
    stream, events = plan("process", knobs)
    status = carry_out(memory, stream, [events])
    assert set(status.tolist()) == {Status.OK, Status.FREED}
    vmstat = memory.vmstat()
    assert vmstat["pgalloc_normal"] == vmstat["pgfree"] == 32 * MIB_PAGES + 16 + 1 + 1 + 2
    memory.drain_all()
    assert memory.vmstat()["nr_free_pages"] == free
