/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's guest agent: PID 1 of a small guest, told over a virtio-serial port what traffic to
 * make.
 *
 * One JSON object per line in, one out with the same "id". Operations run in a child each, so that
 * a slow one blocks nobody. A background operation is a job with a name; it counts in a page that
 * it shares with the agent, which answers "stat" from it. Single-threaded. Test equipment: trusts
 * its caller.
 */
#ifndef LAB_AGENT_H
#define LAB_AGENT_H

#include <jansson.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define FRAME_MAX_BYTES 256
#define FRAMES_KEPT	256

struct frame {
	uint32_t size; /* on the wire; at most FRAME_MAX_BYTES are kept */
	uint8_t data[FRAME_MAX_BYTES];
};

/* What a job shares with the agent. */
struct job_stats {
	uint64_t sent, received, connects, refused, timeouts, errors, bytes;
	uint64_t frames, matched, foreign;
	uint64_t max_rtt_us;
	uint64_t started_us;
	bool ready; /* a server listens, a flow is connected, a capture is open */
	bool done;
	char error[128];
	uint32_t kept;
	struct frame frame[FRAMES_KEPT];
};

struct op {
	const char *name;
	/* Runs in a child. Returns the reply (owned by the caller; may be NULL). */
	json_t *(*run)(const json_t *req, struct job_stats *stats);
	bool background;
};

extern const struct op traffic_ops[]; /* ends with an entry without name */
extern const struct op swarm_ops[];
extern const struct op raw_ops[];

uint64_t now_us(void);
const char *str_of(const json_t *req, const char *key, const char *otherwise);
int int_of(const json_t *req, const char *key, int otherwise);
json_t *failed(const char *what); /* {"ok": false, "error": "what: strerror(errno)"} */

/* boot.c */
void boot_mounts(void);
void boot_modules(void);
bool boot_arg(const char *key, char *out, size_t size);
void boot_network(void);
int boot_open_port(const char *name);

/* agent.c */
_Noreturn void agent_loop(int port);

#endif
