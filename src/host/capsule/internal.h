/* SPDX-License-Identifier: Apache-2.0 */
/* What arrive.c, depart.c and moves.c share. Loop only. */
#ifndef BH_HOST_CAPSULE_INTERNAL_H
#define BH_HOST_CAPSULE_INTERNAL_H

#include "base/time.h"
#include "host/capsule/capsule.h"
#include "model/capsule.h"

#include <sodium.h>
#include <uthash.h>

#define MOVES_MAX    64 /* in each direction */
#define MOVE_ID_SIZE 33 /* hex and NUL */
/* A part is imported, and a slice of a walk done, in one turn of the loop. */
#define MOVE_SLICE_NS	(4 * BH_NS_PER_MS)
#define MOVE_SLICE_STEP 512
#define MOVE_PEER_MS	5000 /* for an answer of the other host */
#define MOVE_RETRY_NS	(200 * BH_NS_PER_MS)
#define MOVE_MANAGER_MS 5000
#define MOVE_TICK_MS	50

struct arrival;
struct departure;

struct hostd_moves {
	struct hostd_agent *agent;
	struct arrival *arrivals;
	struct departure *departures;
	unsigned int arrival_count, departure_count;
	uv_timer_t tick;   /* while there are moves */
	uv_idle_t slices;  /* while something walks */
	uv_poll_t journal; /* while something departs */
	bool journal_open; /* the handle is there */
	bool stopping;
	uint64_t begun_ns;
	bool orphans_done; /* flags of moves before this process have been looked at */
	uint8_t hash_key[crypto_shorthash_KEYBYTES]; /* of move_key_hash */
};

/* A tuple as a key: no byte of it is undefined. */
struct move_key {
	struct bh_capsule_tuple tuple;
};
void move_key_set(struct move_key *key, const struct bh_capsule_tuple *tuple);
/* SipHash under this process's own key: guests choose ports and peers, and would otherwise choose
 * those that all fall into one chain. */
uint32_t move_key_hash(const struct hostd_moves *moves, const struct move_key *key);
/* `id` of a message or a list, in both forms. */
[[nodiscard]] int move_id(const json_t *from, uint8_t ret_id[16], char ret_text[MOVE_ID_SIZE],
			  struct bh_diag *diag);
/* The NICs of the VM that the kernel has a number for, in the order of capsules from here. */
void move_nics(const struct hostd_agent *agent, const uint8_t uuid[16],
	       struct hostd_dp_move_nics *ret);
struct bh_bus *move_bus(const struct hostd_agent *agent); /* NULL: none, or not connected */
/* Sees to it that the timer runs as long as it is needed. */
void moves_timers(struct hostd_moves *moves);

/* ---- arrive.c ---- */
void arrive_tick(struct hostd_moves *moves, uint64_t now_ns);
void arrive_slice(struct hostd_moves *moves);
bool arrive_working(const struct hostd_moves *moves); /* slices are wanted */
void arrive_part(struct hostd_moves *moves, struct bh_bus_request *req,
		 const struct bh_bus_msg *msg);
void arrive_command_end(struct hostd_moves *moves, struct bh_bus_request *req,
			const struct bh_bus_msg *msg);
void arrive_event(struct hostd_moves *moves, const uint8_t uuid[16], enum hostd_vm_event event,
		  enum hostd_vm_detail detail);
void arrive_ended(struct hostd_moves *moves, const uint8_t uuid[16]);
void arrive_poke(struct hostd_moves *moves);
/* This one is open; item as in hello's answer. */
void arrive_listed(struct hostd_moves *moves, const json_t *item);
/* What is not in the list ([{migration}]) is over. */
void arrive_unlisted(struct hostd_moves *moves, const json_t *list);
bool arrive_has_vm(const struct hostd_moves *moves, const uint8_t uuid[16]);
void arrive_json(const struct hostd_moves *moves, json_t *list);
void arrive_stop(struct hostd_moves *moves);
void arrive_free(struct hostd_moves *moves);

/* ---- depart.c ---- */
void depart_tick(struct hostd_moves *moves, uint64_t now_ns);
void depart_slice(struct hostd_moves *moves);
bool depart_working(const struct hostd_moves *moves);
/* Something waits there; `all`: reads it to its end, else a slice. */
void depart_journal(struct hostd_moves *moves, bool all);
void depart_command(struct hostd_moves *moves, struct bh_bus_request *req,
		    const struct bh_bus_msg *msg);
/* This VM may go to that host: from the manager's command, or from what it signed before. -ENOENT:
 * it is not here. */
[[nodiscard]] int depart_expect(struct hostd_moves *moves, const uint8_t uuid[16],
				const char *id_text, const char *target, uint64_t *ret_connections,
				struct bh_diag *diag);
/* Nothing comes of it, says the target; no such move is fine. */
void depart_failed(struct hostd_moves *moves, const char *id_text, const char *why);
void depart_command_end(struct hostd_moves *moves, struct bh_bus_request *req,
			const struct bh_bus_msg *msg);
void depart_start(struct hostd_moves *moves, struct bh_bus_request *req,
		  const struct bh_bus_msg *msg);
void depart_event(struct hostd_moves *moves, const uint8_t uuid[16], enum hostd_vm_event event,
		  enum hostd_vm_detail detail);
void depart_ended(struct hostd_moves *moves, const uint8_t uuid[16]);
void depart_before(struct hostd_moves *moves, const struct bh_image *next);
void depart_listed(struct hostd_moves *moves, const json_t *item);
void depart_unlisted(struct hostd_moves *moves, const json_t *list);
bool depart_has_vm(const struct hostd_moves *moves, const uint8_t uuid[16]);
void depart_json(const struct hostd_moves *moves, json_t *list);
void depart_stop(struct hostd_moves *moves);
void depart_free(struct hostd_moves *moves);

#endif
