/* SPDX-License-Identifier: Apache-2.0 */
/* Who wants a migration: when the hosts' libvirts make it among themselves, the target's names only
 * the other libvirt, and the source's knows the person. The move does not wait for it. */
#include "manager/migrate/migrate.h"

#include "base/json.h"
#include "base/util.h"

#define WHO_MS 2000

struct looking {
	struct manager_migrate *part;
	char id[MANAGER_MIGRATION_ID_SIZE];
	struct manager_migration *refused; /* owned; NULL: one that was open */
};

static bool from_elsewhere(const json_t *by)
{
	size_t i;
	json_t *one;

	json_array_foreach (by, i, one) {
		if (strcmp(bh_json_str_or(one, "transport", "unix"), "unix") != 0) {
			return true;
		}
	}
	return false;
}

static bool has(const json_t *list, const json_t *one)
{
	size_t i;
	json_t *other;

	json_array_foreach (list, i, other) {
		if (json_equal(one, other)) {
			return true;
		}
	}
	return false;
}

/* True when somebody new is among them. */
static bool add(struct manager_migration *m, const json_t *by)
{
	BH_JSON json_t *people = manager_migration_people(by);
	bool any = false;
	size_t i;
	json_t *one;

	json_array_foreach (people, i, one) {
		json_object_set_new(one, "host", json_string(m->source));
		if (!has(m->by, one)) {
			json_array_append(m->by, one);
			any = true;
		}
	}
	return any;
}

static void tell_refused(struct manager_migration *m)
{
	manager_migration_notice(m, "migration.refused", "warning",
				 json_pack("{s:s}", "reason", m->reason));
	manager_migration_free(m);
}

static void add_to_refused(struct manager_migration *m, const json_t *by)
{
	if (m->part->closing) { /* it is in the store */
		manager_migration_free(m);
		return;
	}
	if (add(m, by)) {
		manager_migration_save_end(m);
	}
	tell_refused(m);
}

static void on_who(int err, const struct bh_bus_msg *reply, void *arg)
{
	BH_FREE struct looking *l = arg;
	const json_t *by = err ? NULL : json_object_get(reply->json, "by");
	struct manager_migration *m;

	if (l->refused) {
		add_to_refused(l->refused, by);
		return;
	}
	if (!by || l->part->closing) {
		return;
	}
	HASH_FIND_STR(l->part->open, l->id, m);
	if (m && add(m, by) && m->state >= MANAGER_MIGRATION_READY) {
		manager_migration_save_end(m);
	}
}

static bool ask(struct manager_migration *m, bool refused)
{
	struct manager_migrate *part = m->part;
	struct looking *l;

	if (!*m->source || !part->o.command || part->closing || !from_elsewhere(m->by)) {
		return false;
	}
	l = bh_alloc(sizeof(*l));
	l->part = part;
	l->refused = refused ? m : NULL;
	memcpy(l->id, m->id, sizeof(l->id));
	part->o.command(m->source, json_pack("{s:s}", "type", "who"), WHO_MS, on_who, l,
			part->o.command_arg);
	return true;
}

void manager_migration_who(struct manager_migration *m)
{
	(void)!ask(m, false);
}

void manager_migration_who_refused(struct manager_migration *m)
{
	if (!ask(m, true)) {
		tell_refused(m);
	}
}
