"""Why an attempt to get a block failed: carried out again, step by step, and looked at closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memsim.errors import InputError, Problem, suggest
from memsim.execute.runner import where
from memsim.explain.areas import Areas, areas_of
from memsim.explain.steps import Step, steps_of
from memsim.explain.zones import ZoneView, zone_views
from memsim.mm import WhyNot
from memsim.scenario import Scenario, Trial
from memsim.simulate.attempts import Attempt, failed_attempt
from memsim.simulate.probes import gfp_text
from memsim.units import describe


@dataclass(frozen=True)
class Explanation:
    """All there is to say about one failed attempt."""

    trial: str
    """Policy, point and seed."""
    number: int
    """Of the trial's failed attempts it is this one, from 1."""
    time_ns: int
    workload: str
    order: int
    gfp: str
    cpu: int
    why: WhyNot
    extfrag: int
    """Fragmentation index of the preferred zone when it failed, in thousandths."""
    zones: tuple[ZoneView, ...]
    """Zones that the request may use, in the order in which they are tried, right before."""
    areas: tuple[Areas, ...]
    """What stands in the way in each of them."""
    steps: tuple[Step, ...]


def explain(trial: Trial, number: int) -> Explanation:
    """Carry out a trial up to a failed attempt (from 1) and say what there is to say about it.

    Raises InputError if the trial has no such attempt, TrialError if it cannot be carried out.
    """
    found = failed_attempt(trial, number)
    if isinstance(found, int):
        what = "1 attempt" if found == 1 else f"{found:,} attempts"
        hint = f"--allocation 1..{found}" if found else ""
        message = f"{what} failed in this trial ({where(trial)})"
        raise InputError([Problem(f"--allocation {number}", 0, 0, message, hint)])
    return _explanation(trial, number, found)


def _explanation(trial: Trial, number: int, found: Attempt) -> Explanation:
    zones = zone_views(found.before, found.request, found.order, found.cpu)
    return Explanation(
        trial=where(trial),
        number=number,
        time_ns=found.time_ns,
        workload=found.workload,
        order=found.order,
        gfp=gfp_text(found.request.gfp),
        cpu=found.cpu,
        why=found.why,
        extfrag=found.extfrag,
        zones=zones,
        areas=tuple(areas_of(found.before, view.zone, found.order) for view in zones),
        steps=steps_of(found.log),
    )


def chosen_trial(
    scenario: Scenario, policy: str | None, seed: int | None, points: Sequence[str]
) -> Trial:
    """Return the trial that is meant: the first one where nothing is said; raises InputError."""
    from memsim.load.points import at_points

    problems = []
    if policy is not None and policy not in scenario.policies:
        message = f"there is no policy {describe(policy)}"
        problems.append(Problem("--policy", 0, 0, message, suggest(policy, scenario.policies)))
    if seed is not None and seed not in scenario.seeds:
        hint = suggest(str(seed), map(str, scenario.seeds))
        problems.append(Problem("--seed", 0, 0, f"there is no seed {seed}", hint))
    if problems:
        raise InputError(problems)
    chosen = at_points(scenario, points)
    wanted = policy or next(iter(scenario.policies))
    first = chosen.seeds[0] if seed is None else seed
    return next(t for t in chosen.trials() if t.policy == wanted and t.seed == first)
