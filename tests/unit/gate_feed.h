/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations in a file, for tests and fuzz targets of parsers: a byte (1: UDP, else TCP), the
 * server's port (two bytes, network order), then what each side says: side (0 the client), two
 * bytes of size, so many bytes. What is left over at the end is cut off.
 */
#ifndef BH_TESTS_GATE_FEED_H
#define BH_TESTS_GATE_FEED_H

#include "gate/app/app.h"

/* All that rules and records can see of it, transaction after transaction; owned. app: the parser
 * that gets it, UNKNOWN: whichever is found. step: TCP in pieces of so many bytes, 0 as it is.
 * Records must be valid JSON. */
char *gate_feed(enum gate_app app, const uint8_t *data, size_t size, size_t step);
/* One run of a fuzz target. */
int gate_feed_fuzz(enum gate_app app, const uint8_t *data, size_t size);

#endif
