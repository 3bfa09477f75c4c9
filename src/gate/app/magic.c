/* SPDX-License-Identifier: Apache-2.0 */
/* The type of a file's first bytes, by libmagic. */
#include "gate/app/magic.h"

#include "base/counter.h"
#include "base/util.h"

#include <errno.h>
#include <magic.h>

#define LOOK_MAX (64u << 10) /* bytes that are shown to it */

BH_COUNTER(gate_magic_failed, "files whose type libmagic could not say");

struct gate_magic {
	magic_t cookie;
};

struct gate_magic *gate_magic_new(struct bh_diag *diag)
{
	struct gate_magic *magic = bh_alloc(sizeof(*magic));

	magic->cookie = magic_open(MAGIC_NONE);
	if (!magic->cookie || magic_load(magic->cookie, NULL)) {
		const char *why = magic->cookie ? magic_error(magic->cookie) : NULL;

		bh_diag_put(diag, NULL, 0, 0, "libmagic: %s", why ? why : "not enough memory");
		gate_magic_free(magic);
		return NULL;
	}
	return magic;
}

void gate_magic_free(struct gate_magic *magic)
{
	if (magic) {
		if (magic->cookie) {
			magic_close(magic->cookie);
		}
		free(magic);
	}
}

char *gate_magic_type(struct gate_magic *magic, const uint8_t *data, uint32_t size)
{
	const char *text = magic_buffer(magic->cookie, data, size < LOOK_MAX ? size : LOOK_MAX);

	if (!text) {
		bh_counter_add(&gate_magic_failed, 1);
		return NULL;
	}
	return bh_strdup(text);
}
