/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/policies:diff: what applying the same documents would change. Policies line by line, the
 * records of hosts, who may talk to whom (policy room), and the connections that are open now and
 * would end: the hosts concerned are asked for theirs, bounded in time and number, and each is
 * judged under both sets at both of its ends. And the VMs that would run where they may not. A VM
 * whose classes the new policies change (`selector.vms`, `selector.addresses`) is judged by the
 * identity that it has now.
 */
#include "manager/api/documents.h"

#include "manager/migrate/placement.h"
#include "manager/rulebook/textdiff.h"

#include "base/json.h"
#include "policy/eval.h"

#include <netinet/in.h>
#include <uthash.h>

#define TEXT_LINES_MAX 200
#define HOSTS_MAX      64
#define PER_HOST_MAX   5000
#define SHOWN_MAX      200
#define ASK_MS	       3000
#define IDENTITY_FIRST 256
#define ICMP_ECHO      (8u << 8)
#define ICMP6_ECHO     (128u << 8)

struct seen { /* a connection between two hosts is told by both */
	char *key;
	UT_hash_handle hh;
};

struct asking {
	struct manager_request *req;
	struct manager_commit_result result;
	struct bh_policy_set *set; /* as it would be */
	size_t open, asked, judged;
	json_t *replies; /* [{"host", "connections"}] */
	json_t *silent;	 /* hosts that did not answer */
	bool cut;	 /* some host left connections out */
	struct bh_policy_compiler *from, *to;
	struct seen *seen;
	json_t *found;
	size_t total;
};

static void asking_free(void *arg)
{
	struct asking *a = arg;
	struct seen *s, *tmp;

	HASH_ITER (hh, a->seen, s, tmp) {
		HASH_DEL(a->seen, s);
		free(s->key);
		free(s);
	}
	manager_commit_result_done(&a->result);
	bh_policy_set_free(a->set);
	json_decref(a->replies);
	json_decref(a->silent);
	json_decref(a->found);
	bh_policy_compiler_free(a->from);
	bh_policy_compiler_free(a->to);
	free(a);
}

/* ---- policies ---- */

static const char *canonical(const struct bh_policy_set *set, const json_t *change)
{
	const struct bh_policy *p = bh_policy_set_get(set, bh_json_str_or(change, "tenant", ""),
						      bh_json_str_or(change, "name", ""));

	return p ? bh_policy_canonical(p) : "";
}

static void add_texts(json_t *changes, const struct bh_policy_set *from,
		      const struct bh_policy_set *to)
{
	size_t i;
	json_t *change;

	json_array_foreach (changes, i, change) {
		struct bh_wbuf w;

		bh_wbuf_init(&w, 0);
		manager_text_diff(canonical(from, change), canonical(to, change), TEXT_LINES_MAX,
				  &w);
		json_object_set_new(change, "text", json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
	}
}

/* ---- connections ---- */

static bool take_end(const json_t *side, struct bh_policy_end *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->identity = (uint32_t)bh_json_u64_or(side, "identity", 0);
	ret->has_addr = bh_addr_parse(bh_json_str_or(side, "address", ""), ret->addr) == 0;
	return ret->identity != 0 && ret->has_addr;
}

static bool take_service(const json_t *connection, struct bh_policy_service *ret)
{
	if (bh_proto_parse(bh_json_str_or(connection, "proto", ""), &ret->proto) < 0) {
		return false;
	}
	ret->port = (uint16_t)bh_json_u64_or(json_object_get(connection, "dst"), "port", 0);
	if (ret->proto == IPPROTO_ICMP || ret->proto == IPPROTO_ICMPV6) {
		/* Its ports are the identifier of the echo: what it asked was an echo. */
		ret->port = ret->proto == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO;
	}
	return true;
}

/* At one end. false when it can't be judged there. */
static bool judge(const struct bh_policy_compiler *compiler, enum bh_policy_dir dir,
		  const struct bh_policy_end *self, const struct bh_policy_end *remote,
		  const struct bh_policy_service *service, struct bh_policy_verdict *ret)
{
	struct bh_policy_question q = {
		.self = self->identity, .dir = dir, .remote = *remote, .service = *service};

	return self->identity >= IDENTITY_FIRST &&
	       bh_policy_eval(compiler, &q, NULL, NULL, ret, NULL) == 0;
}

/* Would this end stop what it lets pass now? Then *ret says by which rule. */
static bool stops(const struct asking *a, enum bh_policy_dir dir, const struct bh_policy_end *self,
		  const struct bh_policy_end *remote, const struct bh_policy_service *service,
		  struct bh_policy_verdict *ret)
{
	struct bh_policy_verdict now;

	return judge(a->from, dir, self, remote, service, &now) && now.action == BH_POLICY_ALLOW &&
	       judge(a->to, dir, self, remote, service, ret) && ret->action != BH_POLICY_ALLOW;
}

static char *rule_text(const struct bh_policy_verdict *v)
{
	struct bh_wbuf w;
	char *text;

	if (!v->policy) {
		const char *builtin = bh_policy_builtin_text(v->builtin);

		return bh_strdup(builtin ? builtin : "");
	}
	bh_wbuf_init(&w, 0);
	bh_policy_rule_format(v->policy, v->dir, v->index, &w);
	text = bh_strdup(bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return text;
}

static bool first_time(struct asking *a, const json_t *c)
{
	const json_t *src = json_object_get(c, "src"), *dst = json_object_get(c, "dst");
	BH_FREE char *key = bh_asprintf(
		"%llu %llu %s %s %llu %s %llu", (unsigned long long)bh_json_u64_or(c, "net", 0),
		(unsigned long long)bh_json_u64_or(c, "vlan", 0), bh_json_str_or(c, "proto", ""),
		bh_json_str_or(src, "address", ""),
		(unsigned long long)bh_json_u64_or(src, "port", 0),
		bh_json_str_or(dst, "address", ""),
		(unsigned long long)bh_json_u64_or(dst, "port", 0));
	struct seen *s;

	HASH_FIND_STR(a->seen, key, s);
	if (s) {
		return false;
	}
	s = bh_alloc(sizeof(*s));
	s->key = bh_steal(&key);
	HASH_ADD_KEYPTR(hh, a->seen, s->key, strlen(s->key), s);
	return true;
}

static json_t *end_json(const struct asking *a, const json_t *side, uint32_t net,
			const struct bh_policy_end *end)
{
	const struct manager_vm *vm =
		end->identity >= IDENTITY_FIRST
			? manager_vm_by_address(a->req->parts->inv, net, end->addr)
			: NULL;
	json_t *obj = json_pack("{s:s, s:I}", "address", bh_json_str_or(side, "address", ""),
				"port", (json_int_t)bh_json_u64_or(side, "port", 0));

	if (vm) {
		json_object_set_new(obj, "vm", json_string(vm->report.name));
		json_object_set_new(obj, "tenant", json_string(vm->tenant->name));
	}
	return obj;
}

static void look_at(struct asking *a, const char *host, const json_t *c)
{
	const json_t *src_json = json_object_get(c, "src"), *dst_json = json_object_get(c, "dst");
	uint32_t net = (uint32_t)bh_json_u64_or(c, "net", 0);
	struct bh_policy_service service;
	struct bh_policy_end src, dst;
	struct bh_policy_verdict v;
	BH_FREE char *rule = NULL;
	bool at_src, at_dst;

	if (strcmp(bh_json_str_or(c, "state", ""), "closed") == 0 || !take_end(src_json, &src) ||
	    !take_end(dst_json, &dst) || !take_service(c, &service) || !first_time(a, c)) {
		return;
	}
	a->judged++;
	at_src = stops(a, BH_POLICY_EGRESS, &src, &dst, &service, &v);
	at_dst = !at_src && stops(a, BH_POLICY_INGRESS, &dst, &src, &service, &v);
	if (!at_src && !at_dst) {
		return;
	}
	if (a->total++ >= SHOWN_MAX) {
		return;
	}
	rule = rule_text(&v);
	json_array_append_new(
		a->found,
		json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:I}", "host", host, "proto",
			  bh_json_str_or(c, "proto", ""), "src", end_json(a, src_json, net, &src),
			  "dst", end_json(a, dst_json, net, &dst), "dir",
			  bh_policy_dir_name(at_src ? BH_POLICY_EGRESS : BH_POLICY_INGRESS),
			  "action", bh_policy_action_name(v.action), "rule", rule, "age_ms",
			  (json_int_t)bh_json_u64_or(c, "age_ms", 0)));
}

static json_t *connections_json(struct asking *a)
{
	size_t i, k;
	json_t *reply, *c;
	bool complete = !a->cut && json_array_size(a->silent) == 0 &&
			a->asked == json_array_size(a->replies) &&
			json_array_size(a->result.hosts) == a->asked + json_array_size(a->silent);

	a->found = json_array();
	json_array_foreach (a->replies, i, reply) {
		json_array_foreach (json_object_get(reply, "connections"), k, c) {
			look_at(a, bh_json_str_or(reply, "host", ""), c);
		}
	}
	return json_pack("{s:O, s:I, s:I, s:O, s:b}", "cut", a->found, "total",
			 (json_int_t)a->total, "judged", (json_int_t)a->judged, "silent", a->silent,
			 "complete", complete);
}

/* ---- the answer ---- */

static void answer(struct asking *a)
{
	struct manager_request *req = a->req;
	struct manager_distribute *dist = req->parts->dist;
	const struct bh_policy_set *now = manager_rulebook_set(req->parts->book);
	json_t *effect = NULL, *connections = NULL, *misplaced = NULL;

	if (a->result.changed) {
		a->from = manager_distribute_compiler(dist, now);
		a->to = manager_distribute_compiler(dist, a->set);
		if (bh_policy_diff(a->from, a->to, 0, &effect, NULL) < 0) {
			effect = NULL;
		}
		connections = connections_json(a);
		misplaced = manager_placement_preview(req->parts->inv, a->set);
		add_texts(a->result.changes, now, a->set);
	}
	manager_reply(req, 200,
		      json_pack("{s:b, s:O, s:O, s:o, s:o, s:o}", "changed", a->result.changed,
				"changes", a->result.changes, "hosts", a->result.hosts, "effect",
				effect ? effect : json_null(), "connections",
				connections ? connections : json_null(), "misplaced",
				misplaced ? misplaced : json_null()));
}

struct question {
	struct asking *asking;
	char host[BH_NAME_MAX + 1];
};

static void on_answer(int err, const struct bh_bus_msg *reply, void *arg)
{
	struct question *q = arg;
	struct asking *a = q->asking;
	json_t *list = err ? NULL : json_object_get(reply->json, "connections");

	if (json_is_array(list)) {
		a->cut |= json_is_true(json_object_get(reply->json, "cut"));
		json_array_append_new(
			a->replies, json_pack("{s:s, s:O}", "host", q->host, "connections", list));
	} else {
		json_array_append_new(a->silent, json_string(q->host));
	}
	free(q);
	if (--a->open == 0) {
		answer(a);
	}
}

static void ask(struct asking *a, const char *host)
{
	struct question *q = bh_alloc(sizeof(*q));
	json_t *body = json_pack("{s:s, s:i}", "what", "connections", "limit", PER_HOST_MAX);

	q->asking = a;
	snprintf(q->host, sizeof(q->host), "%s", host);
	a->open++;
	a->asked++;
	manager_link_query(a->req->parts->link, host, body, ASK_MS, on_answer, q);
}

/* The hosts whose state would change and that answer; no reply comes before this returns. */
static void ask_hosts(struct asking *a)
{
	size_t i;
	json_t *item;

	json_array_foreach (a->result.hosts, i, item) {
		const char *name = bh_json_str_or(item, "host", "");
		const struct manager_host *host = manager_host_find(a->req->parts->inv, name);

		if (host && host->online && a->asked < HOSTS_MAX) {
			ask(a, name);
		} else if (json_array_size(a->silent) < HOSTS_MAX) {
			json_array_append_new(a->silent, json_string(name));
		}
	}
}

void manager_policies_diff(struct manager_request *req)
{
	struct manager_commit_request request = manager_commit_of(req, "", true);
	struct bh_policy_set *documents = NULL;
	struct manager_documents d = {};
	struct bh_diag diag = {};
	struct asking *a;
	int r;

	if (manager_documents_take(req, &d)) {
		documents = manager_documents_parse(req, &d);
	}
	json_decref(d.owner);
	if (!documents) {
		return;
	}
	a = bh_alloc(sizeof(*a));
	req->state = a;
	req->state_free = asking_free;
	a->req = req;
	a->replies = json_array();
	a->silent = json_array();
	a->set = manager_commit_merge(manager_rulebook_set(req->parts->book), documents, d.prune);
	bh_policy_set_free(documents);
	r = manager_commit(&request, bh_policy_set_copy(a->set), &a->result, &diag);
	if (r != 0) {
		manager_commit_refuse(req, r, &diag, &a->result);
		return;
	}
	if (a->result.changed) {
		ask_hosts(a);
	}
	if (a->open) {
		manager_request_later(req);
	} else {
		answer(a);
	}
}
