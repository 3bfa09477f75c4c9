/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats of captures: pcap (both byte orders, micro- and nanoseconds, the variant with longer
 * records) and pcapng. Limits: a record of CAPTURE_RECORD_MAX bytes, 1,024 interfaces of a section.
 */
#ifndef BH_GATE_CAPTURE_FORMAT_H
#define BH_GATE_CAPTURE_FORMAT_H

#include "base/util.h"
#include "gate/capture/input.h"
#include "gate/decode/packet.h"

#define CAPTURE_RECORD_MAX     (256u * 1024)
#define CAPTURE_INTERFACES_MAX 1024

struct capture_interface {
	uint16_t link;
	uint32_t snaplen; /* 0: none */
	uint64_t units;	  /* of a second */
	int64_t offset_s;
};

struct capture_reader {
	struct capture_input in;
	bool ng, swapped;
	/* pcap */
	uint16_t link;
	uint32_t record_header;
	bool nanoseconds;
	/* pcapng: those of the section */
	BH_VEC(struct capture_interface) interfaces;
	uint64_t time_us; /* of the last packet: a simple packet has none */
	uint64_t records;
};

/* Takes the input over, also when it fails: it is no capture. */
[[nodiscard]] int capture_reader_init(struct capture_reader *r, struct capture_input *in,
				      struct bh_diag *diag);
void capture_reader_done(struct capture_reader *r);
/* 1 with a packet (data valid until the next call), 0 at the end, < 0: the record can't be, and
 * nothing behind it can be read. */
[[nodiscard]] int capture_reader_next(struct capture_reader *r, struct gate_packet *p,
				      struct bh_diag *diag);

#endif
