/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where packets come from: files, one interface, a pair of them. A source is read by one thread.
 * Implementations: file.c (pcap, pcapng, either in gzip; a folder in order of first packet time),
 * afpacket.c (a sensor, inline pairs; several workers share them out), xdp.c (the same by AF_XDP).
 */
#ifndef BH_GATE_CAPTURE_CAPTURE_H
#define BH_GATE_CAPTURE_CAPTURE_H

#include "base/diag.h"
#include "gate/decode/packet.h"

struct gate_source;

struct gate_source_stats {
	uint64_t packets, bytes;
	uint64_t kernel_drops; /* the kernel had no room */
	uint64_t sent, send_failed;
	uint64_t bad; /* records of a file that can't be */
};

struct gate_source_ops {
	/* Next packet in p (data, sizes, time, number, link, source), valid until the next call. 1;
	 * 0 nothing within wait_ms; -ENODATA at the end of a file; < 0 with diag. After an error of
	 * a file the next call goes on with the next file of the folder, or is at the end. */
	int (*next)(struct gate_source *source, struct gate_packet *p, int wait_ms,
		    struct bh_diag *diag);
	/* Inline: on to the other side, as it is now (p->data may have been changed). */
	int (*forward)(struct gate_source *source, const struct gate_packet *p);
	/* A frame of our own (reject) out of the side that p came in by, or of the other. */
	int (*inject)(struct gate_source *source, const struct gate_packet *p, bool other_side,
		      const void *frame, size_t size);
	void (*stats)(const struct gate_source *source, struct gate_source_stats *ret);
	void (*free)(struct gate_source *source);
};
struct gate_source {
	const struct gate_source_ops *ops;
};

/* Opens a file, or finds those of a folder. What is in them is first read by _begin, for which the
 * rights can be given up that opening took. */
[[nodiscard]] int gate_source_file(const char *path, struct gate_source **ret,
				   struct bh_diag *diag);
[[nodiscard]] int gate_source_file_begin(struct gate_source *source, struct bh_diag *diag);
/* A capture that is in memory (copied), for tests. */
[[nodiscard]] int gate_source_memory(const char *name, const void *data, size_t size,
				     struct gate_source **ret, struct bh_diag *diag);
/* What the workers of a pair share to be handed their packets; outlives their sources. */
struct gate_capture_group;
struct gate_capture_group *gate_capture_group_new(void);
void gate_capture_group_free(struct gate_capture_group *group);
struct gate_live_options {
	const char *in, *out; /* interfaces; out NULL: a sensor; borrowed for the source's life */
	unsigned int worker, workers;	  /* sources are opened in order of their workers */
	struct gate_capture_group *group; /* NULL with one worker */
	bool by_flow;			  /* shared out by ports too, not only by addresses */
	uint32_t ring_mb;
	uint32_t snaplen;
	bool promiscuous;
	bool fail_open;	    /* inline: pass frames on without inspection when too far behind */
	bool pass_link;	    /* inline: a leg that is down has the other one down */
	bool xdp_symmetric; /* both directions of a flow come by queues of the same number */
};
[[nodiscard]] int gate_source_afpacket(const struct gate_live_options *options,
				       struct gate_source **ret, struct bh_diag *diag);
[[nodiscard]] int gate_source_xdp(const struct gate_live_options *options, struct gate_source **ret,
				  struct bh_diag *diag);

#endif
