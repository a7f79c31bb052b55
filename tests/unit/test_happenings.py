"""Events that move pages and take memory away, and what tables, metrics and explanations say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from trials import small

from memsim.errors import InputError
from memsim.explain.migrations import as_json, as_markdown, explain_migration
from memsim.explain.removal_text import as_markdown as removals_as_markdown
from memsim.explain.removals import explain_removals
from memsim.explain.unplug import Asked, plan_unplug
from memsim.explain.unplug_text import as_markdown as plan_as_markdown
from memsim.mm import WhyStayed
from memsim.simulate import simulate
from memsim.simulate.retrace import owners, retrace

TEXT = """
memsim: 1
name: happenings
duration: 400ms
seeds: 1
policies: {mobility: {placement: mobility}}
machine:
  profile: linux-6.1
  nodes:
    - {id: 0, cpus: 0-1, memory: 512MiB}
    - {id: 1, cpus: 2-3, memory: 384MiB}
  block_size: 128MiB
workloads:
  db:   {kind: process, anon: 16MiB, grow: 50ms, nodes: [1], PINS
         touch: {rate: 20000/s, zipf: 0.8, move_at: 150ms, move_to: [0]}}
  kern: {kind: slab, nodes: [1], rate: 2000/s, reclaimable: 0%, lifetime: {exponential: {mean: 1s}}}
events:
  - {at: 250ms, do: migrate_pages, name: move, workload: db, from: [1], to: [0]}
  - {at: 300ms, do: offline, name: unplug, node: 1, order: high-to-low, timeout: 10ms}
"""


def trial(old="", new="", pins="pinned: {share: 5%, term: short},"):
    text = TEXT.replace("PINS", pins)
    assert old in text
    (found,) = small(text.replace(old, new)).trials()
    return found


@pytest.fixture(scope="module")
def result():
    return simulate(trial(), check=True, batch_size=5000)


def test_pages_follow_a_process_but_for_those_that_are_pinned(result):
    (row,) = result.migrations
    pinned = row.stayed[WhyStayed.PINNED]
    assert 150 < pinned < 260
    assert (row.attempted, row.moved_direct) == (4096, 4096 - pinned)
    assert (row.result, row.errno, row.passes) == (pinned, "", 10)
    assert row.access_ps_before > row.access_ps_after >= 100_000
    saved = (row.access_ps_before - row.access_ps_after) * 20_000 / 1e12
    assert row.payback_model_ns / 1e9 == pytest.approx(row.migrate_model_ns / 1e9 / saved, rel=0.02)
    assert result.metrics["migration.stayed_pinned"] == pinned
    assert result.metrics["migration.success_ratio"] == (4096 - pinned) / 4096
    assert 0 < result.metrics["numa.remote_ratio"] < 0.5


def test_every_block_of_the_node_has_its_row(result):
    rows = result.removals
    assert [(row.block, row.event, row.result, row.errno, row.reason) for row in rows] == [
        (6, "unplug", "online", "EINVAL", "hole"),
        (5, "unplug", "offline", "", ""),
        (4, "unplug", "online", "EBUSY", "kernel page"),
    ]
    assert rows[2].page >= 4 << 15 and rows[2].obstacles > 300
    found = ("blocks_tried", "blocks_removed", "removed_bytes")
    assert [result.metrics[f"hotplug.{name}"] for name in found] == [3, 1, 128 << 20]


def test_what_could_be_removed_is_sampled(result):
    bytes_ = {}
    for sample in result.timeline:
        bytes_[sample.time_ns] = bytes_.get(sample.time_ns, 0) + sample.removable_bytes
    first, last = bytes_[0], bytes_[400_000_000]
    # The first page table lies in one whole block; the other is gone at the end.
    assert (first, last) == (128 << 20, 0)


def test_results_do_not_depend_on_batches_or_samples(result):
    for batch, samples in ((97, 100), (100_000, 0)):
        other = simulate(trial(), batch_size=batch, samples=samples)
        assert (other.migrations, other.removals) == (result.migrations, result.removals)
        assert other.metrics == result.metrics


def test_an_explanation_names_who_asked_for_the_pages_and_when():
    found = explain_removals(trial(), node=1)
    assert [view.row.block for view in found.blocks] == [4, 5, 6]
    groups = {(g.reason, g.workload, g.use): g for g in found.blocks[0].groups}
    slabs = groups["kernel page", "kern", "slab"]
    assert slabs.pages > 100 and 0 <= slabs.since_ns[0] < slabs.since_ns[1] <= 300_000_000
    assert groups["pinned", "db", "anon"].pages > 100
    text = removals_as_markdown(found)
    assert "1 of 3 memory blocks went offline" in text and "slab of kern" in text
    with pytest.raises(InputError, match="was not to be taken offline"):
        explain_removals(trial(), block=0)


def test_a_block_that_is_gone_cannot_go_again():
    line = "name: unplug, node: 1, order: high-to-low, timeout: 10ms}"
    again = "  - {at: 350ms, do: offline, name: again, blocks: [4-5], timeout: 10ms}"
    twice = trial(line, f"{line}\n{again}")
    result = simulate(twice, check=True)
    assert [(row.block, row.result, row.errno, row.reason) for row in result.removals[3:]] == [
        (4, "online", "EBUSY", "kernel page"),
        (5, "offline", "EINVAL", "offline already"),
    ]
    assert result.metrics["hotplug.blocks_removed"] == 1
    assert [view.row.event for view in explain_removals(twice, node=1).blocks] == [
        "again", "unplug", "unplug",
    ]  # fmt: skip


def test_a_change_that_is_named_lets_blocks_go_when_it_is_made():
    change = explain_removals(trial(), node=1).changes[-1]
    assert (change.removed, change.asked) == (2, 3)
    assert "movable_node" in change.text and "unpin the pages of db" in change.text
    paths = {"policies.mobility.cmdline": "movable_node", "machine.nodes.1.hotpluggable": True}
    (made,) = trial().scenario.at({**paths, "workloads.db.pinned": None}).trials()
    assert [one.row.result for one in retrace(made).removed] == ["online", "offline", "offline"]


def test_a_plan_takes_the_easiest_blocks_first():
    plan = plan_unplug(trial(), Asked(size=256 << 20, at_ns=200_000_000))
    assert plan.removed_bytes == 256 << 20
    assert [view.row.result for view in plan.blocks] == ["offline", "offline"]
    plan = plan_unplug(trial(), Asked(node=1, at_ns=200_000_000, timeout_ns=50_000_000))
    assert plan.removed_bytes < plan.wanted_bytes == 384 << 20
    assert plan.blocks[0].row.block == 5
    assert "can go" in plan_as_markdown(plan) and plan.changes
    with pytest.raises(InputError, match="node 7 does not exist"):
        plan_unplug(trial(), Asked(node=7))


def test_a_migration_is_explained_page_by_page():
    found = explain_migration(trial(), 1, page=0)
    assert found.page is not None
    assert [what.partition(":")[0] for _, what in found.page.steps] == ["isolated", "pass 0"]
    assert found.page.steps[0][0] < found.page.steps[1][0]
    (group,) = found.stayed
    assert (group.why, group.use) == ("pinned", "anon")
    stuck = explain_migration(trial(), 1, page=group.places[0])
    assert stuck.page.fate == "pinned" and stuck.page.new_pfn == -1
    assert "pages to move" in as_markdown(stuck)
    when = [instant for instant, _ in stuck.page.steps]
    assert len(when) == 12 and when == sorted(when) and when[-1] == stuck.row.migrate_model_ns
    assert json.loads(as_json(found))["row"]["stayed"]["pinned"] == group.pages
    with pytest.raises(InputError, match="this trial has 1 migration"):
        explain_migration(trial(), 2)
    with pytest.raises(InputError, match="pages were to move"):
        explain_migration(trial(), 1, page=100_000)


def test_a_payback_that_the_costs_decide_is_marked():
    found = explain_migration(trial(), 1)
    payback = found.row.payback_model_ns
    for share, marked, text in (
        (0.4, False, "would have paid back"),
        (0.6, True, "(cost-sensitive: were costs half as high, already before the end)"),
        (1.9, True, "(cost-sensitive: were costs twice as high, not before the end)"),
        (2.1, False, "it has paid back after"),
    ):
        view = replace(found, left_ns=int(share * payback))
        assert view.cost_sensitive is marked and text in as_markdown(view)
        assert json.loads(as_json(view))["cost_sensitive"] is marked
        assert ("cost-sensitive" in as_markdown(view)) is marked
    never = replace(found, row=found.row._replace(payback_model_ns=-1))
    assert not never.cost_sensitive and "never pays back" in as_markdown(never)


def test_owners_are_known_by_their_last_request():
    moved = retrace(trial()).moved[0]
    handles = moved.handles[:50].tolist()
    found = owners(trial(), handles, moved.row.time_ns)
    assert {one.workload for one in found.values()} == {"db"}
    assert {one.use for one in found.values()} == {"anon"}
    since = np.array([found[h].since_ns for h in sorted(handles)])
    assert (np.diff(since) > 0).all() and since[-1] < 50_000_000
