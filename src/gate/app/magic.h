/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kind of file it is, in libmagic's words ("PDF document, version 1.4"). Each worker has one
 * of its own; opening maps libmagic's data base (the system's, readable for all), which the sandbox
 * lets be read. It allocates as it looks: only rules that ask for it pay for it.
 */
#ifndef BH_GATE_APP_MAGIC_H
#define BH_GATE_APP_MAGIC_H

#include "base/diag.h"

#include <stdint.h>

#define GATE_MAGIC_MIN 512 /* bytes of a file that still grows before it is asked about */

struct gate_magic;
/* NULL with diag: there is no data base. */
struct gate_magic *gate_magic_new(struct bh_diag *diag);
void gate_magic_free(struct gate_magic *magic);
/* Owned by the caller (free); NULL: it can't be said. */
char *gate_magic_type(struct gate_magic *magic, const uint8_t *data, uint32_t size);

#endif
