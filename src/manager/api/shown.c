/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/shown.h"

#include "base/json.h"

bool manager_request_sees_hosts(struct manager_request *req)
{
	return manager_request_holds(req, VERB_HOST_READ, MANAGER_PROVIDER);
}

/* Only these members (NULL-terminated); takes from over. */
static json_t *only(json_t *from, const char *const *members)
{
	json_t *to = json_object();

	for (size_t i = 0; members[i]; i++) {
		if (json_object_get(from, members[i])) {
			json_object_set(to, members[i], json_object_get(from, members[i]));
		}
	}
	json_decref(from);
	return to;
}

/* Since when and until when; why is text that may speak of hosts, but not what people wrote. */
static json_t *quarantine_shown(const json_t *q)
{
	json_t *reasons = json_array();
	const json_t *entry;
	size_t i;

	if (!json_is_object(q)) {
		json_decref(reasons);
		return json_null();
	}
	json_array_foreach (json_object_get(q, "by"), i, entry) {
		const char *reason = bh_json_str_or(entry, "reason", "");

		if (*reason && json_object_get(entry, "who")) {
			json_array_append_new(reasons, json_pack("{s:s}", "reason", reason));
		}
	}
	return json_pack("{s:O, s:O, s:s, s:o}", "since", json_object_get(q, "since"), "until",
			 json_object_get(q, "until"), "why", "", "by", reasons);
}

/* The addresses that are in use twice; whose else they are is not said. */
static json_t *conflicts_shown(const json_t *conflicts)
{
	json_t *list = json_array();
	const json_t *c;
	size_t i;

	json_array_foreach (conflicts, i, c) {
		json_array_append_new(
			list, json_pack("{s:s}", "address", bh_json_str_or(c, "address", "")));
	}
	return list;
}

json_t *manager_nic_shown(struct manager_request *req, json_t *nic)
{
	static const char *const members[] = {
		"mac",	 "addresses", "addresses_api", "addresses_learned",
		"flags", "vlans",     "protected",     NULL};

	return manager_request_sees_hosts(req) ? nic : only(nic, members);
}

json_t *manager_vm_shown(struct manager_request *req, const struct manager_vm *vm)
{
	static const char *const members[] = {
		"uuid",	     "name",  "type",	   "state",  "tenant",	   "tenant_api",
		"identity",  "birth", "birth_api", "labels", "labels_api", "labels_metadata",
		"last_seen", NULL};
	BH_JSON json_t *full = manager_vm_json(req->parts->inv, vm);
	json_t *nics, *nic, *obj;
	size_t i;

	if (manager_request_sees_hosts(req)) {
		return json_incref(full);
	}
	nics = json_array();
	json_array_foreach (json_object_get(full, "nics"), i, nic) {
		json_array_append_new(nics, manager_nic_shown(req, json_incref(nic)));
	}
	obj = only(json_incref(full), members);
	json_object_set_new(obj, "nics", nics);
	json_object_set_new(obj, "host", json_null());
	json_object_set_new(obj, "moving_to", json_null());
	json_object_set_new(obj, "misplaced", json_null());
	json_object_set_new(obj, "quarantine",
			    quarantine_shown(json_object_get(full, "quarantine")));
	json_object_set_new(obj, "address_conflicts",
			    conflicts_shown(json_object_get(full, "address_conflicts")));
	return obj;
}

json_t *manager_migration_shown(struct manager_request *req, json_t *migration)
{
	static const char *const members[] = {"id",    "vm",	"vm_name", "state",
					      "begun", "ended", "ms",	   NULL};

	return manager_request_sees_hosts(req) ? migration : only(migration, members);
}
