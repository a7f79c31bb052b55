/* One zone of Linux 6.1's buddy allocator, as a C programmer would write it for speed.
 *
 * The reference of `make bench`: the algorithm of memsim/kernels/buddy.py and nothing else (no
 * zonelist, no watermarks, no per-CPU lists). A free block's type is that of the list it stands on,
 * never derived from its pageblock. No page is on an LRU list.
 */
#include <stdbool.h>
#include <stdint.h>

enum {
	MAX_PAGE_ORDER = 10,
	NR_PAGE_ORDERS = MAX_PAGE_ORDER + 1,
	PAGEBLOCK_ORDER = 9,
	PAGEBLOCK_NR_PAGES = 1 << PAGEBLOCK_ORDER,
	TYPES = 3,
	OP_FREE = 0x80,
	PREFETCH = 32, /* events between asking for a cache line and using it */
};
enum { UNMOVABLE, MOVABLE, RECLAIMABLE };

#define ORDER_MASK 0xf
#define TYPE_SHIFT 4

struct links {
	int32_t next, prev;
};

struct zone {
	/* Of order-0 buddies at most one heads a free block, so two pages share one pair of links.
	 * Behind the pages' pairs lies a sentinel for each (order, type). */
	struct links *links;
	uint8_t *state; /* order + 1 of the free block that a page heads, or 0; above it the type */
	uint8_t *pageblocks;
	int64_t pages;
	int64_t nr_free_pages;
	int64_t nr_free[NR_PAGE_ORDERS];
	uint32_t free_mask[TYPES]; /* per type a bit for each order whose list is not empty */
};

static const int fallbacks[TYPES][2] = {
	[UNMOVABLE] = { RECLAIMABLE, MOVABLE },
	[MOVABLE] = { RECLAIMABLE, UNMOVABLE },
	[RECLAIMABLE] = { UNMOVABLE, MOVABLE },
};
static const int whole_from[TYPES] = { 0, PAGEBLOCK_ORDER / 2, 0 };

static inline struct links *links_of(struct zone *z, int64_t pfn)
{
	return &z->links[pfn >> 1];
}

static inline int32_t sentinel(struct zone *z, int order, int type)
{
	return (int32_t)(z->pages + 2 * (order * TYPES + type));
}

static inline int free_order(struct zone *z, int64_t pfn)
{
	return (z->state[pfn] & ORDER_MASK) - 1;
}

static inline void add_to_free_list(struct zone *z, int64_t pfn, int order, int type, bool tail)
{
	int32_t head = sentinel(z, order, type);
	int32_t before = tail ? links_of(z, head)->prev : head;
	int32_t after = tail ? head : links_of(z, head)->next;

	links_of(z, before)->next = (int32_t)pfn;
	*links_of(z, pfn) = (struct links){ .next = after, .prev = before };
	links_of(z, after)->prev = (int32_t)pfn;
	z->state[pfn] = (uint8_t)((order + 1) | type << TYPE_SHIFT);
	z->nr_free[order]++;
	z->free_mask[type] |= 1u << order;
}

static inline void del_page_from_free_list(struct zone *z, int64_t pfn, int order)
{
	int32_t before = links_of(z, pfn)->prev, after = links_of(z, pfn)->next;

	links_of(z, before)->next = after;
	links_of(z, after)->prev = before;
	z->nr_free[order]--;
	if (before == after) /* only a sentinel is both neighbours */
		z->free_mask[z->state[pfn] >> TYPE_SHIFT] &= ~(1u << order);
	z->state[pfn] = 0;
}

static inline int64_t free_head(struct zone *z, int order, int type)
{
	return links_of(z, sentinel(z, order, type))->next;
}

static inline int64_t rmqueue_smallest(struct zone *z, int order, int type)
{
	uint32_t orders = z->free_mask[type] >> order;
	if (!orders)
		return -1;
	int high = order + __builtin_ctz(orders);
	int64_t pfn = free_head(z, high, type);

	del_page_from_free_list(z, pfn, high);
	while (high > order) {
		high--;
		add_to_free_list(z, pfn + (1l << high), high, type, false);
	}
	z->state[pfn] = (uint8_t)(type << TYPE_SHIFT);
	return pfn;
}

static int fallback_type(struct zone *z, int order, int type)
{
	for (int i = 0; i < 2; i++)
		if (z->free_mask[fallbacks[type][i]] >> order & 1)
			return fallbacks[type][i];
	return -1;
}

static void move_to_free_list(struct zone *z, int64_t pfn, int order, int type)
{
	del_page_from_free_list(z, pfn, order);
	add_to_free_list(z, pfn, order, type, true);
}

static int64_t move_freepages_block(struct zone *z, int64_t start, int type)
{
	int64_t moved = 0;

	for (int64_t pfn = start; pfn < start + PAGEBLOCK_NR_PAGES;) {
		int order = free_order(z, pfn);
		if (order < 0) {
			pfn++;
			continue;
		}
		move_to_free_list(z, pfn, order, type);
		moved += 1l << order;
		pfn += 1l << order;
	}
	return moved;
}

static void steal_suitable_fallback(struct zone *z, int64_t pfn, int order, int type)
{
	int old = z->pageblocks[pfn >> PAGEBLOCK_ORDER];

	if (order >= PAGEBLOCK_ORDER) {
		for (int64_t page = pfn; page < pfn + (1l << order); page += PAGEBLOCK_NR_PAGES)
			z->pageblocks[page >> PAGEBLOCK_ORDER] = (uint8_t)type;
		move_to_free_list(z, pfn, order, type);
		return;
	}
	if (order < whole_from[type]) {
		move_to_free_list(z, pfn, order, type);
		return;
	}
	int64_t start = pfn & ~(int64_t)(PAGEBLOCK_NR_PAGES - 1);
	int64_t free = move_freepages_block(z, start, type);
	int64_t alike = type != MOVABLE && old == MOVABLE ? PAGEBLOCK_NR_PAGES - free : 0;
	if (free + alike >= PAGEBLOCK_NR_PAGES / 2)
		z->pageblocks[pfn >> PAGEBLOCK_ORDER] = (uint8_t)type;
}

static bool rmqueue_fallback(struct zone *z, int order, int type)
{
	int current = MAX_PAGE_ORDER, other = -1;

	while (current >= order && (other = fallback_type(z, current, type)) < 0)
		current--;
	if (other < 0)
		return false;
	if (current < whole_from[type])
		for (current = order; (other = fallback_type(z, current, type)) < 0;)
			current++;
	steal_suitable_fallback(z, free_head(z, current, other), current, type);
	return true;
}

static __attribute__((noinline)) int64_t rmqueue_after_fallback(struct zone *z, int order, int type)
{
	int64_t pfn = -1;

	while (pfn < 0 && rmqueue_fallback(z, order, type))
		pfn = rmqueue_smallest(z, order, type);
	return pfn;
}

static inline int64_t rmqueue(struct zone *z, int order, int type)
{
	int64_t pfn = rmqueue_smallest(z, order, type);

	if (__builtin_expect(pfn < 0, 0))
		pfn = rmqueue_after_fallback(z, order, type);
	if (pfn >= 0)
		z->nr_free_pages -= 1l << order;
	return pfn;
}

static inline bool buddy_merge_likely(struct zone *z, int64_t pfn, int order)
{
	if (order >= MAX_PAGE_ORDER - 1)
		return false;
	return free_order(z, (pfn & ~(1l << order)) ^ (2l << order)) == order + 1;
}

static inline void free_one_page(struct zone *z, int64_t pfn, int order, int type, bool tail)
{
	z->nr_free_pages += 1l << order;
	for (; order < MAX_PAGE_ORDER; order++) {
		int64_t buddy = pfn ^ (1l << order);
		if (free_order(z, buddy) != order)
			break;
		del_page_from_free_list(z, buddy, order);
		pfn &= buddy;
	}
	add_to_free_list(z, pfn, order, type, tail || buddy_merge_likely(z, pfn, order));
}

/* gcc 12 takes a function that only prefetches for one without effect, and drops the calls that it
 * has not inlined early. */
static inline __attribute__((always_inline)) void
prefetch_events(struct zone *z, int64_t i, int64_t stop, const uint8_t *op, const int32_t *handle,
		const int32_t *page_table)
{
	if (i + 2 * PREFETCH >= stop)
		return;
	__builtin_prefetch(&page_table[handle[i + 2 * PREFETCH]], 1);
	if (!(op[i + PREFETCH] & OP_FREE))
		return;
	int64_t pfn = page_table[handle[i + PREFETCH]] - 1;
	if (pfn < 0)
		return;
	__builtin_prefetch(&z->state[pfn], 1);
	__builtin_prefetch(links_of(z, pfn), 1);
	__builtin_prefetch(&z->pageblocks[pfn >> PAGEBLOCK_ORDER]);
}

/* Make all of a zone free, as boot does; its arrays are zero. */
void zone_boot(struct zone *z)
{
	for (int order = 0; order < NR_PAGE_ORDERS; order++)
		for (int type = 0; type < TYPES; type++) {
			int32_t head = sentinel(z, order, type);
			*links_of(z, head) = (struct links){ .next = head, .prev = head };
		}
	for (int64_t block = 0; block < z->pages >> PAGEBLOCK_ORDER; block++)
		z->pageblocks[block] = MOVABLE;
	for (int64_t pfn = 0; pfn < z->pages; pfn += 1 << MAX_PAGE_ORDER)
		free_one_page(z, pfn, MAX_PAGE_ORDER, MOVABLE, true);
}

/* op: OP_FREE, or type << 4; and the order. page_table: pfn + 1 of each handle, 0 for none. */
void zone_run(struct zone *z, int64_t start, int64_t stop, const uint8_t *op,
	      const int32_t *handle, int32_t *page_table)
{
	for (int64_t i = start; i < stop; i++) {
		prefetch_events(z, i, stop, op, handle, page_table);
		int order = op[i] & ORDER_MASK;
		int32_t *entry = &page_table[handle[i]];
		if (op[i] & OP_FREE) {
			int64_t pfn = *entry - 1;
			*entry = 0;
			if (pfn >= 0)
				free_one_page(z, pfn, order, z->pageblocks[pfn >> PAGEBLOCK_ORDER],
					      false);
		} else {
			*entry = (int32_t)(rmqueue(z, order, op[i] >> TYPE_SHIFT) + 1);
		}
	}
}

/* What a page knows besides the state that its zone keeps. */
struct page {
	int32_t holder; /* the handle that it belongs to */
	uint32_t flags;
};

/* Move single pages to another zone, in the handles' order: the least that a migration is. */
void zone_move(struct zone *from, struct zone *to, struct page *old, struct page *new, int64_t count,
	       const int32_t *handle, int32_t *page_table)
{
	for (int64_t i = 0; i < count; i++) {
		if (i + 2 * PREFETCH < count) {
			int64_t coming = page_table[handle[i + PREFETCH]] - 1;

			__builtin_prefetch(&page_table[handle[i + 2 * PREFETCH]], 1);
			__builtin_prefetch(&old[coming], 1);
			__builtin_prefetch(&from->state[coming], 1);
			__builtin_prefetch(links_of(from, coming), 1);
		}
		int32_t *entry = &page_table[handle[i]];
		int64_t source = *entry - 1;
		int64_t target = rmqueue(to, 0, MOVABLE);

		new[target] = old[source];
		old[source] = (struct page){ 0 };
		*entry = (int32_t)(target + 1);
		free_one_page(from, source, 0, from->pageblocks[source >> PAGEBLOCK_ORDER], false);
	}
}

/* Write a free list's blocks into `out`, head first; return how many there are. */
int64_t zone_free_list(struct zone *z, int order, int type, int32_t *out)
{
	int32_t head = sentinel(z, order, type);
	int64_t n = 0;

	for (int32_t pfn = links_of(z, head)->next; pfn != head; pfn = links_of(z, pfn)->next)
		out[n++] = pfn;
	return n;
}
