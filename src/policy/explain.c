/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts in words: which rule decided at each tap, and which were asked before it. */
#include "policy/compiler.h"
#include "policy/eval.h"

#include "model/id.h"

#include <errno.h>

#define CONSIDERED_MAX 200
#define IDENTITY_FIRST 256

static bool has_ports(uint8_t proto)
{
	return proto == 6 || proto == 17 || proto == 132;
}

int bh_policy_service_parse(const char *s, struct bh_policy_service *ret_service,
			    struct bh_diag *diag)
{
	char text[24];
	uint64_t a = 0;
	uint64_t b = 0;
	char *first;
	char *second = NULL;
	bool good = strlen(s) < sizeof(text);

	memset(ret_service, 0, sizeof(*ret_service));
	snprintf(text, sizeof(text), "%s", s);
	first = strchr(text, '/');
	if (first) {
		*first++ = '\0';
		second = strchr(first, '/');
	}
	if (second) {
		*second++ = '\0';
	}
	good = good && !bh_proto_parse(text, &ret_service->proto);
	if (good && (ret_service->proto == 1 || ret_service->proto == 58)) {
		good = (!first || !bh_parse_u64(first, 0, 255, &a)) &&
		       (!second || !bh_parse_u64(second, 0, 255, &b));
		a = a << 8 | b;
	} else if (good && first) {
		good = !second && has_ports(ret_service->proto) &&
		       !bh_parse_u64(first, 0, 65535, &a);
	}
	if (!good) {
		return bh_diag_set(diag, -EINVAL,
				   "\"%.32s\" is no service; expected one such as tcp/443, udp/53, "
				   "icmp/8 or a protocol's name or number",
				   s);
	}
	ret_service->port = (uint16_t)a;
	return 0;
}

void bh_policy_service_format(const struct bh_policy_service *service, struct bh_wbuf *w)
{
	uint8_t p = service->proto;
	struct policy_port port = {.proto = p, .first = service->port, .last = service->port};

	port.whole = p != 1 && p != 58 && !has_ports(p);
	policy_port_format(&port, w);
}

static json_t *text_of(struct bh_wbuf *w)
{
	json_t *text = json_string(bh_wbuf_cstr(w));

	bh_wbuf_done(w);
	return text;
}

json_t *policy_rule_to_json(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			    uint32_t builtin)
{
	struct bh_wbuf text;
	struct bh_wbuf says;
	json_t *obj;

	if (builtin) {
		return json_pack("{s:s, s:s, s:i, s:b}", "text", bh_policy_builtin_text(builtin),
				 "direction", bh_policy_dir_name(dir), "builtin", (int)builtin,
				 "log", 0);
	}
	bh_wbuf_init(&text, 0);
	bh_wbuf_init(&says, 0);
	bh_policy_rule_format(policy, dir, index, &text);
	bh_policy_rule_describe(policy, dir, index, &says);
	obj = json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:I, s:i}", "text", text_of(&text), "says",
			text_of(&says), "tenant", policy->tenant, "policy", policy->name,
			"direction", bh_policy_dir_name(dir), "tier",
			bh_policy_tier_name(policy->tier), "index", (json_int_t)index, "builtin",
			0);
	json_object_set_new(obj, "name", json_string(policy->rules[dir][index].name));
	json_object_set_new(obj, "file", json_string(policy->file));
	json_object_set_new(obj, "line", json_integer(policy->rules[dir][index].line));
	json_object_set_new(obj, "log",
			    json_boolean(policy->rules[dir][index].flags & BH_POLICY_RULE_LOG));
	return obj;
}

struct considered {
	json_t *list;
	size_t left_out;
};

static void consider(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
		     uint32_t builtin, enum bh_policy_outcome outcome, void *arg)
{
	static const char *const names[] = {"", "match", "peer", "port", "quarantine"};
	struct considered *c = arg;
	json_t *rule;

	if (json_array_size(c->list) >= CONSIDERED_MAX && outcome != BH_POLICY_MATCH) {
		c->left_out++;
		return;
	}
	rule = policy_rule_to_json(policy, dir, index, builtin);
	json_object_set_new(rule, "outcome", json_string(names[outcome]));
	json_array_append_new(c->list, rule);
}

/* Judges at one end; ret_json null when that end is no VM. */
static int explain_end(const struct bh_policy_compiler *compiler,
		       const struct bh_policy_question *q, json_t **ret_json, struct bh_diag *diag)
{
	struct considered c = {};
	struct bh_policy_verdict v;
	int r;

	if (q->self < IDENTITY_FIRST) {
		*ret_json = json_null();
		return 0;
	}
	c.list = json_array();
	r = bh_policy_eval(compiler, q, consider, &c, &v, diag);
	if (r) {
		json_decref(c.list);
		return r;
	}
	*ret_json =
		json_pack("{s:s, s:o, s:b, s:o, s:I}", "action", bh_policy_action_name(v.action),
			  "rule", policy_rule_to_json(v.policy, q->dir, v.index, v.builtin),
			  "selected", (int)v.selected, "considered", c.list, "considered_left_out",
			  (json_int_t)c.left_out);
	return 0;
}

static enum bh_policy_action action_of(const json_t *end)
{
	const char *name = json_string_value(json_object_get(end, "action"));

	if (!name || !strcmp(name, "allow")) {
		return BH_POLICY_ALLOW;
	}
	return strcmp(name, "reject") ? BH_POLICY_DENY : BH_POLICY_REJECT;
}

int bh_policy_explain(const struct bh_policy_compiler *compiler, const struct bh_policy_end *src,
		      const struct bh_policy_end *dst, const struct bh_policy_service *service,
		      json_t **ret_json, struct bh_diag *diag)
{
	json_t *ends[2] = {};
	enum bh_policy_action action;
	struct bh_wbuf w;
	struct bh_policy_question out = {src->identity, BH_POLICY_EGRESS, *dst, *service};
	struct bh_policy_question in = {dst->identity, BH_POLICY_INGRESS, *src, *service};
	int r = explain_end(compiler, &out, &ends[0], diag);

	if (r) {
		return r;
	}
	/* The sender's side comes first; what it drops never arrives. */
	r = explain_end(compiler, &in, &ends[1], diag);
	if (r) {
		json_decref(ends[0]);
		return r;
	}
	action = action_of(ends[0]);
	action = action == BH_POLICY_ALLOW ? action_of(ends[1]) : action;
	bh_wbuf_init(&w, 0);
	bh_policy_service_format(service, &w);
	*ret_json = json_pack("{s:s, s:b, s:o, s:o, s:o}", "action", bh_policy_action_name(action),
			      "allowed", action == BH_POLICY_ALLOW, "service", text_of(&w),
			      "egress", ends[0], "ingress", ends[1]);
	return 0;
}
