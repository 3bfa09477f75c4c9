/* SPDX-License-Identifier: Apache-2.0 */
/* What people say about a host: its labels, and that it is in maintenance. */
#include "manager/inventory/inventory.h"

#include "base/json.h"

#define SETTINGS_MAX (64u << 10)

char *manager_host_settings_dump(const struct manager_host *host)
{
	const struct manager_maintenance *m = &host->maintenance;
	BH_JSON json_t *all = json_object();

	if (json_object_size(host->labels)) {
		json_object_set(all, "labels", host->labels);
	}
	if (m->on) {
		json_object_set_new(all, "maintenance",
				    json_pack("{s:s, s:s, s:I}", "reason", m->reason, "by", m->by,
					      "since", (json_int_t)m->since_ns));
	}
	return bh_json_dump(all);
}

void manager_host_settings_load(struct manager_host *host, const char *text)
{
	BH_JSON json_t *all = NULL;
	const json_t *m;
	json_t *labels;

	if (bh_json_load(text, strlen(text), SETTINGS_MAX, &all, NULL) < 0) {
		return;
	}
	labels = json_object_get(all, "labels");
	if (manager_labels_check(labels, false, NULL) == 0) {
		json_decref(host->labels);
		host->labels = json_incref(labels);
	}
	m = json_object_get(all, "maintenance");
	if (m) {
		host->maintenance.on = true;
		snprintf(host->maintenance.reason, sizeof(host->maintenance.reason), "%s",
			 bh_json_str_or(m, "reason", ""));
		snprintf(host->maintenance.by, sizeof(host->maintenance.by), "%s",
			 bh_json_str_or(m, "by", ""));
		host->maintenance.since_ns = bh_json_u64_or(m, "since", 0);
	}
}

static int save(struct manager_inventory *inv, struct manager_host *host, struct bh_diag *diag)
{
	host->saved = false;
	inv->dirty = true;
	return manager_inventory_save(inv, false, diag);
}

int manager_host_set_labels(struct manager_inventory *inv, struct manager_host *host,
			    json_t *labels, struct bh_diag *diag)
{
	json_t *old = host->labels;
	int r;

	host->labels = labels;
	r = save(inv, host, diag);
	if (r < 0) {
		host->labels = old;
		json_decref(labels);
		return r;
	}
	json_decref(old);
	return 0;
}

int manager_host_set_maintenance(struct manager_inventory *inv, struct manager_host *host,
				 const struct manager_maintenance *maintenance,
				 struct bh_diag *diag)
{
	struct manager_maintenance old = host->maintenance;
	int r;

	host->maintenance = *maintenance;
	r = save(inv, host, diag);
	if (r < 0) {
		host->maintenance = old;
	}
	return r;
}
