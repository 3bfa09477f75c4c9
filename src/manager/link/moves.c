/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of hosts about VMs that travel: between the bus and migrate/. */
#include "manager/link/internal.h"

#include "base/counter.h"

#include <errno.h>

BH_COUNTER(link_migrates_refused, "requests about migrations that were refused");

static void on_decided(const struct manager_migrate_answer *answer, void *arg)
{
	struct bh_bus_request *req = arg;
	char hash[2 * BH_HASH_SIZE + 1];

	if (answer->code) {
		bh_counter_add(&link_migrates_refused, 1);
		bh_bus_reply_error(req, answer->code, "%s", answer->text);
		return;
	}
	bh_hash_format(&answer->hash, hash);
	bh_bus_reply(req, json_pack("{s:s, s:s, s:s}", "migration", answer->id, "source",
				    answer->source, "hash", hash));
}

void manager_link_on_migrate(struct manager_link *link, struct manager_host *host,
			     struct bh_bus_request *req, const json_t *json)
{
	if (!link->migrate) {
		bh_bus_reply_error(req, "refused", "this manager lets nothing migrate");
		return;
	}
	manager_migrate_ask(link->migrate, host, json, on_decided, req);
}

void manager_link_on_migrated(struct manager_link *link, struct manager_host *host,
			      struct bh_bus_request *req, const json_t *json)
{
	struct bh_diag diag = {};
	int r = -ENOENT;

	if (link->migrate) {
		r = manager_migrate_told(link->migrate, host, json, &diag);
	}
	if (r < 0) {
		bh_counter_add(&link_migrates_refused, 1);
		bh_bus_reply_error(req,
				   r == -ENOENT	  ? "unknown"
				   : r == -EPERM  ? "refused"
				   : r == -EINVAL ? "bad"
						  : "store",
				   "%s", diag.text);
		return;
	}
	bh_bus_reply(req, NULL);
}
