/* SPDX-License-Identifier: Apache-2.0 */
#include "manager_world.h"

#include "base/json.h"
#include "base/util.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

void manager_world_open(const char *path, struct manager_db **ret_db,
			struct manager_inventory **ret_inv, struct manager_rulebook **ret_book)
{
	struct bh_diag diag = {};

	if (sodium_init() < 0 || manager_store_open(path, ret_db, &diag) < 0 ||
	    manager_inventory_new(*ret_db, "default", ret_inv, &diag) < 0 ||
	    manager_rulebook_new(*ret_db, ret_book, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	manager_inventory_set_policies(*ret_inv, manager_rulebook_set(*ret_book));
}

int manager_world_commit(struct manager_commit_request *request, const char *text,
			 struct manager_commit_result *ret, struct bh_diag *diag)
{
	struct bh_policy_parse_options options = {.file = "t.yaml"};
	struct bh_policy_set *documents = NULL;
	int r;

	if (bh_policy_parse(text, strlen(text), &options, &documents, diag) < 0) {
		fail_msg("%s", diag->text);
	}
	request->author = "test";
	request->summary = "";
	r = manager_commit(
		request,
		manager_commit_merge(manager_rulebook_set(request->book), documents, false), ret,
		diag);
	bh_policy_set_free(documents);
	return r;
}

json_t *manager_world_vm(unsigned int n, const char *state, const char *role)
{
	char uuid[40], mac[24], addr[24];

	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", n);
	snprintf(mac, sizeof(mac), "52:54:00:00:00:%02x", n);
	snprintf(addr, sizeof(addr), "10.0.0.%u", n);
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:[{s:s, s:s, s:[s]}]}", "uuid", uuid,
			 "name", uuid + 24, "state", state, "tenant", "shop", "labels", "role",
			 role, "nics", "mac", mac, "net", "bridge/br0", "addresses", addr);
}

void manager_world_note(const char *type, const char *severity, json_t *body, void *arg)
{
	json_object_set_new(body, "type", json_string(type));
	json_object_set_new(body, "severity", json_string(severity));
	json_array_append_new(arg, body);
}

json_t *manager_world_take_note(json_t *noticed, const char *type)
{
	json_t *found = NULL, *item;
	size_t i = json_array_size(noticed);

	while (i-- > 0) {
		item = json_array_get(noticed, i);
		if (strcmp(bh_json_str_or(item, "type", ""), type) == 0) {
			assert_null(found);
			found = json_incref(item);
			json_array_remove(noticed, i);
		}
	}
	return found;
}
