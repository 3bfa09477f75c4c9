/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are fetched in parts: HTTP responses with Content-Range, over several flows and
 * workers. Each part is a file of its transaction; when the last byte that was missing has come,
 * the whole is one more file of the transaction that brought it.
 *
 * One table for all workers, behind a lock that is held for no more than a list of
 * GATE_RANGE_PARTS_MAX parts. Bounded: http.byterange.memcap bytes of parts and names,
 * GATE_RANGE_FILES_MAX files at once, http.byterange.timeout seconds after the last part. What is
 * over is not joined, and counted.
 */
#ifndef BH_GATE_APP_RANGE_H
#define BH_GATE_APP_RANGE_H

#include "gate/gate.h"

#define GATE_RANGE_FILES_MAX 1024
#define GATE_RANGE_PARTS_MAX 1024 /* of one file */
#define GATE_RANGE_KEY_MAX   1024

struct gate_config;
struct gate_ranges;
struct gate_range_part;

struct gate_ranges *gate_ranges_new(const struct gate_config *config);
void gate_ranges_free(struct gate_ranges *ranges); /* after all workers */

/* Bytes start to end (the last) of the file that `key` names, which has `total`. NULL: over a
 * limit, or it is no part. One worker's until gate_range_end. */
struct gate_range_part *gate_range_begin(struct gate_ranges *ranges, const struct gate_view *key,
					 const uint64_t span[2], uint64_t total, uint64_t now_us);
/* False: over a limit. The part is of no use then, but must be ended still. */
bool gate_range_add(struct gate_range_part *part, const void *data, uint32_t size);

/* The parts of a file in order, without what they have twice. */
typedef void gate_range_fn(void *arg, const uint8_t *data, uint32_t size);
struct gate_range_file;
/* Takes the part. Not NULL: all bytes are there now; free with gate_range_file_free. */
struct gate_range_file *gate_range_end(struct gate_range_part *part, uint64_t now_us);
void gate_range_file_walk(const struct gate_range_file *file, gate_range_fn *fn, void *arg);
void gate_range_file_free(struct gate_range_file *file);

#endif
