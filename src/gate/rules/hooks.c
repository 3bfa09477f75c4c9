/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "tls:client_hello_done" in the header of a rule: when it is asked. Suricata 8's rule hooks: of a
 * protocol the state that a side of a transaction must have reached, of packets `all` and
 * `flow_start`. Those that only its firewall mode has are refused.
 */
#include "gate/app/app.h"
#include "gate/rules/reading.h"

/* Names that every protocol has, whatever it calls its first and last state. */
static int state_of_all(const char *name, enum gate_dir dir, int last)
{
	static const char *const words[GATE_DIRS][2] = {{"request_started", "request_complete"},
							{"response_started", "response_complete"}};

	return !strcmp(name, words[dir][0]) ? 0 : !strcmp(name, words[dir][1]) ? last : -1;
}

/* Its number, or -1. */
static int state_number(const struct gate_app_ops *ops, const char *name, enum gate_dir dir)
{
	bool one_name = ops->states[GATE_TO_SERVER] == ops->states[GATE_TO_CLIENT];
	const char *const *states = ops->states[dir];
	int n = 0;

	for (; states && states[n]; n++) {
		/* what both sides call the same says nothing of the side */
		if (!one_name && !strcmp(states[n], name)) {
			return n;
		}
	}
	return state_of_all(name, dir, n ? n - 1 : 1);
}

int gate_read_app_hook(struct gate_reading *r, const char *name, size_t at)
{
	const struct gate_app_ops *ops = gate_app_ops_of(r->rule->app);

	for (unsigned int dir = 0; ops && dir < GATE_DIRS; dir++) {
		int state = state_number(ops, name, (enum gate_dir)dir);
		struct gate_match *match;

		if (state < 0) {
			continue;
		}
		match = gate_tx_match(r, GATE_M_STATE);
		if (!match) {
			return -EINVAL;
		}
		match->other.text = bh_strdup(name);
		match->other.args[0] = GATE_DIR_BIT(dir);
		match->other.args[1] = (uint32_t)state;
		/* the states of the others that the word stands for are other ones */
		r->rule->apps = 1u << r->rule->app;
		return 0;
	}
	return gate_refuse_at(r, at, "%s: %s has no such state", name,
			      ops ? ops->name : "the protocol");
}

int gate_read_packet_hook(struct gate_reading *r, const char *name, size_t at)
{
	struct gate_match *match;

	if (strcmp(name, "all") != 0 && strcmp(name, "flow_start") != 0) {
		return gate_refuse_at(r, at,
				      "%s: all and flow_start are hooks of packets; others are of "
				      "Suricata's firewall mode",
				      name);
	}
	match = gate_packet_match(r, GATE_M_HOOK);
	if (!match) {
		return -EINVAL;
	}
	match->other.text = bh_strdup(name);
	match->other.args[0] = !strcmp(name, "flow_start");
	return 0;
}
