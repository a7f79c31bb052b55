"""Small traces and a small capture state, as text: what the tests of the readers vary."""

PAGE = "page=000000003dd06da5 "
ALLOC = (
    "            bash-19920   [000] .....  1243.533773: mm_page_alloc: "
    + PAGE
    + (
        "pfn=0x155938 order=1 migratetype=2 gfp_flags=__GFP_RECLAIMABLE|__GFP_IO|__GFP_FS"
        "|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC"
    )
)
FREE = (
    f"          <idle>-0       [001] ..s1.  1243.534669: mm_page_free: {PAGE}pfn=0x13d43a order=0"
)
BATCHED = (
    "         python3-19921   [000] ...2.  1243.537140: mm_page_free_batched: "
    f"{PAGE}pfn=0x20243b order=0"
)
LOCKED = (
    "         python3-19921   [001] d..3.  1243.550431: mm_page_alloc_zone_locked: "
    f"{PAGE}pfn=0x114fc5 order=0 migratetype=0 percpu_refill=1"
)
DRAIN = (
    "             lab-149     [000] d..3.  1244.000001: mm_page_pcpu_drain: page=(____ptrval____) "
    "pfn=0x107b45 order=0 migratetype=1"
)
EXTFRAG = (
    "             lab-150     [000] d..3.  1244.000002: mm_page_alloc_extfrag: "
    "page=(____ptrval____) pfn=0x109000 alloc_order=0 fallback_order=10 pageblock_order=9 "
    "alloc_migratetype=0 fallback_migratetype=1 fragmenting=0 change_ownership=1"
)
MARKER = "            init-1       [000] .....  1244.000003: tracing_mark_write: LAB_OFFLINE 37"
COMPACTION = (
    "      kcompactd0-28      [000] .....  1244.000004: mm_compaction_begin: zone_start=0x1 "
    "migrate_pfn=0x1 free_pfn=0xe00 zone_end=0x1000, mode=sync"
)
MIGRATE = (
    "      kcompactd0-28      [000] .....  1244.000005: mm_migrate_pages: nr_succeeded=32 "
    "nr_failed=0 nr_thp_succeeded=0 nr_thp_failed=0 nr_thp_split=0 mode=MIGRATE_SYNC_LIGHT "
    "reason=compaction"
)
FAILED = (
    "             lab-150     [000] .N...  1244.000006: mm_page_alloc: page=0000000000000000 "
    "pfn=0x0 order=10 migratetype=0 gfp_flags=GFP_NOWAIT|__GFP_NOWARN"
)
HEADER = """# tracer: nop
#
# entries-in-buffer/entries-written: 4/4   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
"""
DEFAULT_LINES = (ALLOC, FREE, BATCHED, LOCKED)
ALL_LINES = (*DEFAULT_LINES, DRAIN, EXTFRAG, MARKER, COMPACTION, MIGRATE, FAILED)
TRACE = HEADER + "".join(f"{line}\n" for line in ALL_LINES)

USER = "GFP_HIGHUSER_MOVABLE|__GFP_COMP"

STATE = """\
TIME 1000000
ZONE node 0 idx 1 name DMA32 start 1000 spanned 4096 present 3584 managed 3000 \
min 10 low 20 high 30 boost 0 highatomic 0 isolated_pb 1 free 524 lowmem_reserve 0 0 7 7 7 \
compact_free 0 mig 0 0 init_mig 0 init_free 0 considered 0 defer_shift 0 order_failed 0
group_by_mobility_disabled 0 pageblock_order 9 MAX_ORDER 11 MIGRATE_TYPES 5 NR_PCP_LISTS 14
PB node 0 name DMA32 start 1000 end 2000 : 01234.xx
ZONE node 0 idx 1 name DMA32 start 1000 spanned 4096 present 3584 managed 3000
FREE o 0 m 0 : 1003 1001 
FREE o 1 m 1 : 1010 
FREE o 3 m 4 : 1808 
FREE o 9 m 1 : 1200 
PCP cpu 0 count 515 high 30 batch 7 free_factor 2
PCPL idx 1 : 1015 1014 1013 
PCPL idx 13 : 1400 
TIME_END 1000500
"""
