"""Which type each class of requests gets, read from the policies' own tables."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from memsim import plugins
from memsim.mm import Migratetype, Use
from memsim.policies import KERNELS
from memsim.policies._validity import tables_of
from memsim.profiles import PROFILES

CLASSES = {
    Use.ANON: ("anonymous", Migratetype.MOVABLE),
    Use.PAGE_CACHE: ("page cache", Migratetype.MOVABLE),
    Use.BUFFERS: ("block-device buffers", Migratetype.MOVABLE),
    Use.EXEC: ("exec", Migratetype.MOVABLE),
    Use.INODE: ("inode", Migratetype.RECLAIMABLE),
    Use.DENTRY: ("dentry", Migratetype.RECLAIMABLE),
    Use.PAGE_TABLE: ("page table", Migratetype.UNMOVABLE),
    Use.SLAB: ("slab", Migratetype.UNMOVABLE),
    Use.KERNEL: ("kernel", Migratetype.UNMOVABLE),
}
"""What a use is called, and the mobility that its requests ask for in their gfp flags."""


def type_names(name: str) -> dict[str, str]:
    """Return the type of each class under a policy without options, on its first profile.

    Raises plugins.PluginFault for tables that are no good and for options without a default.
    """
    try:
        policy: Any = plugins.build("policies", name, {})
    except ValidationError:
        raise plugins.fault("policies", name, "Policy", "an option has no default") from None
    tables = tables_of(name, policy, KERNELS[PROFILES[policy.PROFILES[0]].mechanism])
    return {
        called: policy.TYPES[int(tables.type_of_request[3 * use + mobility])]
        for use, (called, mobility) in CLASSES.items()
    }
