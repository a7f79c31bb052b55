/* Deterministic mixes of allocations and frees. */
#include <stdint.h>

enum { OP_FREE = 0x80, TYPE_SHIFT = 4, ORDERS = 1024, TYPES = 256 };

struct mix {
	const uint8_t *order_of; /* [ORDERS] order by ten random bits */
	const uint8_t *type_of; /* [TYPES] type by eight random bits */
	int64_t fill; /* pages to allocate before the first free */
	int64_t low, high; /* pages in use between which the mix wanders */
	int64_t events; /* after the fill */
	uint64_t seed;
};

/* What the generator remembers, room for every handle in each. */
struct handles {
	int32_t *live;
	int32_t *spare;
	uint8_t *order;
};

static inline uint64_t xorshift(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Write at most `room` events; return how many, and in *filled those of the fill. */
int64_t mix_stream(const struct mix *mix, const struct handles *h, int64_t room, uint8_t *op,
		   int32_t *handle, int64_t *filled)
{
	uint64_t s = mix->seed * 2654435761u + 88172645463325252u;
	int64_t n = 0, used = 0, live = 0, spare = 0, next = 0;

	*filled = -1;
	while (n < room && (*filled < 0 || n - *filled < mix->events)) {
		if (*filled < 0 && used >= mix->fill)
			*filled = n;
		int allocate = xorshift(&s) >> 33 & 1;
		if (*filled < 0 || used < mix->low)
			allocate = 1;
		else if (used > mix->high)
			allocate = 0;
		uint64_t random = xorshift(&s);
		if (allocate) {
			int order = mix->order_of[random % ORDERS];
			int32_t taken = spare ? h->spare[--spare] : (int32_t)next++;
			op[n] = (uint8_t)(order | mix->type_of[random >> 32 & (TYPES - 1)] << TYPE_SHIFT);
			handle[n++] = taken;
			h->order[taken] = (uint8_t)order;
			h->live[live++] = taken;
			used += 1l << order;
		} else {
			int64_t which = (int64_t)((random >> 20) % (uint64_t)live);
			int32_t freed = h->live[which];
			h->live[which] = h->live[--live];
			op[n] = OP_FREE | h->order[freed];
			handle[n++] = freed;
			used -= 1l << h->order[freed];
			h->spare[spare++] = freed;
		}
	}
	return n;
}
