"""What happens to the machine at certain instants, as a scenario's ``events`` say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator

from memsim.errors import suggest
from memsim.mm import GFP_NAMES, NR_ORDERS, PAGE_SHIFT, gfp_from_text
from memsim.scenario.machine import Model
from memsim.units import Bytes, Duration, HintedError, IntSet, NodeSet, Share, describe

REPEATED = {"every", "until", "name"}
OF_2005 = {"mode", "code", "target_full"}
KEYS = {
    "probe": {"every", "until", "orders", "attempts", "gfp", "hold", "node", "until_failure"},
    "high_alloc": {"every", "orders", "attempts", "gfp", "node", "passes", "name"},
    "compact_memory": {"every", "until"},
    "migrate_pages": {*REPEATED, *OF_2005, "workload", "from", "to", "move_all"},
    "move_pages": {*REPEATED, *OF_2005, "workload", "to", "move_all"},
    "mbind": {*REPEATED, "workload", "to", "move_all", "strict"},
    "pin": {"workload", "share", "term", "name"},
    "unpin": {"workload", "name"},
    "offline": {"name", "node", "blocks", "order", "timeout"},
    "online": {"name", "blocks", "zone"},
    "cma_alloc": {*REPEATED, "size", "attempts", "hold"},
    "virtio_mem": {"name", "blocks", "size"},
}
EVENTS = tuple(KEYS)
NEEDS = {
    "probe": ("orders",),
    "high_alloc": ("orders",),
    "migrate_pages": ("workload", "from", "to"),
    "move_pages": ("workload", "to"),
    "mbind": ("workload", "to"),
    "pin": ("workload",),
    "unpin": ("workload",),
    "online": ("blocks",),
    "cma_alloc": ("size",),
    "virtio_mem": ("blocks", "size"),
}
EXAMPLES = {
    "orders": "orders: [3, 9]",
    "workload": "workload: db",
    "from": "from: [1]",
    "to": "to: [0]",
    "blocks": "blocks: 8-15",
    "size": "size: 64MiB",
}
"""Which keys go with an event, besides ``do`` and ``at``."""
TENTH = 100_000_000
"""Nanoseconds between two attempts of the high-order test (spec history-2005 1.1)."""


def _do(text: str) -> str:
    if text not in EVENTS:
        raise HintedError(f"there is no event {describe(text)}", suggest(text, EVENTS))
    return text


def positive(value: int) -> int:
    """Refuse 0."""
    if value == 0:
        raise ValueError("expected more than 0, found 0")
    return value


def _orders(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values:
        raise ValueError("expected at least one number, found none")
    for order in values:
        if order >= NR_ORDERS:
            raise ValueError(f"expected orders from 0 to {NR_ORDERS - 1}, found {order}")
    return values


def _gfp(text: str) -> str:
    try:
        gfp_from_text(text)
    except KeyError as unknown:
        flag = str(unknown.args[0])
        raise HintedError(
            f"there is no gfp flag {describe(flag)}", suggest(flag, GFP_NAMES)
        ) from None
    return text


GfpText = Annotated[
    str,
    AfterValidator(_gfp),
    WithJsonSchema({"type": "string", "examples": ["GFP_KERNEL|__GFP_NORETRY"]}),
]
"""Flags of a request by name; ``mm.gfp_from_text`` gives their value."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""What a policy or workload is called; without dots, for paths address it by this name."""


class Event(Model):
    """Something that happens to the machine at one instant or at regular ones.

    ``probe`` tries to allocate ``attempts`` blocks of each order at an instant, and frees them at
    once unless they are held; ``until_failure`` ends an order's attempts with the first failure.
    ``high_alloc`` is the high-order test of 2005: one attempt each
    ``every``, what was got is held to the end of the pass. ``compact_memory`` compacts all zones.
    ``migrate_pages``, ``move_pages`` and ``mbind`` move the pages of a workload as these system
    calls do, ``pin`` and ``unpin`` give its pages references that keep them where they are;
    ``offline`` takes away memory blocks, ``online`` brings them back; ``virtio_mem`` takes
    sub-blocks out of a device's blocks, ``cma_alloc`` takes contiguous memory out of a CMA area.
    """

    do: Annotated[
        str, AfterValidator(_do), WithJsonSchema({"type": "string", "enum": list(EVENTS)})
    ]
    """What happens."""
    at: Duration | None = None
    """The instant; not set: the beginning, or after the first ``every``."""
    every: Annotated[Duration, AfterValidator(positive)] | None = None
    """How often."""
    until: Duration | None = None
    """The last instant."""
    orders: Annotated[IntSet, AfterValidator(_orders)] = ()
    """Of the blocks that are asked for."""
    attempts: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = 1
    """For each order; ``auto``: for all of memory."""
    gfp: GfpText = "GFP_KERNEL"
    """Flags of the requests."""
    hold: bool = False
    """Keep what was got."""
    until_failure: bool = False
    """The first failure ends an order."""
    node: int | None = Field(None, ge=0)
    """Whose zonelist is walked, or whose memory blocks go."""
    passes: int = Field(1, ge=1, le=100)
    """How often the test is made."""
    name: Name | None = None
    """What tables call it."""
    workload: Name | None = None
    """Whose pages."""
    from_: NodeSet = Field((), alias="from")
    """Nodes that pages leave."""
    to: NodeSet = ()
    """Nodes that they go to."""
    mode: Literal["direct", "swap"] = "direct"
    """Kernels of 2005: by copying, or by way of swap."""
    code: Literal["v1", "linux-2.6.16"] = "v1"
    """Kernels of 2005: of the article, or as merged."""
    target_full: Literal["swap", "enomem", "other_node"] = "swap"
    """Kernels of 2005: what happens when the target has no room."""
    move_all: bool = False
    """Also pages that other processes map."""
    strict: bool = False
    """Fail with EIO where pages stay."""
    share: Share = 1.0
    """Of its pages."""
    term: Literal["short", "long"] = "long"
    """How long pins are meant to last."""
    blocks: IntSet = ()
    """Memory blocks by number."""
    order: Literal["low-to-high", "high-to-low"] = "low-to-high"
    """In which the blocks go."""
    zone: Literal["online", "kernel", "movable", "auto-movable"] = "online"
    """Where memory comes back."""
    size: Annotated[Bytes, AfterValidator(positive)] | None = None
    """How much memory."""
    timeout: Annotated[Duration, AfterValidator(positive)] = 120 * 10**9
    """After which a removal is given up."""

    @model_validator(mode="after")
    def _keys(self) -> Event:
        given = {"from" if key == "from_" else key for key in self.model_fields_set}
        for key in sorted(given - KEYS[self.do] - {"do", "at"}):
            raise HintedError(f'"{key}" does not go with {self.do}', suggest(key, KEYS[self.do]))
        for key in NEEDS.get(self.do, ()):
            if not getattr(self, "from_" if key == "from" else key):
                raise HintedError(f'missing key "{key}"', f"for example {EXAMPLES[key]}")
        if self.do == "offline" and ("node" in given) == ("blocks" in given):
            raise HintedError('expected either "node" or "blocks"', "for example node: 1")
        if self.do == "probe" and self.attempts == "auto":
            raise ValueError('"attempts: auto" goes with high_alloc')
        if self.hold and self.until_failure:
            raise ValueError('"until_failure" frees what it got: it does not go with "hold"')
        if self.do == "high_alloc" and self.at is None:
            raise ValueError('expected "at"')
        if self.do != "high_alloc" and (self.at is None) == (self.every is None):
            raise ValueError('expected either "at" or "every"')
        if self.until is not None and self.every is None:
            raise ValueError('"until" goes with "every"')
        return self

    def times(self, duration_ns: int) -> range:
        """Return the instants in nanoseconds: ``at``, or each ``every`` to the end, inclusive."""
        if self.every is None or self.do == "high_alloc":
            return range(self.at or 0, (self.at or 0) + 1)
        last = duration_ns if self.until is None else min(self.until, duration_ns)
        return range(self.every, last + 1, self.every)

    def tries(self, order: int, memory: int) -> int:
        """Say how many attempts of an order are made at a time, or in a pass of ``high_alloc``.

        ``memory`` is the machine's MemTotal in bytes: "auto" tries for all of it.
        """
        if self.attempts == "auto":
            return memory >> order + PAGE_SHIFT
        return self.attempts

    @property
    def spacing(self) -> int:
        """Nanoseconds between two attempts of ``high_alloc``."""
        return self.every or TENTH

    def pass_ns(self, memory: int) -> int:
        """Return how long a pass of ``high_alloc`` takes, in nanoseconds."""
        return self.spacing * sum(self.tries(order, memory) for order in self.orders)
