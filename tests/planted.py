"""Simulated comparisons with planted equalities and differences, judged by the real code.

``make stats`` runs the whole table and fails if false findings are more than chance allows; the
tests run a small part of it.
"""

import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import nctdtr

from memsim.compare import MARGIN
from memsim.compare.rows import rows_of
from memsim.compare.samples import Side
from memsim.compare.until import Until, judge_until
from memsim.schema import Column
from memsim.statistics import ALPHA, quantile

COMPARISONS = 2_000
SEED = 2026
MEAN, SPREAD = 100.0, 10.0
SHARED = 0.5
"""Correlation between the two trials of a pair, which shared random streams bring about."""
FINDINGS = ("better", "worse", "differs")


def _normal(z):
    return MEAN + SPREAD * z


def _steady(z):
    return 20 * MEAN + SPREAD * z


def _lognormal(z):
    return MEAN * np.exp(z)


def _steps(chances):
    """Turn standard normal numbers into 0, 1, 2... with these chances."""
    bounds = [NormalDist().inv_cdf(c) for c in np.cumsum(chances)[:-1]]
    return lambda z: np.searchsorted(bounds, z).astype(float)


def _poisson(rate, most=8):
    chances = [math.exp(-rate) * rate**k / math.factorial(k) for k in range(most)]
    return _steps([*chances, 1 - sum(chances)])


def _binomial_ratio(p, attempts):
    chances = [
        math.comb(attempts, k) * p**k * (1 - p) ** (attempts - k) for k in range(attempts + 1)
    ]
    steps = _steps(chances)
    return lambda z: steps(z) / attempts


def _zero_inflated(z):
    return np.where(z < NormalDist().inv_cdf(0.8), 0.0, np.round(50 * np.exp(z)))


KINDS = {
    "normal": _normal,
    "lognormal": _lognormal,
    "Poisson(0.3)": _poisson(0.3),
    "512 Poisson(0.3)": lambda z: 512 * KINDS["Poisson(0.3)"](z),
    "Poisson(20)": _poisson(20, 60),
    "all or none": _binomial_ratio(0.5, 1),
    "9 of 10": _binomial_ratio(0.9, 10),
    "4 of 5 are 0": _zero_inflated,
}
"""What metrics look like, as functions of standard normal numbers."""


@dataclass(frozen=True)
class Case:
    """Comparisons of one sort."""

    kind: str
    seeds: int
    metrics: int = 1
    together: float = 0.0
    """Correlation between the metrics of a trial."""
    planted: float = 0.0
    """Difference, in standard deviations of the differences, of the first ``planted_in``."""
    planted_in: int = 0
    margin: float = MARGIN


def columns_of(case):
    return {
        f"planted.m{i}": Column(f"m{i}", "1", "", "higher", dtype="float64")
        for i in range(case.metrics)
    }


def draw(case, rng, count=None):
    """Draw the values of one comparison: (baseline, side), each (seeds, metrics)."""
    shape = (count or case.seeds, case.metrics)
    common = [rng.standard_normal((shape[0], 1)) for _ in range(3)]
    own = [rng.standard_normal(shape) for _ in range(3)]
    shared, first, second = (
        math.sqrt(case.together) * c + math.sqrt(1 - case.together) * o
        for c, o in zip(common, own, strict=True)
    )
    of_pair, of_trial = math.sqrt(SHARED), math.sqrt(1 - SHARED)
    kind = KINDS[case.kind]
    baseline, side = (
        kind(of_pair * shared + of_trial * first),
        kind(of_pair * shared + of_trial * second),
    )
    deviation = SPREAD * math.sqrt(2 * (1 - SHARED))
    side[:, : case.planted_in] += case.planted * deviation
    return baseline, side


def side_of(label, values, rng):
    """Make a side of trials; like any real trial it has a metric that chance reaches."""
    side = Side(label)
    for seed, row in enumerate(values):
        metrics = {f"planted.m{i}": float(v) for i, v in enumerate(row)}
        side.add((), seed, {**metrics, "planted.other": rng.random()}, None)
    return side


def compared(case, rng, judge=rows_of):
    """Carry out one comparison; ``judge`` may be another procedure than memsim's."""
    baseline, side = draw(case, rng)
    sides = [side_of("none", baseline, rng), side_of("mobility", side, rng)]
    return judge(sides, sides[0], columns_of(case), case.margin)


@dataclass
class Tally:
    """What became of the comparisons of a case."""

    comparisons: int = 0
    false_findings: int = 0
    """Comparisons with a finding in a metric that has no difference."""
    found: int = 0
    """Planted differences that were found, with their sign."""
    wrong_sign: int = 0
    same: int = 0
    """Planted differences that were called none."""


def tally(case, comparisons=COMPARISONS, judge=rows_of, seed=SEED):
    rng = np.random.default_rng([seed, *map(ord, repr(case))])
    result = Tally(comparisons)
    for _ in range(comparisons):
        rows = compared(case, rng, judge)
        planted, equal = rows[: case.planted_in], rows[case.planted_in :]
        result.false_findings += any(row.verdict in FINDINGS for row in equal)
        result.found += sum(row.verdict == "better" for row in planted)
        result.wrong_sign += sum(row.verdict == "worse" for row in planted)
        result.same += sum(row.verdict == "same" for row in planted)
    return result


def binomial_interval(n, p, level=0.95):
    """Return the least and most successes that chance allows: (1 - level) / 2 lie on each side."""
    tail = (1 - level) / 2
    if p <= 0 or p >= 1:
        return round(n * p), round(n * p)
    log = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(n + 1)
    ]  # fmt: skip
    below = np.cumsum(np.exp(log))
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))


def expected_power(effect, seeds):
    """Chance that Student's t-test finds a difference of ``effect`` deviations, with its sign."""
    return 1 - float(nctdtr(seeds - 1, effect * math.sqrt(seeds), quantile(seeds)))


def at_margin(seeds):
    """A difference of exactly the margin; of a mean that is known well, as the margin is of it."""
    KINDS["steady"] = _steady
    return Case("steady", seeds, planted=20 * MEAN * MARGIN / SPREAD, planted_in=1)


def equal_cases():
    families = [(1, 0.0), (20, 0.0), (20, 0.8)]
    return [
        Case(kind, seeds, metrics, together)
        for kind in KINDS
        for metrics, together in families
        for seeds in (3, 5, 10, 30)
    ]


def main():
    began = time.monotonic()
    with ProcessPoolExecutor() as pool:
        faults = [*_equalities(pool), *_differences(), *_limits(), *_stopping()]
    print(f"\n{time.monotonic() - began:.0f} s")
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def _equalities(pool):
    low, high = binomial_interval(COMPARISONS, ALPHA)
    print(
        f"Planted equalities: comparisons with any false finding, of {COMPARISONS:,}; wanted 5 %, "
        f"chance allows {low / COMPARISONS:.2%} to {high / COMPARISONS:.2%}\n"
    )
    print(f"{'values':16}{'metrics':>20}" + "".join(f"{n:>8} seeds" for n in (3, 5, 10, 30)))
    cases = equal_cases()
    tallies = pool.map(tally, cases)
    for i in range(0, len(cases), 4):
        cells = []
        for case, result in zip(cases[i : i + 4], tallies, strict=False):
            wrong = result.false_findings
            cells.append(f"{wrong / COMPARISONS:>13.2%} ")
            exact = case.kind == "normal" and case.metrics == 1
            if wrong > high or (exact and wrong < low):
                yield f"{case}: {wrong} false findings, not {low} to {high}"
        print(f"{case.kind:16}{_family(case):>20}" + "".join(cells), flush=True)


def _family(case):
    if case.metrics == 1:
        return "1"
    together = f"correlated {case.together:g}" if case.together else "independent"
    return f"{case.metrics}, {together}"


def _differences():
    print("\nPlanted differences, normal: found with the right sign (chance that theory gives)\n")
    sizes = (0.5, 1.0, 2.0)
    print(f"{'difference':>12}" + "".join(f"{n:>12} seeds" for n in (3, 5, 10, 30)))
    for size in sizes:
        cells = []
        for seeds in (3, 5, 10, 30):
            case = Case("normal", seeds, planted=size, planted_in=1)
            result, wanted = tally(case), expected_power(size, seeds)
            cells.append(f"  {result.found / COMPARISONS:>6.1%} ({wanted:>6.1%})")
            low, high = binomial_interval(COMPARISONS, wanted, 0.999)
            if not low <= result.found <= high:
                yield f"{case}: found {result.found}, theory says {low} to {high}"
        print(f"{size:>9} sd" + " ".join(cells), flush=True)
    print("\n5 of 20 metrics differ: found; any false finding in the other 15; wrong sign\n")
    high = binomial_interval(COMPARISONS, ALPHA)[1]
    for seeds in (5, 10, 30):
        case = Case("normal", seeds, 20, planted=2.0, planted_in=5)
        result = tally(case)
        print(
            f"{seeds:>6} seeds, 2 sd{result.found / COMPARISONS / 5:>12.1%}"
            f"{result.false_findings / COMPARISONS:>10.2%}{result.wrong_sign:>6}",
            flush=True,
        )
        if result.false_findings > high:
            yield f"{case}: {result.false_findings} false findings, more than {high}"
    print("\nA true difference of exactly the margin: called same (may be, by chance: 2.5 %)\n")
    high = binomial_interval(COMPARISONS, ALPHA / 2)[1]
    for seeds in (5, 10, 30):
        case = at_margin(seeds)
        same = tally(case).same
        print(f"{seeds:>6} seeds{same / COMPARISONS:>12.2%}", flush=True)
        if same > high:
            yield f"{case}: {same} called same, more than {high}"


def _cliff(z):
    return np.where(z < 0, 0.0, 1000.0) + np.round(3 * np.sin(1e4 * z))


def _limits():
    """Where the rate is not held: shown, and no fault."""
    print("\nLimits: values at one of two levels, with a little noise; any false finding\n")
    KINDS["two levels"] = _cliff
    print(f"{'metrics':>20}" + "".join(f"{n:>8} seeds" for n in (3, 5, 10, 30)))
    for metrics in (1, 20):
        cases = [Case("two levels", seeds, metrics) for seeds in (3, 5, 10, 30)]
        rates = [tally(case).false_findings / COMPARISONS for case in cases]
        print(f"{metrics:>20}" + "".join(f"{rate:>13.2%} " for rate in rates), flush=True)
    print("\nLimits: the baseline is constant, the side lognormal with the same mean\n")
    for seeds in (3, 5, 10, 30):
        case = Case("lognormal", seeds)
        rng = np.random.default_rng(SEED)
        wrong = 0
        for _ in range(COMPARISONS):
            values = MEAN * np.exp(rng.standard_normal((seeds, 1)) - 0.5)
            sides = [side_of(name, v, rng) for name, v in
                     (("none", np.full((seeds, 1), MEAN)), ("light", values))]  # fmt: skip
            (row,) = rows_of(sides, sides[0], columns_of(case), MARGIN)
            wrong += row.verdict in FINDINGS
        print(f"{seeds:>6} seeds{wrong / COMPARISONS:>12.2%}", flush=True)
    return []


def stopped(case, until, rng, most=100):
    """Add seeds as ``--until`` does; return the row, and how many seeds it took."""
    baseline, side = draw(case, rng, most)
    seeds = 5
    while True:
        sides = [side_of("none", baseline[:seeds], rng), side_of("light", side[:seeds], rng)]
        if seeds >= most or judge_until(until, sides, sides[0]).holds:
            (row,) = rows_of(sides, sides[0], columns_of(case), case.margin)
            return row, seeds
        seeds = min(most, math.ceil(1.5 * seeds))


def _stopping():
    print("\n--until, no true difference: false findings; intervals that miss it; seeds it took\n")
    for kind, bounds in (("normal", (20.0, 8.0, 4.0)), ("lognormal", (100.0, 50.0))):
        for bound in bounds:
            case = Case(kind, 100)
            column = columns_of(case)["planted.m0"]
            until = Until("", "planted.m0", column, bound, relative=False)
            rng = np.random.default_rng(SEED)
            rows = [stopped(case, until, rng) for _ in range(COMPARISONS)]
            wrong = sum(row.verdict in FINDINGS for row, _ in rows)
            missed = sum(abs(row.difference) > row.half_width for row, _ in rows)
            took = sum(seeds for _, seeds in rows) / COMPARISONS
            print(
                f"{kind:16}± {bound:<8g}{wrong / COMPARISONS:>8.2%}"
                f"{missed / COMPARISONS:>10.2%}{took:>8.1f}",
                flush=True,
            )
    return []


if __name__ == "__main__":
    sys.exit(main())
