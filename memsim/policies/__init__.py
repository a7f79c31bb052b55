"""WHAT TO PREFER: one file per placement policy.

A policy file defines one class ``Policy``: a frozen pydantic model whose fields are the policy's
options, whose docstring is what ``memsim list policies`` prints, with ``PROFILES`` (the kernels it
makes sense on) and ``tables()``, which returns the small integer tables that the kernels read:

    class Policy(PolicyModel):
        '''Prefer nothing.'''

        PROFILES: ClassVar[tuple[str, ...]] = ("linux-6.1",)

        def tables(self) -> PolicyTables: ...

A policy decides only: the type of a request, where to look next, what to claim, where remainders
go. Mechanism is in ``memsim.kernels``.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from memsim.kernels.layout import PolicyTables


class PolicyModel(BaseModel):
    """Base of every policy's options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    PROFILES: ClassVar[tuple[str, ...]] = ()


class PolicyKind(Protocol):
    """What a policy file must define under the name ``Policy``."""

    def tables(self) -> PolicyTables:
        """Return the tables that the kernels read; the same options give the same tables."""
