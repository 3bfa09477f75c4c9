/* SPDX-License-Identifier: Apache-2.0 */
/* Reputation of addresses (iprep): files of "address,category,score", read once; read-only then. */
#ifndef BH_GATE_DETECT_IPREP_H
#define BH_GATE_DETECT_IPREP_H

#include "gate/decode/packet.h"

struct gate_config;
struct gate_iprep;
struct gate_iprep *gate_iprep_new(const struct gate_config *config);
void gate_iprep_free(struct gate_iprep *iprep);
/* 0..127, or -1: nothing is known. The longest prefix counts. */
int gate_iprep_score(const struct gate_iprep *iprep, const struct gate_addr *addr,
		     uint8_t category);

#endif
