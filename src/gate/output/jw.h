/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON as text into a buffer of the worker: records are made thousands of times a second.
 * Whatever bytes a value has, the text is valid JSON and valid UTF-8: what is neither printable nor
 * sound UTF-8 becomes \xNN as Suricata writes it (an escaped backslash) or \u00NN. Bounded: past
 * the limit the record is cut off (`ok` false) and must be thrown away, counted.
 */
#ifndef BH_GATE_OUTPUT_JW_H
#define BH_GATE_OUTPUT_JW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_JW_SIZE_MAX (256u << 10)

struct gate_jw {
	char *data; /* owned */
	size_t size, capacity;
	bool ok;
	bool comma;	 /* one is due before the next member */
	uint8_t depth;	 /* at most 32 */
	uint32_t arrays; /* bit per depth: it is an array */
};

void gate_jw_init(struct gate_jw *jw);
void gate_jw_done(struct gate_jw *jw);
void gate_jw_reset(struct gate_jw *jw);
/* key NULL: an element of an array, or the outermost. */
void gate_jw_object(struct gate_jw *jw, const char *key);
void gate_jw_array(struct gate_jw *jw, const char *key);
void gate_jw_end(struct gate_jw *jw); /* of the innermost object or array */
void gate_jw_text(struct gate_jw *jw, const char *key, const char *value);
/* Foreign bytes. */
void gate_jw_bytes(struct gate_jw *jw, const char *key, const void *data, size_t size);
void gate_jw_hex(struct gate_jw *jw, const char *key, const void *data, size_t size);
void gate_jw_base64(struct gate_jw *jw, const char *key, const void *data, size_t size);
void gate_jw_uint(struct gate_jw *jw, const char *key, uint64_t value);
void gate_jw_int(struct gate_jw *jw, const char *key, int64_t value);
void gate_jw_real(struct gate_jw *jw, const char *key, double value);
void gate_jw_bool(struct gate_jw *jw, const char *key, bool value);
/* Text that is JSON already (an object or a value). */
void gate_jw_raw(struct gate_jw *jw, const char *key, const char *json, size_t size);

#endif
