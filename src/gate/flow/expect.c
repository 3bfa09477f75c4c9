/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows that another flow has announced (FTP data). A small table looked through only while it
 * holds anything; what is not met within 30 s is forgotten.
 */
#include "gate/flow/table.h"

#include <string.h>

#define EXPECT_US (30ull * 1000000)

static bool same(const struct gate_addr *a, const struct gate_addr *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool forget_old(struct gate_flow_table *table, struct flow_expectation *e, uint64_t now_us)
{
	if (!e->app || e->until_us >= now_us) {
		return false;
	}
	e->app = GATE_APP_UNKNOWN;
	table->stats.expectations--;
	return true;
}

void gate_flow_expect(struct gate_flow_table *table, const struct gate_flow *parent,
		      const struct gate_addr *server, uint16_t port, enum gate_app app,
		      uint64_t now_us)
{
	struct flow_expectation *room = NULL;
	if (app == GATE_APP_UNKNOWN) {
		return;
	}
	for (unsigned int i = 0; i < GATE_FLOW_EXPECT_MAX; i++) {
		struct flow_expectation *e = &table->expectations[i];
		forget_old(table, e, now_us);
		if (!e->app) {
			room = room ? room : e;
		} else if (e->port == port && same(&e->server, server)) {
			room = e;
			break;
		}
	}
	if (!room) {
		table->stats.expectations_full++;
		return;
	}
	table->stats.expectations += !room->app;
	*room = (struct flow_expectation){.server = *server,
					  .peer = {parent->addr[0], parent->addr[1]},
					  .until_us = now_us + EXPECT_US,
					  .port = port,
					  .app = (uint16_t)app};
}

void flow_expected(struct gate_flow_table *table, struct gate_flow *flow)
{
	if (!table->stats.expectations || flow->ip_proto != IPPROTO_TCP) {
		return;
	}
	for (unsigned int i = 0; i < GATE_FLOW_EXPECT_MAX; i++) {
		struct flow_expectation *e = &table->expectations[i];
		if (forget_old(table, e, flow->first_us) || !e->app || e->port != flow->port[1] ||
		    !same(&e->server, &flow->addr[1])) {
			continue;
		}
		if (same(&e->peer[0], &flow->addr[0]) || same(&e->peer[1], &flow->addr[0])) {
			flow->app_expected = e->app;
			e->app = GATE_APP_UNKNOWN;
			table->stats.expectations--;
			table->stats.expectations_met++;
			return;
		}
	}
}

void gate_flow_expected(struct gate_flow *flow)
{
	struct gate_flow_table *table = gate_flow_table_of(flow);
	if (table && !flow->app_expected) {
		flow_expected(table, flow);
	}
}
