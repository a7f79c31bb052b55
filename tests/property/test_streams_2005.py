"""Random streams on the kernels of 2005: every backend equal to the oracle, page for page."""

from collections import Counter

import pytest
from backend_2005 import BACKENDS_2005, POLICIES, check, snapshot
from oracle.naive_2614_machine import NaiveMachine2614
from strategies_2005 import play, random_machine, random_stream

SEEDS = range(50)
STEPS = 700
REACHED = {
    "hot drain",
    "cold drain",
    "refill in full",
    "refill in part",
    "refill with nothing",
    "merge of two types",
    "large block stolen",
    "bit flipped back",
    "small block stolen",
    "block of the very order stolen",
    "large block grouped",
    "block of the very order refused",
    "reserve filled",
    "reserve full",
    "reserve given up",
    *(f"pool of type {lender}" for lender in range(4)),
    *(f"type {kind} falls back to {x}" for kind in range(3) for x in range(4) if x != kind),
    "slow path",
    "walk without watermarks",
    "lower zone",
    "zone with nothing to take",
    "too little in large blocks",
    "NOPAGE",
    "NEEDS_RECLAIM",
}


def managed_pages(spec):
    """Pages that boot frees, by zone."""
    return [
        len(
            set(range(z.start, z.end)).difference(*(range(start, end) for start, end in z.reserved))
        )
        for z in spec.zones
    ]


def test_the_oracle_keeps_the_invariants_and_reaches_every_rule():
    seen = Counter()
    for seed in SEEDS:
        spec = random_machine(seed)
        pages = managed_pages(spec)
        oracle = NaiveMachine2614(spec)

        def after_step(step, live, spec=spec, oracle=oracle, pages=pages):
            check(spec, oracle, live, pages)

        play(seed, [oracle], random_stream(seed, spec, STEPS), after_step)
        seen += oracle.seen
    assert {rule for rule in REACHED if not seen[rule]} == set()


def test_the_streams_vary_everything():
    specs = [random_machine(seed) for seed in SEEDS]
    assert {spec.policy for spec in specs} == set(POLICIES)
    assert {spec.max_page_order for spec in specs} == {10, 12}
    assert {len(spec.zones) for spec in specs} == {1, 2, 3}
    assert {len(spec.cpu_nid) for spec in specs} == {1, 2}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", sorted(set(BACKENDS_2005) - {"oracle"}))
def test_backend_of_2005_equals_oracle(name, seed):
    spec = random_machine(seed)
    oracle, other = machines = [NaiveMachine2614(spec), BACKENDS_2005[name](spec)]

    def after_step(step, live):
        ours, theirs = snapshot(spec, oracle, live), snapshot(spec, other, live)
        different = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
        assert different == {}, (seed, step)

    after_step("boot", {})
    play(seed, machines, random_stream(seed, spec, STEPS), after_step)


@pytest.mark.parametrize("seed", range(0, 50, 4))
def test_the_kernels_invariants_hold_of_the_streams(seed):
    spec = random_machine(seed)
    machine = BACKENDS_2005["kernels"](spec)
    checks = []

    def after_step(step, live):
        if step % 50 == 0:
            machine.memory.check()
            checks.append(sum(1 << order for order in live.values()))

    play(seed, [machine], random_stream(seed, spec, STEPS), after_step)
    assert max(checks) > 0
