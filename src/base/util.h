/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small things that every room needs: cleanup attributes, allocation that ends the process, array
 * helpers. Nothing here keeps state.
 */
#ifndef BH_BASE_UTIL_H
#define BH_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BH_ARRAY_SIZE(a)		   (sizeof(a) / sizeof((a)[0]))
#define BH_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Control plane only: out of memory ends the process, which is crash-safe by design. Never NULL. */
void *bh_alloc(size_t size); /* zeroed */
void *bh_alloc_array(size_t count, size_t size);
void *bh_realloc_array(void *old, size_t count, size_t size);
void *bh_memdup(const void *data, size_t size);
char *bh_strdup(const char *s);
char *bh_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* FNV-1a, its halves folded, for tables of our own names. No secret is in it: not where others
 * choose what goes in and a long chain would hurt. */
uint64_t bh_fnv1a(const void *data, size_t size);

/* Hands an owning local over: `return bh_steal(&buf);` leaves NULL behind for the cleanup. */
#define bh_steal(pp)                                                                               \
	({                                                                                         \
		typeof(*(pp)) stolen_ = *(pp);                                                     \
		*(pp) = NULL;                                                                      \
		stolen_;                                                                           \
	})

static inline void bh_cleanup_freep(void *pp)
{
	free(*(void **)pp);
}
static inline void bh_cleanup_closep(const int *fd)
{
	if (*fd >= 0) {
		close(*fd);
	}
}
static inline void bh_cleanup_fclosep(FILE **f)
{
	if (*f) {
		fclose(*f);
	}
}
#define BH_CLEANUP(fn) __attribute__((cleanup(fn)))
#define BH_FREE	       BH_CLEANUP(bh_cleanup_freep)
#define BH_CLOSE       BH_CLEANUP(bh_cleanup_closep)
#define BH_FCLOSE      BH_CLEANUP(bh_cleanup_fclosep)

/* A growing array: `BH_VEC(struct foo) v = {};` then bh_vec_push(&v) returns the new, zeroed slot.
 */
#define BH_VEC(...)                                                                                \
	struct {                                                                                   \
		__VA_ARGS__ *items;                                                                \
		size_t count;                                                                      \
		size_t capacity;                                                                   \
	}
void bh_vec_grow(void **items, size_t *capacity, size_t need, size_t item_size);
#define bh_vec_push(v)                                                                             \
	({                                                                                         \
		bh_vec_grow((void **)&(v)->items, &(v)->capacity, (v)->count + 1,                  \
			    sizeof(*(v)->items));                                                  \
		memset(&(v)->items[(v)->count], 0, sizeof(*(v)->items));                           \
		&(v)->items[(v)->count++];                                                         \
	})
#define bh_vec_foreach(p, v)                                                                       \
	for (typeof(*(v)->items) *p = (v)->items; p && p < (v)->items + (v)->count; p++)
/* Frees the storage, not what the items own. */
#define bh_vec_done(v)                                                                             \
	do {                                                                                       \
		free((v)->items);                                                                  \
		memset((v), 0, sizeof(*(v)));                                                      \
	} while (0)

/* Decimal digits only, the whole string, within [min, max]. 0, or -EINVAL / -ERANGE. */
[[nodiscard]] int bh_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret_value);

/* Lower-case hex. out holds 2 * size + 1 characters. */
void bh_hex_format(const void *data, size_t size, char *out);
/* Exactly 2 * size hex digits. 0 or -EINVAL. */
[[nodiscard]] int bh_hex_parse(const char *s, void *ret_data, size_t size);

#endif
