/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/policies:explain: which rule decides at either end. */
#include "manager/api/documents.h"

#include "base/json.h"
#include "policy/eval.h"

#include <errno.h>

static int read_end(struct manager_request *req, const char *s, struct bh_policy_end *end,
		    char *name, size_t size)
{
	struct manager_vm *vm = NULL;
	struct bh_diag diag = {};
	int r;

	memset(end, 0, sizeof(*end));
	snprintf(name, size, "%s", s);
	if (strcmp(s, "world") == 0 || strcmp(s, "host") == 0) {
		end->identity = strcmp(s, "world") == 0 ? 2 : 1;
		return 0;
	}
	if (bh_addr_parse(s, end->addr) == 0) {
		end->has_addr = true;
		vm = manager_vm_by_address(req->parts->inv, 0, end->addr);
		end->identity = vm ? vm->identity->number : 2;
		return 0;
	}
	r = manager_request_find_vm(req, s, &vm, &diag);
	if (r != 0) {
		manager_reply_error(req, r > 0 ? 409 : 404, r > 0 ? "conflict" : "not_found",
				    &diag);
		return -ENOENT;
	}
	end->identity = vm->identity->number;
	for (size_t i = 0; i < vm->report.nic_count && !end->has_addr; i++) {
		struct manager_addrs all = {};

		manager_nic_addresses(&vm->nics[i], true, &all);
		if (all.count) {
			end->has_addr = true;
			memcpy(end->addr, all.items[0].bytes, 16);
		}
		bh_vec_done(&all);
	}
	return 0;
}

/* Rules of others that were asked on the way are left out. */
static json_t *considered_json(struct manager_request *req, const json_t *list)
{
	json_t *seen = json_array();
	json_t *rule;
	size_t i;

	json_array_foreach (list, i, rule) {
		const char *tenant = bh_json_str_or(rule, "tenant", "");

		if (!*tenant || manager_seen_tenant(req, tenant)) {
			json_array_append(seen, rule);
		}
	}
	return seen;
}

/* A guard-rail: who it protects reads its name, not what it says. */
static json_t *hidden_json(const json_t *side, const json_t *rule)
{
	BH_FREE char *text = bh_asprintf("guard-rail %s", bh_json_str_or(rule, "name", ""));

	return json_pack("{s:s, s:i, s:s, s:s}", "action", bh_json_str_or(side, "action", ""),
			 "rule", 0, "text", text, "says", "");
}

/* What the policy room says, in the shape of the API: rule as text, with its number. */
static json_t *judged_json(struct manager_request *req, const json_t *side)
{
	const json_t *rule = json_object_get(side, "rule");
	const char *tenant = bh_json_str_or(rule, "tenant", "");
	const char *policy = bh_json_str_or(rule, "policy", "");
	const struct bh_policy *p =
		bh_policy_set_get(manager_rulebook_set(req->parts->book), tenant, policy);
	enum bh_policy_dir dir = strcmp(bh_json_str_or(rule, "direction", ""), "ingress") == 0
					 ? BH_POLICY_INGRESS
					 : BH_POLICY_EGRESS;
	json_t *out = json_object();
	uint32_t number = (uint32_t)bh_json_u64_or(rule, "builtin", 0);

	if (p && !manager_seen_tenant(req, tenant)) {
		return hidden_json(side, rule);
	}
	if (p) {
		BH_FREE char *name = bh_asprintf("%s/%s", tenant, policy);

		number = manager_rulebook_number(p, dir, bh_json_u64_or(rule, "index", 0),
						 req->parts->book);
		json_object_set_new(out, "policy", json_string(name));
		json_object_set_new(out, "file", json_string(bh_json_str_or(rule, "file", "")));
		json_object_set_new(out, "line",
				    json_integer((json_int_t)bh_json_u64_or(rule, "line", 0)));
	}
	json_object_set_new(out, "action", json_string(bh_json_str_or(side, "action", "")));
	json_object_set_new(out, "rule", json_integer(number));
	json_object_set_new(out, "text", json_string(bh_json_str_or(rule, "text", "")));
	json_object_set_new(out, "says", json_string(bh_json_str_or(rule, "says", "")));
	if (json_object_get(side, "considered")) {
		json_object_set_new(out, "considered",
				    considered_json(req, json_object_get(side, "considered")));
	}
	return out;
}

/* Is the VM at this end one whose policies the caller reads? */
static bool sees_end(struct manager_request *req, const struct bh_policy_end *end)
{
	const struct manager_identity *identity =
		manager_identity_at(req->parts->inv, end->identity);

	return identity && manager_request_sees(req, identity->tenant->number);
}

static json_t *side_json(struct manager_request *req, const json_t *side, bool seen)
{
	return json_is_object(side) && seen ? judged_json(req, side) : json_null();
}

void manager_policies_explain(struct manager_request *req)
{
	const char *from = manager_request_query(req, "from");
	const char *to = manager_request_query(req, "to");
	const char *port = manager_request_query(req, "port");
	struct bh_policy_service service = {};
	struct bh_policy_compiler *compiler;
	struct bh_policy_end src, dst;
	BH_JSON json_t *answer = NULL;
	char src_name[256], dst_name[256];
	struct bh_diag diag = {};
	bool src_seen, dst_seen;
	int r;

	if (!from || !to || (port && bh_policy_service_parse(port, &service, &diag) < 0)) {
		manager_reply_errorf(req, 400, "bad_request", "%s",
				     from && to ? diag.text : "'from' and 'to' are needed");
		return;
	}
	if (read_end(req, from, &src, src_name, sizeof(src_name)) < 0 ||
	    read_end(req, to, &dst, dst_name, sizeof(dst_name)) < 0) {
		return;
	}
	src_seen = sees_end(req, &src) || manager_request_holds_all(req, VERB_POLICY_READ);
	dst_seen = sees_end(req, &dst) || manager_request_holds_all(req, VERB_POLICY_READ);
	if (!src_seen && !dst_seen) {
		manager_reply_errorf(req, 404, "not_found", "neither end is a VM");
		return;
	}
	compiler = manager_distribute_compiler(req->parts->dist,
					       manager_rulebook_set(req->parts->book));
	r = bh_policy_explain(compiler, &src, &dst, &service, &answer, &diag);
	bh_policy_compiler_free(compiler);
	if (r < 0) {
		manager_reply_failed(req, r, &diag);
		return;
	}
	manager_reply(req, 200,
		      json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "verdict",
				bh_json_str_or(answer, "action", ""), "from", src_name, "to",
				dst_name, "port", bh_json_str_or(answer, "service", ""), "egress",
				side_json(req, json_object_get(answer, "egress"), src_seen),
				"ingress",
				side_json(req, json_object_get(answer, "ingress"), dst_seen)));
}
