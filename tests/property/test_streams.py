"""Random request streams: invariants after every step, and every backend equal to the oracle."""

from collections import Counter

import pytest
from backend import BACKENDS, check, snapshot
from oracle.naive_machine import NaiveMachine
from strategies import random_machine, random_stream

from memsim import mm

SEEDS = range(40)
STEPS = 700
REACHED = {
    "steal of whole pageblocks",
    "steal claims",
    "steal without claim",
    "steal of one block",
    "steal at a zone edge",
    "smallest searched",
    "boost",
    "woken by boost",
    "boost ignored by an atomic request",
    "highatomic reserved",
    "highatomic first",
    "highatomic last",
    "cma by the half rule",
    "cma after own lists",
    "pcp skipped without cma",
    "nofragment dropped at a remote node",
    "nofragment dropped at the list's end",
    "walk without watermarks",
    "walk without the node mask",
    "no zone to walk",
    "refill in full",
    "refill in part",
    "refill with nothing",
    *(f"refill order {order}" for order in (0, 1, 2, 3, 9)),
    *(f"drain order {order}" for order in (0, 1, 2, 3, 9)),
    "free_factor raised",
    "everything freed",
    "free to head",
    "free to tail",
    "merge refused",
    "freed while in an LRU batch",
    "NOPAGE",
    "NEEDS_RECLAIM",
}


def play(seed, machines, spec, after_step):
    """Run one stream on all machines; the first one's answers decide what is live."""
    live, order_of = [], {}
    for step, (kind, cpu, what) in enumerate(random_stream(seed, spec, STEPS)):
        if kind == "alloc":
            answers = [machine.alloc(cpu, what) for machine in machines]
            assert answers == answers[:1] * len(machines), (seed, step, what)
            status, pfn = answers[0]
            if status == mm.Status.OK:
                live.append(pfn)
                order_of[pfn] = what.order
        elif kind == "drain":
            for machine in machines:
                machine.drain_all(cpu)
        elif live:
            pfn = live.pop(what % len(live))
            order = order_of.pop(pfn)
            for machine in machines:
                machine.free(cpu, pfn, order)
        after_step(step, order_of)


def test_the_oracle_keeps_the_invariants_and_reaches_every_rule():
    seen = Counter()
    for seed in SEEDS:
        spec = random_machine(seed)
        oracle = NaiveMachine(spec)

        def after_step(step, live, spec=spec, oracle=oracle):
            check(spec, oracle, live)

        play(seed, [oracle], spec, after_step)
        seen += oracle.seen
    assert {rule for rule in REACHED if not seen[rule]} == set()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", sorted(set(BACKENDS) - {"oracle"}))
def test_backend_equals_oracle(name, seed):
    spec = random_machine(seed)
    oracle, other = machines = [NaiveMachine(spec), BACKENDS[name](spec)]

    def after_step(step, live):
        assert other.events() == oracle.events(), (seed, step)
        ours, theirs = snapshot(spec, oracle), snapshot(spec, other)
        different = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
        assert different == {}, (seed, step)

    play(seed, machines, spec, after_step)
