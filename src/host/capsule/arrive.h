/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM that comes: its way in is in arrive.c, what its source sends in
 * receive.c, what happens to it later in watch.c. Loop only.
 *
 * Theory of operation
 *   Order   The hook waits while the phases go by: the VM's networks are known here, the
 *           manager has said yes, its rules are in this kernel, its source was asked for the
 *           rest, the rest is imported, has been read back, and the manager has noted that. Then
 *           the hook returns. Whatever fails before is one sentence for whoever wants the move.
 *   Parts   come in order; part 0 begins anew. What they hold is imported at once and noted by
 *           tuple until it was read back. While it is read back, parts wait.
 *   Proof   The kernel is walked: each connection that came and did not run out meanwhile must
 *           be there. What is there and did not come is taken out, as long as the VM does not
 *           run here.
 *   Window  From the import on the NICs are arriving: TCP that meets no connection is not judged
 *           but waits for its repetition. The end mark closes the window; without it the window
 *           ends 2 s after the VM runs, and the NICs pick TCP up for a minute.
 */
#ifndef BH_HOST_CAPSULE_ARRIVE_H
#define BH_HOST_CAPSULE_ARRIVE_H

#include "host/capsule/internal.h"

#define ARRIVE_HELD_MAX 8 /* parts that wait while it is read back */

enum arrive_phase {
	ARRIVE_NETWORKS,
	ARRIVE_MANAGER,	 /* asked `migrate` */
	ARRIVE_RULES,	 /* waits for the image */
	ARRIVE_SOURCE,	 /* asked `start`; parts come */
	ARRIVE_READBACK, /* all is there; the kernel is read */
	ARRIVE_REPORT,	 /* told `migrated installed` */
	ARRIVE_READY,	 /* the hook has its answer; changes come */
};

/* A connection that came. */
struct move_got {
	struct move_key key;
	struct bh_hash hash; /* of key, policy_port and opener */
	uint16_t policy_port;
	uint8_t opener;
	uint64_t until_ns; /* when it runs out by itself */
	bool seen;	   /* read back */
	UT_hash_handle hh;
};

struct arrive_held {
	struct bh_bus_request *req;
	void *data;
	size_t size;
};

struct arrival {
	struct hostd_moves *moves; /* NULL when it is over; lives on for the bus */
	struct hostd_agent *agent;
	unsigned int refs;
	struct bh_ctl_request *req; /* the hook; NULL: answered */
	uint8_t uuid[16];
	char name[HOSTD_NAME_SIZE];
	bool restore;
	struct hostd_vm parsed;
	json_t *vm, *by;
	char id_text[MOVE_ID_SIZE]; /* "": the manager has not opened one */
	uint8_t id[16];
	char source[BH_NAME_MAX + 1]; /* "": nothing comes along */
	char hash[2 * BH_HASH_SIZE + 1];
	enum arrive_phase phase;
	uint64_t started_ns, deadline_ns, ready_ns, retry_ns;
	uint64_t runs_ns; /* 0: not yet */
	bool seen;	  /* libvirt has had it here */
	bool final, cut;
	bool arriving; /* the NICs' flag is set */
	bool start_out;
	bool alone;	/* without the manager, by what it signed before */
	char away[160]; /* why the manager was not asked */

	/* receive.c */
	struct hostd_dp_move_nics nics;
	uint32_t next_seq;
	struct bh_pki_verifier *verifier;
	struct bh_hasher *hasher;
	struct move_got *got;
	struct bh_hash got_sum;
	struct bh_capsule_mark mark;
	bool whole; /* the mark has come in this push */
	struct hostd_dp_walk *walk;
	struct bh_hash read_sum;
	uint32_t read_count, expired;
	BH_VEC(struct bh_capsule_tuple) extra;
	BH_VEC(struct bh_capsule_conn) batch;
	BH_VEC(struct arrive_held) held;
	int problem; /* of the part that is being read */
	struct bh_diag problem_diag;

	uint64_t parts, bytes, conns, segments_differ;
	struct arrival *prev, *next;
};

/* ---- receive.c ---- */
void receive_part(struct arrival *a, struct bh_bus_request *req, const void *data, size_t size);
bool receive_working(const struct arrival *a);
void receive_slice(struct arrival *a);
/* Forgets everything but the NICs and answers what waits. */
void receive_stop(struct arrival *a);
void receive_flags(struct arrival *a, bool arriving);
json_t *receive_receipt(const struct arrival *a); /* owned */

/* ---- arrive.c ---- */
struct arrival *arrival_new(struct hostd_moves *moves, const uint8_t uuid[16], const char *name);
/* NULL: none. */
struct arrival *arrival_of_vm(const struct hostd_moves *moves, const uint8_t uuid[16]);
struct arrival *arrival_of_id(const struct hostd_moves *moves, const char *id_text);
/* It runs, or its memory is on the way: libvirt has it. */
bool arrival_is_here(const struct arrival *a);
/* Takes it off the list; it may be gone then. */
void arrival_end(struct arrival *a);
/* The manager hears of it now or, when it is away, after the next hello. */
void arrival_tell(struct arrival *a, const char *phase, const char *why);
/* An event. */
void arrival_report(struct arrival *a, const char *type, const char *reason);
/* As arrival_fail(); `told`: the manager knows it already, by its own word. */
void arrival_end_failed(struct arrival *a, const char *reason, bool told);
void arrival_ask_start(struct arrival *a);
/* Moves it on as far as it goes. It may be gone afterwards. */
void arrival_advance(struct arrival *a, uint64_t now_ns);
/* The move fails for this reason; the hook and the manager are told. The arrival may be gone. */
void arrival_fail(struct arrival *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* It was read back, and nothing is missing. */
void arrival_installed(struct arrival *a);
/* The end mark has come. */
void arrival_final(struct arrival *a);
bool arrival_runs_here(const struct arrival *a);
void arrival_unref(struct arrival *a);

#endif
