"""A policy that is written in Python instead of in a scenario file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True)
class Policy:
    """A named variant for ``load(..., variants={NAME: Policy(...)})``, which checks it.

    The fields are the keys of a policy in a scenario file.
    """

    placement: str
    cmdline: str = ""
    """Words of the kernel's command line, such as ``movablecore=1G``."""
    profile: str | None = None
    """The kernel, if not the machine's."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """Options of the placement policy."""

    @property
    def written(self) -> dict[str, JsonValue]:
        """The policy as a scenario file has it: what is not set is not there."""
        named = {"cmdline": self.cmdline, "profile": self.profile}
        keys = {key: value for key, value in named.items() if value}
        return {**self.options, **keys, "placement": self.placement}
