"""Random streams on the kernel of 2007, which groups by mobility: equal to the oracle."""

from collections import Counter
from dataclasses import replace

from backend_2005 import snapshot
from kernel_backend_2005 import KernelMachine2614
from oracle.naive_2621_zone import RESERVE, NaiveMachine2621
from strategies_2005 import play, random_machine, random_stream

REACHED = {
    *(f"type {kind} falls back to {x}" for kind in range(4) for x in range(4) if x != kind),
    "moved, and claimed",
    "moved, not claimed",
    "last unit",
    "reserve used",
    "hot drain",
}
STEPS = 500
MACHINES = 8


def machines():
    """Small machines of orders up to 10, of which some pageblocks are set aside."""
    for seed in range(100):
        spec = random_machine(seed)
        if spec.max_page_order == 10:
            first = {zone.start >> 10: RESERVE for zone in spec.zones[: seed % 3]}
            yield seed, replace(spec, policy="grouped", pageblocks=first)


def reserve_lists(spec, machine):
    return {
        (z, order): machine.free_list(z, order, RESERVE)
        for z in range(len(spec.zones))
        for order in range(11)
    }


def test_grouping_of_2007_is_that_of_the_naive_twin():
    seen = Counter()
    for (seed, spec), _ in zip(machines(), range(MACHINES), strict=False):
        oracle, kernels = both = [NaiveMachine2621(spec), KernelMachine2614(spec)]

        def after_step(step, live, spec=spec, seed=seed, oracle=oracle, kernels=kernels):
            if step % 4:
                return
            ours, theirs = snapshot(spec, oracle, live), snapshot(spec, kernels, live)
            different = {key: (ours[key], theirs[key]) for key in ours if ours[key] != theirs[key]}
            assert different == {}, (seed, step)
            assert reserve_lists(spec, oracle) == reserve_lists(spec, kernels)

        after_step(0, {})
        play(seed, both, random_stream(seed, spec, STEPS), after_step)
        seen += oracle.seen
    assert {rule for rule in REACHED if not seen[rule]} == set()
