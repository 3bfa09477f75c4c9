/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a change of policies would do: policies line by line, the records of hosts, who may talk to
 * whom (policy room), recorded flows that would get another verdict (change/whatif.h), connections
 * that are open now and would end: the hosts concerned are asked for theirs, bounded in time and
 * number, and each is judged under both sets at both of its ends. And the VMs that would run where
 * they may not. A VM whose classes the new policies change (`selector.vms`, `selector.addresses`)
 * is judged by the identity that it has now. What takes long is a worker's; it works on copies, and
 * outlives a request that ends before it.
 */
#include "manager/api/documents.h"

#include "manager/change/whatif.h"
#include "manager/migrate/placement.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/time.h"
#include "policy/eval.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <uthash.h>

#define HOSTS_MAX      64
#define PER_HOST_MAX   5000
#define SHOWN_MAX      200
#define ASK_MS	       3000
#define IDENTITY_FIRST 256
#define ICMP_ECHO      (8u << 8)
#define ICMP6_ECHO     (128u << 8)
#define FLOWS_MS       20000
#define JOBS_MAX       4

BH_COUNTER(diff_busy, "previews of changes refused because too many were under way");

struct seen { /* a connection between two hosts is told by both */
	char *key;
	UT_hash_handle hh;
};

/* The worker's part; lives until both it and the request are done with it. */
struct job {
	uv_work_t work;
	struct asking *asking; /* NULL: nobody waits any more */
	struct manager_change *change;
	struct manager_world *world;
	struct manager_scope scope;	     /* whose policies the caller reads */
	struct manager_whatif_options flows; /* world NULL: not wanted */
	atomic_bool cancel;
	json_t *effect, *recorded;
	int r;
	struct bh_diag diag;
};

struct asking {
	struct manager_request *req;
	struct job *job;	    /* under way */
	struct manager_scope flows; /* whose the caller sees */
	json_t *effect, *recorded;
	char why[BH_DIAG_TEXT_SIZE]; /* there are no recorded flows; "": there are */
	struct manager_commit_result result;
	struct bh_policy_set *set; /* as it would be */
	size_t open, asked, judged;
	json_t *replies; /* [{"host", "connections"}] */
	json_t *silent;	 /* hosts that did not answer */
	bool cut;	 /* some host left connections out */
	struct bh_policy_compiler *from, *to;
	struct bh_policy_asker *askers[2];
	struct seen *seen;
	json_t *found;
	size_t total;
};

static void asking_free(void *arg)
{
	struct asking *a = arg;
	struct seen *s, *tmp;

	if (a->job) {
		atomic_store(&a->job->cancel, true);
		a->job->asking = NULL;
	}
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
	json_decref(a->effect);
	json_decref(a->recorded);
	bh_policy_asker_free(a->askers[0]);
	bh_policy_asker_free(a->askers[1]);
	bh_policy_compiler_free(a->from);
	bh_policy_compiler_free(a->to);
	free(a);
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
static bool judge(struct bh_policy_asker *asker, enum bh_policy_dir dir,
		  const struct bh_policy_end *self, const struct bh_policy_end *remote,
		  const struct bh_policy_service *service, struct bh_policy_verdict *ret)
{
	struct bh_policy_question q = {
		.self = self->identity, .dir = dir, .remote = *remote, .service = *service};

	return self->identity >= IDENTITY_FIRST && bh_policy_asker_ask(asker, &q, ret) == 0;
}

/* Would this end stop what it lets pass now? Then *ret says by which rule. */
static bool stops(const struct asking *a, enum bh_policy_dir dir, const struct bh_policy_end *self,
		  const struct bh_policy_end *remote, const struct bh_policy_service *service,
		  struct bh_policy_verdict *ret)
{
	struct bh_policy_verdict now;

	return judge(a->askers[0], dir, self, remote, service, &now) &&
	       now.action == BH_POLICY_ALLOW &&
	       judge(a->askers[1], dir, self, remote, service, ret) &&
	       ret->action != BH_POLICY_ALLOW;
}

static char *rule_text(struct manager_request *req, const struct bh_policy_verdict *v)
{
	struct bh_wbuf w;
	char *text;

	if (!v->policy) {
		const char *builtin = bh_policy_builtin_text(v->builtin);

		return bh_strdup(builtin ? builtin : "");
	}
	if (!manager_seen_tenant(req, bh_policy_tenant(v->policy))) {
		return bh_asprintf("guard-rail %s",
				   bh_policy_rule_name(v->policy, v->dir, v->index));
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

	if (vm && manager_scope_has(&a->flows, vm->tenant->number)) {
		json_object_set_new(obj, "vm", json_string(vm->report.name));
		json_object_set_new(obj, "tenant", json_string(vm->tenant->name));
	}
	return obj;
}

static bool sees_flow(const struct asking *a, const struct bh_policy_end *src,
		      const struct bh_policy_end *dst)
{
	const struct bh_policy_universe *u = manager_distribute_universe(a->req->parts->dist);

	return manager_scope_sees(&a->flows, bh_policy_universe_tenant_of(u, src->identity),
				  bh_policy_universe_tenant_of(u, dst->identity));
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
	    !take_end(dst_json, &dst) || !take_service(c, &service) || !sees_flow(a, &src, &dst) ||
	    !first_time(a, c)) {
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
	rule = rule_text(a->req, &v);
	json_array_append_new(
		a->found,
		json_pack("{s:s, s:s, s:o, s:o, s:s, s:s, s:s, s:I}", "host",
			  manager_sees_hosts(a->req) ? host : "", "proto",
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
	if (!manager_sees_hosts(a->req)) {
		json_array_clear(a->silent);
	}
	return json_pack("{s:O, s:I, s:I, s:O, s:b}", "cut", a->found, "total",
			 (json_int_t)a->total, "judged", (json_int_t)a->judged, "silent", a->silent,
			 "complete", complete);
}

/* ---- the answer ---- */

static json_t *recorded_json(const struct asking *a)
{
	if (a->recorded) {
		return json_incref(a->recorded);
	}
	return *a->why ? json_pack("{s:s}", "problem", a->why) : json_null();
}

/* VMs of tenants that the caller sees; where they run only for those who know hosts. */
static json_t *misplaced_json(struct asking *a)
{
	json_t *all = manager_placement_preview(a->req->parts->inv, a->set);
	json_t *vms = json_object_get(all, "vms");
	json_t *seen, *vm;
	size_t i;

	if (manager_request_holds_all(a->req, VERB_POLICY_READ) && manager_sees_hosts(a->req)) {
		return all;
	}
	seen = json_array();
	json_array_foreach (vms, i, vm) {
		if (manager_seen_tenant(a->req, bh_json_str_or(vm, "tenant", ""))) {
			json_object_set_new(vm, "host", json_string(""));
			json_object_set_new(vm, "why", json_string("placement"));
			json_array_append(seen, vm);
		}
	}
	json_decref(all);
	return json_pack("{s:o, s:I}", "vms", seen, "total", (json_int_t)json_array_size(seen));
}

static void answer(struct asking *a)
{
	struct manager_request *req = a->req;
	struct manager_distribute *dist = req->parts->dist;
	const struct bh_policy_set *now = manager_rulebook_set(req->parts->book);
	json_t *connections = NULL, *misplaced = NULL;
	json_t *changes, *hosts;

	if (a->result.changed) {
		a->from = manager_distribute_compiler(dist, now);
		a->to = manager_distribute_compiler(dist, a->set);
		a->askers[0] = bh_policy_asker_new(a->from);
		a->askers[1] = bh_policy_asker_new(a->to);
		connections = connections_json(a);
		misplaced = misplaced_json(a);
		manager_changes_add_texts(a->result.changes, now, a->set);
	}
	changes = manager_changes_seen(req, a->result.changes, NULL);
	hosts = manager_sees_hosts(req) ? json_incref(a->result.hosts) : json_array();
	manager_reply(req, 200,
		      json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "changed", a->result.changed,
				"changes", changes, "hosts", hosts, "effect",
				a->effect ? json_incref(a->effect) : json_null(), "flows",
				recorded_json(a), "connections",
				connections ? connections : json_null(), "misplaced",
				misplaced ? misplaced : json_null()));
}

static void one_part_less(struct asking *a)
{
	if (--a->open == 0) {
		answer(a);
	}
}

/* ---- the worker ---- */

static bool sees_policies(const char *tenant, void *arg)
{
	const struct job *job = arg;

	return manager_scope_has(&job->scope,
				 bh_policy_universe_tenant_number(job->world->universe, tenant));
}

static void work(uv_work_t *work)
{
	struct job *job = work->data;
	struct bh_policy_diff_options options = {.sees = sees_policies, .arg = job};

	manager_world_prepare(job->world);
	if (bh_policy_diff_for(job->world->compilers[0], job->world->compilers[1], &options,
			       &job->effect, NULL) < 0) {
		job->effect = NULL;
	}
	if (job->flows.world) {
		job->r = manager_whatif_run(&job->flows, &job->recorded, &job->diag);
	}
}

static void worked(uv_work_t *work, int status)
{
	struct job *job = work->data;
	struct asking *a = job->asking;

	job->change->jobs--;
	manager_world_free(job->world);
	if (a) {
		a->job = NULL;
		a->effect = bh_steal(&job->effect);
		a->recorded = bh_steal(&job->recorded);
		if (job->r < 0) {
			snprintf(a->why, sizeof(a->why), "%s", job->diag.text);
		}
		one_part_less(a);
	}
	json_decref(job->effect);
	json_decref(job->recorded);
	free(job);
}

static void start_job(struct asking *a, const struct manager_preview_how *how)
{
	const struct manager_parts *parts = a->req->parts;
	struct manager_world_options options = {.dist = parts->dist,
						.before = manager_rulebook_set(parts->book),
						.after = a->set,
						.db_path = manager_db_path(parts->db),
						.talks_path = parts->change->o.talks_path};
	struct job *job = bh_alloc(sizeof(*job));
	uint64_t now = bh_time_wall_ns(), back = how->days * 86400 * BH_NS_PER_S;

	job->work.data = job;
	job->asking = a;
	job->change = parts->change;
	job->world = manager_world_new(&options);
	manager_request_scope(a->req, VERB_POLICY_READ, &job->scope);
	if (how->days) {
		job->flows =
			(struct manager_whatif_options){.world = job->world,
							.since_ns = back < now ? now - back : 0,
							.scope = a->flows,
							.policies = job->scope,
							.limit_ms = FLOWS_MS,
							.cancel = &job->cancel};
	}
	a->job = job;
	a->open++;
	parts->change->jobs++;
	if (uv_queue_work(parts->loop, &job->work, work, worked) < 0) {
		abort(); /* only for a missing callback */
	}
}

/* ---- open connections: hosts are asked ---- */

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
	one_part_less(a);
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

void manager_preview_answer(struct manager_request *req, struct bh_policy_set *set,
			    const struct manager_preview_how *how)
{
	struct manager_commit_request request = manager_commit_of(req, "", true);
	struct asking *a = bh_alloc(sizeof(*a));
	struct bh_diag diag = {};
	int r;

	req->state = a;
	req->state_free = asking_free;
	a->req = req;
	a->replies = json_array();
	a->silent = json_array();
	a->set = set;
	manager_request_scope(req, VERB_FLOW_READ, &a->flows);
	if (req->parts->change->jobs >= JOBS_MAX) {
		bh_counter_add(&diff_busy, 1);
		req->retry_after_s = 2;
		manager_reply_errorf(req, 503, "busy", "%d previews are under way already",
				     JOBS_MAX);
		return;
	}
	r = manager_commit(&request, bh_policy_set_copy(a->set), &a->result, &diag);
	if (r != 0) {
		manager_commit_refuse(req, r, &diag, &a->result);
		return;
	}
	if (a->result.changed) {
		start_job(a, how);
		ask_hosts(a);
	}
	if (a->open) {
		manager_request_later(req);
	} else {
		answer(a);
	}
}

int manager_preview_how_take(struct manager_request *req, struct manager_preview_how *ret)
{
	return manager_request_number(req, "days", 0, MANAGER_WHATIF_DAYS_MAX, &ret->days) < 0
		       ? -EINVAL
		       : 0;
}

void manager_policies_diff(struct manager_request *req)
{
	struct manager_preview_how how = {};
	struct bh_policy_set *documents = NULL;
	struct manager_documents d = {};

	if (manager_preview_how_take(req, &how) < 0) {
		return;
	}
	if (manager_documents_take(req, &d)) {
		documents = manager_documents_parse(req, &d);
	}
	if (documents && manager_documents_may(req, VERB_POLICY_READ, documents)) {
		manager_preview_answer(req,
				       manager_commit_merge(manager_rulebook_set(req->parts->book),
							    documents, d.prune),
				       &how);
	}
	bh_policy_set_free(documents);
	json_decref(d.owner);
}
