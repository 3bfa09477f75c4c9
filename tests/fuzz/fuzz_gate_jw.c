/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever bytes and whatever shapes: what jw calls ok is JSON. */
#include "gate/output/jw.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(struct gate_jw *jw, uint8_t kind, const uint8_t *bytes, size_t size)
{
	uint64_t number = 0;
	char key[8];

	snprintf(key, sizeof(key), "k%zu", jw->size % 1000);
	memcpy(&number, bytes, size < 8 ? size : 8);
	switch (kind % 8) {
	case 0:
		gate_jw_object(jw, key);
		break;
	case 1:
		gate_jw_array(jw, key);
		break;
	case 2:
		if (jw->depth > 1) {
			gate_jw_end(jw);
		}
		break;
	case 3:
		gate_jw_hex(jw, key, bytes, size);
		break;
	case 4:
		gate_jw_base64(jw, key, bytes, size);
		break;
	case 5:
		gate_jw_int(jw, key, (int64_t)number);
		break;
	default:
		gate_jw_bytes(jw, key, bytes, size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_jw jw;
	size_t at = 0;

	gate_jw_init(&jw);
	gate_jw_object(&jw, NULL);
	while (at + 2 <= size) {
		size_t n = data[at + 1];

		n = n < size - at - 2 ? n : size - at - 2;
		one(&jw, data[at], data + at + 2, n);
		at += 2 + n;
	}
	while (jw.ok && jw.depth) {
		gate_jw_end(&jw);
	}
	if (jw.ok) {
		json_t *value = json_loadb(jw.data, jw.size, JSON_ALLOW_NUL, NULL);

		assert(value);
		json_decref(value);
	}
	gate_jw_done(&jw);
	return 0;
}
