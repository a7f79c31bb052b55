"""What is wrong with the events of a scenario: when they happen, and how much they try."""

from __future__ import annotations

from collections.abc import Iterator

from memsim.rules.findings import Finding
from memsim.scenario.event import Event
from memsim.scenario.paths import Loc
from memsim.units import format_duration

MAX_OCCURRENCES = 1_000_000
MAX_ATTEMPTS = 10_000_000


def event_findings(
    at: Loc, event: Event, max_page_order: int, memory: int | None
) -> Iterator[Finding]:
    """Hold an event against the machine (``memory``: its bytes, None if they are not known)."""
    if max(event.orders, default=0) > max_page_order:
        message = f"expected orders from 0 to {max_page_order}, found {max(event.orders)}"
        yield Finding((*at, "orders"), message)
    elif event.attempts == "auto" and memory is not None:
        too_large = [order for order in event.orders if not event.tries(order, memory)]
        if too_large:
            message = f"attempts: the machine has no room for a block of order {too_large[0]}"
            yield Finding((*at, "attempts"), message)


def time_findings(at: Loc, event: Event, duration: int, memory: int | None) -> Iterator[Finding]:
    """Find what does not happen before the scenario ends, and what happens too often."""
    spacing = {"every"} if event.do == "high_alloc" else set()
    late = False
    for key in sorted({"at", "every", "until"} - spacing):
        instant = getattr(event, key)
        if instant is not None and instant > duration:
            late = True
            when = format_duration(instant)
            message = f"{key}: {when} is after the end of the scenario"
            yield Finding((*at, key), message, _end(duration))
    times = len(event.times(duration))
    total = event.passes * sum(event.tries(order, memory or 0) for order in event.orders)
    if times > MAX_OCCURRENCES:
        message = f"the event would happen more than {MAX_OCCURRENCES} times"
        yield Finding((*at, "every"), message)
    elif (attempts := times * total) > MAX_ATTEMPTS:
        message = f"the event would make {attempts} attempts, {MAX_ATTEMPTS} is the most"
        yield Finding(at, message, "take fewer attempts, orders or instants")
    elif event.do == "high_alloc" and not late:
        ends = (event.at or 0) + event.passes * event.pass_ns(memory or 0)
        if ends > duration:
            message = f"the phase ends at {format_duration(ends)}, after the end of the scenario"
            yield Finding(at, message, _end(duration))


def _end(duration: int) -> str:
    return f"it ends at {format_duration(duration)}"
