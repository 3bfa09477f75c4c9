/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For random policies and random packets, a VM that moved is judged as one that never did.
 *
 * Theory of operation
 *   Two pairs of hosts get the same policies and the same packets. In the first one the VM stays;
 *   in the second one it moves, back and forth, while packets and commits go on: capsule by walk,
 *   changes by journal, sometimes cancelled. Every packet must fare alike in both: delivered or
 *   not, for which reason, answered or not.
 *
 *   With peers by the uplink that holds without exception. A peer whose VM lives on one of the two
 *   hosts is judged together with the mover while they share a host and apart when they don't; so
 *   once a packet between them was refused, the tables of the two pairs may differ (one tap has
 *   judged, the other one has not), without any move. Such a flow is left alone from then on. Left
 *   out: heads of fragmented datagrams do not travel, so a datagram is never cut by a move; quotas
 *   are only compared without local peers (a connection that a neighbour opened is charged to
 *   another NIC after the move); what depends on time.
 *
 * Each case prints its seed when it fails. BH_SEED=n runs that one alone (with BH_TRACE=1 packet
 * by packet), BH_CASES=n so many without a limit of time.
 */
#include "twin.h"

#include "dataplane_world.h"

#include "base/time.h"
#include "base/util.h"

#include <stdlib.h>
#include <string.h>

#define CASES	    400
#define SECONDS	    18
#define ROUNDS	    3 /* of packets under one set of policies */
#define STEPS	    500
#define FLOWS	    40
#define TENANT_SHOP 2
#define TENANT_PEER 3

struct rng {
	uint64_t state;
};
static uint32_t next(struct rng *r, uint32_t limit)
{
	r->state = r->state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((r->state >> 33) % limit);
}
static bool chance(struct rng *r, uint32_t percent)
{
	return next(r, 100) < percent;
}
#define PICK(r, list) ((list)[next(r, BH_ARRAY_SIZE(list))])

/* ---- policies ---- */
static const char *const peers[] = {"{selector: {matchLabels: {role: a}}, tenant: \"*\"}",
				    "{selector: {matchLabels: {role: b}}, tenant: \"*\"}",
				    "{selector: {}, tenant: shop}",
				    "{selector: {}, tenant: peer}",
				    "{tenancy: other}",
				    "{entity: world}",
				    "{cidr: 0.0.0.0/0}",
				    "{cidr: \"::/0\"}",
				    "{cidr: 10.77.0.0/24, except: [10.77.0.60]}",
				    "{cidr: 10.0.0.0/8}",
				    "{cidr: \"fd77::/16\"}",
				    "{cidr: \"2001:db8::/32\"}"};
static const char *const ports[] = {"tcp/80",  "tcp",	 "udp/5000-5010", "udp",
				    "icmp",    "icmpv6", "icmp/8",	  "sctp",
				    "sctp/80", "47",	 "tcp/1-100",	  "udp/53"};
static const char *const actions[] = {"allow", "allow", "allow", "deny", "reject"};

static void put_list(struct rng *r, struct bh_wbuf *w, const char *const *list, uint32_t size)
{
	uint32_t count = next(r, 3);

	for (uint32_t i = 0; i <= count; i++) {
		bh_wbuf_printf(w, "%s%s", i ? ", " : "[", list[next(r, size)]);
	}
	bh_wbuf_str(w, "]\n");
}

static void put_rule(struct rng *r, struct bh_wbuf *w, bool ingress)
{
	bh_wbuf_printf(w, "  - action: %s\n", PICK(r, actions));
	if (chance(r, 60)) {
		bh_wbuf_printf(w, "    %s: ", ingress ? "from" : "to");
		put_list(r, w, peers, BH_ARRAY_SIZE(peers));
	}
	if (chance(r, 60)) {
		bh_wbuf_str(w, "    ports: ");
		put_list(r, w, ports, BH_ARRAY_SIZE(ports));
	}
}

static void put_policy(struct rng *r, struct bh_wbuf *w, uint32_t number)
{
	static const char *const tenants[] = {"shop", "shop", "peer", "provider"};
	static const char *const selectors[] = {"{}", "{}", "{matchLabels: {role: a}}",
						"{matchLabels: {role: b}}"};
	const char *tenant = PICK(r, tenants);
	bool provider = !strcmp(tenant, "provider");

	bh_wbuf_printf(w, "---\nkind: Policy\nmetadata: {name: p%u, tenant: %s}\nspec:\n", number,
		       tenant);
	if (provider) {
		bh_wbuf_printf(w, "  tier: %s\n", chance(r, 50) ? "guardrail" : "default");
	}
	bh_wbuf_printf(w, "  order: %u\n  selector: %s\n", next(r, 4), PICK(r, selectors));
	for (int dir = 0; dir < 2; dir++) {
		uint32_t rules = 1 + next(r, 3);

		if (chance(r, 30)) {
			continue;
		}
		bh_wbuf_printf(w, "  %s:\n", dir ? "ingress" : "egress");
		for (uint32_t i = 0; i < rules; i++) {
			put_rule(r, w, dir);
		}
	}
}

static uint32_t number_of(const struct bh_policy *policy, enum bh_policy_dir dir, size_t index,
			  void *arg)
{
	return 1000 + (uint32_t)(atoi(bh_policy_name(policy) + 1) * 100 + (int)dir * 50) +
	       (uint32_t)index;
}

/* ---- the state of a case ---- */
struct flow {
	enum twin_actor peer; /* of the mover */
	bool v6, inwards;     /* opened by the peer */
	bool learned;	      /* the mover uses the address that it has learned */
	bool left;	      /* see above */
	uint8_t proto;
	uint16_t sport, dport, vlan;
	uint8_t step;
};

struct test {
	struct rng rng;
	uint64_t seed;
	struct twin stays, moves;
	struct bh_policy_universe *universe;
	struct bh_wbuf policies; /* text, for whoever looks for a mistake */
	struct flow flows[FLOWS];
	uint32_t flow_count;
	uint16_t port;
	uint32_t frag_id;
	bool quota, learned, trace;
	uint32_t round, step;
	uint64_t packets, delivered, dropped, moved, cancelled;
	uint64_t reasons[BH_REASON_COUNT];
};

static void commit(struct test *t)
{
	struct bh_policy_compile_options options = {.rule_fn = number_of};
	struct bh_policy_compiler *compiler;
	struct bh_policy_set *set;
	struct bh_diag diag = {};
	uint32_t count = 1 + next(&t->rng, 5);

	t->policies.size = 0;
	for (uint32_t i = 0; i < count; i++) {
		put_policy(&t->rng, &t->policies, i);
	}
	if (bh_policy_parse((char *)t->policies.data, t->policies.size, NULL, &set, &diag)) {
		fail_msg("%u:%u: %s\n%s", diag.line, diag.column, diag.text,
			 bh_wbuf_cstr(&t->policies));
	}
	options.provider_default = chance(&t->rng, 60) ? BH_POLICY_ALLOW : BH_POLICY_DENY;
	compiler = bh_policy_compiler_new(set, t->universe, &options);
	twin_commit(&t->stays, compiler);
	twin_commit(&t->moves, compiler);
	bh_policy_compiler_free(compiler);
	bh_policy_set_free(set);
}

/* ---- packets ---- */
static const char *addr_of(const struct flow *f, enum twin_actor actor)
{
	if (actor == TWIN_MOVER && f->learned) {
		return TWIN_LEARNED;
	}
	return f->v6 ? twin_addr6[actor] : twin_addr4[actor];
}

static bool is_echo(const struct flow *f)
{
	return f->proto == KIT_ICMP || f->proto == KIT_ICMP6;
}

static struct kit_spec spec_of(const struct flow *f, bool reply)
{
	enum twin_actor from = f->inwards != reply ? f->peer : TWIN_MOVER;
	enum twin_actor to = from == TWIN_MOVER ? f->peer : TWIN_MOVER;

	return (struct kit_spec){.smac = twin_mac[from],
				 .dmac = twin_mac[to],
				 .src = addr_of(f, from),
				 .dst = addr_of(f, to),
				 .proto = f->proto,
				 .sport = reply ? f->dport : f->sport,
				 .dport = reply ? f->sport : f->dport,
				 .seq = 1,
				 .ack = 1,
				 .icmp_type = !is_echo(f) ? 0
					      : f->v6	  ? (reply ? 129 : 128)
							  : (reply ? 0 : 8),
				 .icmp_id = f->sport,
				 .vlan = {f->vlan},
				 .body_size = 16};
}

static void fail_at(const struct test *t, const struct flow *f, const struct twin_outcome *a,
		    const struct twin_outcome *b)
{
	fail_msg("seed %llu round %u step %u: %s proto %u peer %d sport %u %s%s: stays: %s reason "
		 "%u%s, moves: %s reason %u%s (host %d%s)\n%.*s",
		 (unsigned long long)t->seed, t->round, t->step, f->v6 ? "IPv6" : "IPv4", f->proto,
		 f->peer, f->sport, f->inwards ? "in" : "out", f->vlan ? " tagged" : "",
		 a->delivered ? "passes" : "dropped", a->reason, a->answered ? " answered" : "",
		 b->delivered ? "passes" : "dropped", b->reason, b->answered ? " answered" : "",
		 t->moves.place[TWIN_MOVER], t->moves.moving ? ", moving" : "",
		 (int)t->policies.size, (const char *)t->policies.data);
}

static bool is_refusal(const struct twin_outcome *o)
{
	return o->reason == BH_REASON_DROP_POLICY || o->reason == BH_REASON_DROP_REJECT;
}

/* Two local ends may both refuse, each in its way; which one is asked first depends on where they
 * are. */
static bool fares_alike(const struct flow *f, const struct twin_outcome *a,
			const struct twin_outcome *b)
{
	if (f->peer < TWIN_VMS && is_refusal(a) && is_refusal(b)) {
		return true;
	}
	return a->delivered == b->delivered && a->reason == b->reason && a->answered == b->answered;
}

/* One frame in both pairs. */
static void both(struct test *t, struct flow *f, enum twin_actor from, enum twin_actor to,
		 const struct kit_frame *frame)
{
	struct twin_outcome a = twin_deliver(&t->stays, from, to, frame);
	struct twin_outcome b = twin_deliver(&t->moves, from, to, frame);
	bool refused = is_refusal(&a) || is_refusal(&b);

	if (t->trace) {
		print_message("%u.%u proto %u peer %d port %u %s -> %s: %d/%u %d/%u host %d%s\n",
			      t->round, t->step, f->proto, f->peer, f->sport,
			      from == TWIN_MOVER ? "mover" : "peer",
			      to == TWIN_MOVER ? "mover" : "peer", a.delivered, a.reason,
			      b.delivered, b.reason, t->moves.place[TWIN_MOVER],
			      t->moves.moving ? ", moving" : "");
	}
	t->packets++;
	t->delivered += a.delivered;
	t->dropped += !a.delivered;
	t->reasons[a.reason]++;
	if (!fares_alike(f, &a, &b)) {
		fail_at(t, f, &a, &b);
	}
	f->left = f->left || (f->peer < TWIN_VMS && (refused || a.halfway || b.halfway));
}

static void send_spec(struct test *t, struct flow *f, bool reply, const struct kit_spec *spec)
{
	enum twin_actor from = f->inwards != reply ? f->peer : TWIN_MOVER;
	struct kit_frame frame;

	kit_build(spec, &frame);
	both(t, f, from, from == TWIN_MOVER ? f->peer : TWIN_MOVER, &frame);
}

/* What comes next where everything goes well, or anything. */
static void step_tcp(struct test *t, struct flow *f)
{
	static const uint8_t any[] = {KIT_SYN, KIT_SYN | KIT_ACK, KIT_ACK,	     KIT_ACK,
				      KIT_ACK, KIT_FIN | KIT_ACK, KIT_RST | KIT_ACK, KIT_RST};
	static const uint8_t well[] = {KIT_SYN, KIT_SYN | KIT_ACK, KIT_ACK};
	bool reply = f->step < 3 ? f->step == 1 : chance(&t->rng, 50);
	uint8_t flags = f->step < 3	      ? well[f->step]
			: chance(&t->rng, 12) ? KIT_FIN | KIT_ACK
					      : KIT_ACK;
	struct kit_spec spec;

	if (chance(&t->rng, 15)) {
		flags = PICK(&t->rng, any);
		reply = chance(&t->rng, 50);
	} else {
		f->step++;
	}
	spec = spec_of(f, reply);
	spec.tcp_flags = flags;
	send_spec(t, f, reply, &spec);
}

static void step_sctp(struct test *t, struct flow *f)
{
	static const uint8_t chunks[] = {1, 2, 0, 0, 0, 6, 14, 7};
	uint8_t chunk[16] = {0, 0, 0, 16};
	bool reply = f->step < 2 ? f->step == 1 : chance(&t->rng, 50);
	struct kit_spec spec = spec_of(f, reply);

	chunk[0] = f->step < 2 ? f->step + 1 : PICK(&t->rng, chunks);
	f->step++;
	spec.body = chunk;
	send_spec(t, f, reply, &spec);
}

static void step_other(struct test *t, struct flow *f)
{
	bool reply = f->step && chance(&t->rng, 50);
	struct kit_spec spec = spec_of(f, reply);

	f->step++;
	send_spec(t, f, reply, &spec);
}

/* A datagram in two pieces; sometimes the head is missing. */
static void step_fragments(struct test *t, struct flow *f)
{
	bool reply = f->step && chance(&t->rng, 50);
	struct kit_spec spec = spec_of(f, reply);

	spec.frag_id = ++t->frag_id;
	spec.frag_more = true;
	if (!chance(&t->rng, 20)) {
		send_spec(t, f, reply, &spec);
		f->step++;
	}
	if (f->left) {
		return;
	}
	spec.frag_more = false;
	spec.frag_off = 24;
	send_spec(t, f, reply, &spec);
}

/* An ICMP error about a packet of the flow: from the one who got it, or a router on the way. */
static void step_error(struct test *t, struct flow *f)
{
	bool reply = chance(&t->rng, 50); /* which direction the quoted packet had */
	bool router = chance(&t->rng, 30);
	struct kit_spec quoted = spec_of(f, reply), spec = {};
	enum twin_actor to = f->inwards != reply ? f->peer : TWIN_MOVER;
	enum twin_actor from = to == TWIN_MOVER ? f->peer : TWIN_MOVER;
	struct kit_frame inner;

	if (router && to != TWIN_MOVER) {
		return; /* what a router tells others is not ours to see */
	}
	from = router ? TWIN_OUT : from;
	quoted.vlan[0] = 0;
	kit_build(&quoted, &inner);
	spec.smac = twin_mac[from];
	spec.dmac = twin_mac[to];
	spec.src = router ? (f->v6 ? "2001:db8::1" : "10.9.9.1") : addr_of(f, from);
	spec.dst = addr_of(f, to);
	spec.proto = f->v6 ? KIT_ICMP6 : KIT_ICMP;
	spec.icmp_type = f->v6 ? 1 : 3;
	spec.icmp_code = f->v6 ? 4 : 3;
	spec.vlan[0] = f->vlan;
	spec.body = inner.data + inner.l3;
	spec.body_size = inner.size - inner.l3;
	{
		struct kit_frame frame;

		kit_build(&spec, &frame);
		both(t, f, from, to, &frame);
	}
}

/* What no policy is asked about: somebody else's address, a group. */
static void step_odd(struct test *t, struct flow *f)
{
	struct flow copy = *f;
	struct kit_spec spec;
	struct kit_frame frame;
	static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 251};

	copy.v6 = copy.inwards = copy.learned = false;
	copy.proto = KIT_UDP;
	spec = spec_of(&copy, false);
	if (chance(&t->rng, 50)) {
		spec.src = "10.77.0.99";
	} else {
		spec.dmac = group;
		spec.dst = "224.0.0.251";
	}
	kit_build(&spec, &frame);
	both(t, &copy, TWIN_MOVER, TWIN_OUT, &frame);
}

static void step_flow(struct test *t, struct flow *f)
{
	if (f->left) {
		return;
	}
	if (f->proto == KIT_UDP && chance(&t->rng, 15)) {
		step_fragments(t, f);
	} else if (f->step && chance(&t->rng, 8)) {
		step_error(t, f);
	} else if (chance(&t->rng, 2)) {
		step_odd(t, f);
	} else if (f->proto == KIT_TCP) {
		step_tcp(t, f);
	} else if (f->proto == KIT_SCTP) {
		step_sctp(t, f);
	} else {
		step_other(t, f);
	}
}

/* ---- flows ---- */
static struct flow *new_flow(struct test *t)
{
	static const uint8_t protos[] = {KIT_TCP, KIT_TCP,  KIT_TCP,  KIT_UDP,
					 KIT_UDP, KIT_ICMP, KIT_SCTP, 47};
	static const uint16_t dports[] = {80, 80, 22, 443, 53, 5000, 5007, 5010, 9};
	struct rng *r = &t->rng;
	struct flow *f = &t->flows[t->flow_count < FLOWS ? t->flow_count++ : next(r, FLOWS)];

	memset(f, 0, sizeof(*f));
	f->proto = PICK(r, protos);
	f->peer = t->quota || f->proto == 47 ? TWIN_FAR + next(r, 2)
					     : TWIN_NEAR + next(r, TWIN_ACTORS - 1);
	f->v6 = chance(r, 35);
	f->proto = f->v6 && f->proto == KIT_ICMP ? KIT_ICMP6 : f->proto;
	f->inwards = chance(r, 40);
	f->learned = t->learned && !f->v6 && chance(r, 30);
	f->vlan = !f->learned && chance(r, 15) ? TWIN_VLAN : 0;
	f->sport = 20000 + t->port++ % 30000;
	f->dport = PICK(r, dports);
	return f;
}

static void step_packet(struct test *t)
{
	if (!t->flow_count || chance(&t->rng, 8)) {
		step_flow(t, new_flow(t));
	} else {
		step_flow(t, &t->flows[next(&t->rng, t->flow_count)]);
	}
}

static void step_move(struct test *t)
{
	struct rng *r = &t->rng;

	if (!t->moves.moving) {
		twin_move_begin(&t->moves, chance(r, 50));
	} else if (chance(r, 40)) {
		twin_move_sync(&t->moves);
	} else if (chance(r, 20)) {
		twin_move_cancel(&t->moves);
		t->cancelled++;
	} else {
		twin_move_end(&t->moves, chance(r, 50), chance(r, 30));
		t->moved++;
	}
}

/* ---- cases ---- */
static void begin_round(struct test *t)
{
	twin_reset(&t->stays);
	twin_reset(&t->moves);
	t->flow_count = 0;
	t->quota = chance(&t->rng, 25);
	t->learned = chance(&t->rng, 30);
	if (t->quota) {
		uint32_t limit = 3 + next(&t->rng, 10);

		twin_limit(&t->stays, limit);
		twin_limit(&t->moves, limit);
	}
	if (t->learned) {
		twin_learn(&t->stays);
		twin_learn(&t->moves);
	}
}

static void run_case(struct test *t, uint64_t seed)
{
	t->seed = seed;
	t->rng.state = seed * 7919 + 1;
	commit(t);
	for (t->round = 0; t->round < ROUNDS; t->round++) {
		begin_round(t);
		for (t->step = 0; t->step < STEPS; t->step++) {
			uint32_t what = next(&t->rng, 1000);

			if (what < 15) {
				step_move(t);
			} else if (what < 18) {
				commit(t);
			} else {
				step_packet(t);
			}
		}
	}
}

static struct world world;

static void add_identity(struct bh_policy_universe *u, enum twin_actor actor, uint32_t tenant)
{
	struct bh_policy_label label = {"role", actor % 2 ? "b" : "a"};

	assert_int_equal(
		bh_policy_universe_add_identity(u, TWIN_IDENTITY + actor, tenant, &label, 1, NULL),
		0);
}

static struct bh_policy_universe *make_universe(void)
{
	struct bh_policy_universe *u = bh_policy_universe_new();

	assert_int_equal(bh_policy_universe_add_tenant(u, "provider", 1, NULL), 0);
	assert_int_equal(bh_policy_universe_add_tenant(u, "shop", TENANT_SHOP, NULL), 0);
	assert_int_equal(bh_policy_universe_add_tenant(u, "peer", TENANT_PEER, NULL), 0);
	add_identity(u, TWIN_MOVER, TENANT_SHOP);
	add_identity(u, TWIN_NEAR, TENANT_SHOP);
	add_identity(u, TWIN_THERE, TENANT_PEER);
	add_identity(u, TWIN_FAR, TENANT_PEER);
	return u;
}

static void it_moved_as_if_it_never_had(void **state)
{
	static struct test t;
	const char *one = getenv("BH_SEED");
	const char *many = getenv("BH_CASES");
	uint64_t end = bh_time_mono_ns() + SECONDS * BH_NS_PER_S;
	uint64_t cases = many ? strtoull(many, NULL, 10) : CASES, seed;

	memset(&t, 0, sizeof(t));
	bh_wbuf_init(&t.policies, 0);
	t.trace = getenv("BH_TRACE");
	t.universe = make_universe();
	twin_open(&t.stays, world.dir, "stays", world.tap, world.bridge);
	twin_open(&t.moves, world.dir, "moves", world.tap + TWIN_TAPS, world.bridge);
	if (one) {
		run_case(&t, strtoull(one, NULL, 10));
	}
	for (seed = 1; !one && seed <= cases && (many || bh_time_mono_ns() < end); seed++) {
		run_case(&t, seed);
	}
	print_message("up to seed %llu: %llu packets, %llu delivered, %llu moves, %llu cancelled\n",
		      (unsigned long long)t.seed, (unsigned long long)t.packets,
		      (unsigned long long)t.delivered, (unsigned long long)t.moved,
		      (unsigned long long)t.cancelled);
	for (int i = 1; i < BH_REASON_COUNT; i++) {
		if (t.reasons[i]) {
			print_message("  reason %d: %llu\n", i, (unsigned long long)t.reasons[i]);
		}
	}
	twin_close(&t.stays);
	twin_close(&t.moves);
	bh_policy_universe_free(t.universe);
	bh_wbuf_done(&t.policies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_moved_as_if_it_never_had),
	};

	return world_run(&world, 2 * TWIN_TAPS, false, tests);
}
