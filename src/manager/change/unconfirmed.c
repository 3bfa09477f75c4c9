/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/unconfirmed.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "manager/audit/audit.h"

struct manager_unconfirmed {
	const struct manager_change_options *o;
	uint32_t revision;
	json_t *changes;
	struct bh_policy_set *was;
	struct manager_audit_note note; /* what all entries share; of the first policy's tenant */
	char *object, *reason;
	char request[MANAGER_AUDIT_REQUEST_SIZE];
	int64_t open; /* 0: it has no entry `begun` */
	bool again;
};

static void place(const struct manager_unconfirmed *u, const char *tenant,
		  struct manager_audit_note *note)
{
	const struct manager_tenant *t = manager_tenant_find(u->o->inv, tenant);

	note->tenant = t ? t->number : 1;
	note->tenant_name = t ? t->name : "provider";
}

struct manager_unconfirmed *manager_unconfirmed_begin(const struct manager_change *change,
						      const struct manager_waiting *w, bool again)
{
	struct manager_unconfirmed *u;
	struct bh_diag diag = {};

	if (!change->o.audit) {
		return NULL;
	}
	u = bh_alloc(sizeof(*u));
	u->o = &change->o;
	u->again = again;
	u->revision = w->revision;
	u->changes = json_incref(w->changes);
	u->was = bh_policy_set_copy(manager_rulebook_set(u->o->book));
	u->object = bh_asprintf("revision/%u", w->revision);
	u->reason =
		bh_asprintf("revision %u of %s was not confirmed in time", w->revision, w->author);
	manager_audit_request(u->request);
	u->note = (struct manager_audit_note){.user = "bulkheadd",
					      .via = "system",
					      .act = "policy.undo",
					      .object = u->object,
					      .reason = u->reason,
					      .request = u->request};
	place(u, bh_json_str_or(json_array_get(u->changes, 0), "tenant", ""), &u->note);
	if (!again &&
	    manager_audit_begin(u->o->audit, &u->note, bh_time_wall_ns(), &u->open, &diag) < 0) {
		bh_log(BH_LOG_ERROR, "change",
		       "revision %u is rolled back although its record has to wait: %s",
		       w->revision, diag.text);
	}
	return u;
}

static void end_done(struct manager_unconfirmed *u)
{
	const struct bh_policy_set *is = manager_rulebook_set(u->o->book);
	size_t count = json_array_size(u->changes), i;
	BH_FREE struct manager_audit_note *notes = bh_alloc_array(count, sizeof(*notes));
	BH_FREE char **objects = bh_alloc_array(count, sizeof(*objects));
	json_t *change;

	json_array_foreach (u->changes, i, change) {
		const char *tenant = bh_json_str_or(change, "tenant", "");
		const char *name = bh_json_str_or(change, "name", "");

		notes[i] = u->note;
		place(u, tenant, &notes[i]);
		notes[i].object = objects[i] = bh_asprintf("policy/%s/%s", tenant, name);
		notes[i].before = manager_policy_text(u->was, tenant, name);
		notes[i].after = manager_policy_text(is, tenant, name);
	}
	manager_audit_end(u->o->audit, u->open, notes, count, bh_time_wall_ns());
	for (i = 0; i < count; i++) {
		json_decref((json_t *)notes[i].before);
		json_decref((json_t *)notes[i].after);
		free(objects[i]);
	}
}

void manager_unconfirmed_end(struct manager_unconfirmed *u, const char *problem)
{
	if (!u) {
		return;
	}
	u->note.state = "done";
	u->note.result = problem ? "failed" : "done";
	if (!problem) {
		end_done(u);
	} else if (!u->again) {
		u->note.reason = problem;
		manager_audit_end(u->o->audit, u->open, &u->note, 1, bh_time_wall_ns());
	}
	bh_policy_set_free(u->was);
	json_decref(u->changes);
	free(u->object);
	free(u->reason);
	free(u);
}
