/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several rule sets: whose flow it is, what they share, what becomes of flows and transactions when
 * rules are loaded anew; and files of the cache of compiled databases that are not sound.
 */
#include "base/buf.h"
#include "gate/detect/hscache.h"
#include "gate/detect/set.h"
#include "gate/detect/sets.h"
#include "gate/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a worker, and packets by hand ---- */

struct world {
	struct gate_config config;
	struct gate_names *names;
	struct gate_shared *shared;
	struct gate_rule_set *set; /* the last one, of slot 0 */
	struct gate_worker *worker;
	uint64_t time_us, alerts;
	uint32_t seq[GATE_DIRS];
};

static void world_begin(struct world *w)
{
	struct bh_diag diag = {};
	struct gate_worker_options options = {};

	memset(w, 0, sizeof(*w));
	assert_int_equal(gate_config_load(NULL, &w->config, &diag), 0);
	w->config.check_checksums = false;
	w->config.flow_count = 64;
	w->config.stream_inline = true; /* data counts at once */
	w->names = gate_names_new();
	w->shared = gate_shared_new(&w->config);
	w->time_us = 1700000000ull * 1000000;
	options.config = &w->config;
	options.shared = w->shared;
	options.names = w->names;
	w->worker = gate_worker_new(&options);
}

static void world_end(struct world *w)
{
	gate_worker_finish(w->worker, GATE_FLOW_END_SHUTDOWN);
	gate_worker_free(w->worker);
	gate_rule_set_unref(w->set);
	gate_shared_free(w->shared);
	gate_names_free(w->names);
	gate_config_done(&w->config);
}

static struct gate_rule_set *build(struct world *w, const char *text)
{
	struct gate_rule_files *files = gate_rules_new();
	struct gate_view view = {(const uint8_t *)text, (uint32_t)strlen(text)};
	struct gate_rule_set *set = NULL;
	struct bh_diag diag = {};

	assert_int_equal(gate_rules_read_text(files, &w->config, w->names, "test", view, &diag), 0);
	if (files->refusals.count) {
		fail_msg("%s", files->refusals.items[0].reason);
	}
	assert_int_equal(gate_rule_set_new(files, &w->config, w->shared, &set, &diag), 0);
	return set;
}

/* As a reload does it. */
static void load(struct world *w, const char *text)
{
	struct gate_rule_set *set = build(w, text);
	struct gate_rule_sets *sets = NULL;
	struct bh_diag diag = {};

	if (w->set) {
		gate_rule_set_follow(set, w->set);
	}
	gate_rule_set_unref(w->set);
	w->set = gate_rule_set_ref(set);
	assert_int_equal(gate_rule_sets_new(&set, 1, &sets, &diag), 0);
	gate_worker_use(w->worker, sets);
	gate_rule_sets_unref(sets);
}

/* 10.0.0.1:1234 and 10.9.8.7:80. */
static uint8_t *put_ip(uint8_t *frame, enum gate_dir dir, uint8_t proto, size_t size)
{
	static const uint8_t ends[2][4] = {{10, 0, 0, 1}, {10, 9, 8, 7}};
	uint8_t *ip = frame + 14;
	uint32_t sum = 0;

	memset(frame, 0, 14 + 20);
	gate_put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	gate_put16(ip + 2, (unsigned int)(20 + size));
	ip[8] = 64;
	ip[9] = proto;
	memcpy(ip + 12, ends[dir == GATE_TO_CLIENT], 4);
	memcpy(ip + 16, ends[dir == GATE_TO_SERVER], 4);
	for (unsigned int i = 0; i < 20; i += 2) {
		sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	gate_put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
	gate_put16(ip + 20, dir == GATE_TO_SERVER ? 1234 : 80);
	gate_put16(ip + 22, dir == GATE_TO_SERVER ? 80 : 1234);
	return ip + 20;
}

/* How many alerts the packet raises. */
static uint64_t give(struct world *w, uint8_t *frame, size_t size)
{
	struct gate_stats stats = {};
	struct gate_packet p = {.data = frame,
				.size = (uint32_t)size,
				.wire_size = (uint32_t)size,
				.link = GATE_LINK_ETHERNET};
	uint64_t before = w->alerts;

	w->time_us += 1000;
	p.time_us = w->time_us;
	gate_worker_packet(w->worker, &p);
	gate_worker_stats(w->worker, &stats);
	w->alerts = stats.value[GATE_STAT_DETECT_ALERTS];
	return w->alerts - before;
}

static uint64_t udp(struct world *w, enum gate_dir dir, const char *text)
{
	size_t size = strlen(text);
	uint8_t frame[2048], *at = put_ip(frame, dir, IPPROTO_UDP, 8 + size);

	gate_put16(at + 4, (unsigned int)(8 + size));
	gate_put16(at + 6, 0);
	memcpy(at + 8, text, size);
	return give(w, frame, 14 + 20 + 8 + size);
}

enum { ACK = 0x10, SYN = 2 };
static uint64_t tcp(struct world *w, enum gate_dir dir, unsigned int flags, const char *text)
{
	size_t size = strlen(text);
	uint8_t frame[2048], *at = put_ip(frame, dir, IPPROTO_TCP, 20 + size);

	memset(at + 4, 0, 16);
	gate_put32(at + 4, w->seq[dir]);
	gate_put32(at + 8, flags & ACK ? w->seq[!dir] : 0);
	at[12] = 5 << 4;
	at[13] = (uint8_t)flags;
	gate_put16(at + 14, 65000);
	memcpy(at + 20, text, size);
	w->seq[dir] += (uint32_t)size + !!(flags & SYN);
	return give(w, frame, 14 + 20 + 20 + size);
}

static void handshake(struct world *w)
{
	w->seq[0] = 1000;
	w->seq[1] = 2000;
	tcp(w, GATE_TO_SERVER, SYN, "");
	tcp(w, GATE_TO_CLIENT, SYN | ACK, "");
	tcp(w, GATE_TO_SERVER, ACK, "");
}

/* ---- whose flow is it? ---- */

static void set_or_fail(struct gate_config *config, const char *assignment)
{
	struct bh_diag diag = {};

	if (gate_config_set(config, assignment, &diag)) {
		fail_msg("%s: %s", assignment, diag.text);
	}
}

static void three_sets(struct gate_config *config)
{
	static const char *const values[] = {
		"rule-sets.vlan.files=a.rules",		 "rule-sets.vlan.match.vlan=10",
		"rule-sets.vlan.match.vlan=20-29",	 "rule-sets.both.files.0=b.rules",
		"rule-sets.both.match.vni=5001",	 "rule-sets.both.match.address=10.0.0.0/8",
		"rule-sets.wire.files=c.rules",		 "rule-sets.wire.match.interface.0=tap1",
		"rule-sets.wire.match.interface.1=tap2",
	};

	memset(config, 0, sizeof(*config));
	assert_int_equal(gate_config_load(NULL, config, NULL), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(values); i++) {
		set_or_fail(config, values[i]);
	}
	assert_int_equal(gate_config_check(config, NULL), 0);
	assert_string_equal(gate_config_set_name(config, 0), "default");
	assert_string_equal(gate_config_set_name(config, 2), "both");
	assert_string_equal(gate_config_set_name(config, 77), "default");
}

static uint16_t choose(const struct gate_selector *s, struct gate_packet *p)
{
	gate_selector_choose(s, p);
	return p->rule_set;
}

static void test_choice(void **state)
{
	static const char *const interfaces[] = {"eth0", "tap2"};
	const struct gate_selector_hook none = {};
	struct gate_packet ten = {.ip_version = 4}, outer = {}, p = {};
	struct gate_selector *s;
	struct gate_config config;

	memcpy(ten.dst.bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\1\2\3", 16);
	three_sets(&config);
	s = gate_selector_new(&config, &none, interfaces, 2);
	assert_non_null(s);
	assert_int_equal(choose(s, &p), 0);
	p = (struct gate_packet){.vlan_count = 1, .vlan = {25}};
	assert_int_equal(choose(s, &p), 1);
	p.vlan[0] = 30;
	assert_int_equal(choose(s, &p), 0);
	/* the tag of a guest behind that of the network */
	p = (struct gate_packet){.vlan_count = 2, .vlan = {30, 10}};
	assert_int_equal(choose(s, &p), 0);
	outer = (struct gate_packet){.vlan_count = 1, .vlan = {30}};
	p = (struct gate_packet){.vlan_count = 1, .vlan = {10}, .outer = &outer};
	assert_int_equal(choose(s, &p), 0);
	/* both kinds have to hold */
	p = (struct gate_packet){.vni = 5001 + 1};
	assert_int_equal(choose(s, &p), 0);
	assert_int_equal(choose(s, &ten), 0);
	p = ten;
	p.vni = 5001 + 1;
	assert_int_equal(choose(s, &p), 2);
	p = (struct gate_packet){.source = 1};
	assert_int_equal(choose(s, &p), 3);
	/* the first that fits */
	p = (struct gate_packet){.source = 1, .vlan_count = 1, .vlan = {10}};
	assert_int_equal(choose(s, &p), 1);
	gate_selector_free(s);
	gate_config_done(&config);
}

static int hooked(const struct gate_packet *p, void *arg)
{
	return *(int *)arg;
}

static void test_hook_and_flow(void **state)
{
	int slot = 2;
	const struct gate_selector_hook hook = {hooked, &slot}, none = {};
	struct gate_flow flow = {};
	struct gate_packet p = {.flow = &flow}, alone = {};
	struct gate_config config;
	struct gate_selector *s;

	three_sets(&config);
	s = gate_selector_new(&config, &hook, NULL, 0);
	assert_int_equal(choose(s, &p), 2);
	/* once, when the flow is made */
	slot = 1;
	assert_int_equal(choose(s, &p), 2);
	assert_int_equal(choose(s, &alone), 1);
	slot = 4; /* there is none */
	assert_int_equal(choose(s, &alone), 0);
	slot = -1;
	alone = (struct gate_packet){.vlan_count = 1, .vlan = {10}};
	assert_int_equal(choose(s, &alone), 1);
	gate_selector_free(s);
	gate_config_done(&config);
	/* with one set there is nothing to choose */
	assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
	assert_null(gate_selector_new(&config, &none, NULL, 0));
	p = (struct gate_packet){.rule_set = 7};
	assert_int_equal(choose(NULL, &p), 0);
	gate_config_done(&config);
}

static void test_bad_configuration(void **state)
{
	static const struct {
		const char *assignment, *reason;
	} bad[] = {
		{"rule-sets.a.match.vlan=4096", "rule-sets.a.match.vlan"},
		{"rule-sets.a.match.vlan=30-20", "rule-sets.a.match.vlan"},
		{"rule-sets.a.match.vlan=-5", "rule-sets.a.match.vlan"},
		{"rule-sets.a.match.vni=16777216", "rule-sets.a.match.vni"},
		{"rule-sets.a.match.address=10.0.0.0/33", "no address"},
		{"rule-sets.a.match.address=ten", "no address"},
		{"rule-sets.a.match.tenant=1", "unknown key 'rule-sets.a.match.tenant'"},
		{"rule-sets.a.files.x=1", "unknown key"},
		{"rule-sets.a.files=", "without a name"},
		{"rule-sets.a=1", "unknown key"},
		{"rule-sets.default.files=x", "no name of a rule set"},
		{"rule-sets.a b.files=x", "no name of a rule set"},
	};
	struct gate_config config;
	struct bh_diag diag = {};

	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
		assert_true(gate_config_set(&config, bad[i].assignment, &diag) < 0);
		if (!strstr(diag.text, bad[i].reason)) {
			fail_msg("%s: %s", bad[i].assignment, diag.text);
		}
		gate_config_done(&config);
	}
	assert_int_equal(gate_config_load(NULL, &config, NULL), 0);
	set_or_fail(&config, "rule-sets.a.match.vlan=0");
	assert_int_equal(gate_config_check(&config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "rule-sets.a: no files"));
	set_or_fail(&config, "rule-sets.a.files=x");
	assert_int_equal(gate_config_check(&config, &diag), 0);
	set_or_fail(&config, "rule-sets.b.files=x");
	assert_int_equal(gate_config_check(&config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "rule-sets.b: no match"));
	gate_config_done(&config);
}

static void test_networks(void **state)
{
	struct gate_network n;
	uint8_t addr[16] = {[10] = 0xff, 0xff, 10, 1, 0x83, 4};

	assert_true(gate_network_parse("10.1.128.0/17", &n) && gate_network_has(&n, addr));
	assert_true(gate_network_parse("10.1.0.0/17", &n) && !gate_network_has(&n, addr));
	assert_true(gate_network_parse("0.0.0.0/0", &n) && gate_network_has(&n, addr));
	assert_true(gate_network_parse("::/0", &n) && gate_network_has(&n, addr));
	assert_true(gate_network_parse("10.1.131.4", &n) && gate_network_has(&n, addr));
	assert_true(gate_network_parse("2001:db8::/32", &n) && !gate_network_has(&n, addr));
	assert_false(gate_network_parse("", &n) || gate_network_parse("10.0.0.0/x", &n) ||
		     gate_network_parse("::/129", &n) || gate_network_parse("1.2.3", &n));
}

/* ---- what sets share ---- */

#define MANY_RULES                                                                                 \
	"alert http any any -> any any (http.uri; content:\"/one-of-many\"; sid:1;)\n"             \
	"alert http any any -> any any (http.uri; content:\"/another\"; sid:2;)\n"                 \
	"alert udp any any -> any any (content:\"word\"; sid:3;)\n"

static void test_shared_databases(void **state)
{
	struct gate_rule_set_stats first, second, third;
	struct gate_rule_set *a, *b, *c;
	struct world w;

	world_begin(&w);
	a = build(&w, MANY_RULES);
	b = build(&w, MANY_RULES "alert tcp any any -> any 99 (flags:S; sid:4;)\n");
	c = build(&w, "alert udp any any -> any any (content:\"word\"; sid:77; rev:3;)\n");
	gate_rule_set_stats(a, &first);
	gate_rule_set_stats(b, &second);
	gate_rule_set_stats(c, &third);
	assert_true(first.databases > 0);
	assert_int_equal(second.databases, first.databases);
	assert_int_equal(second.shared_databases, second.databases);
	assert_true(third.databases > 0 && third.shared_databases == third.databases);
	/* who goes first does not take them along */
	gate_rule_set_unref(a);
	gate_rule_set_unref(c);
	c = build(&w, MANY_RULES);
	gate_rule_set_stats(c, &third);
	assert_int_equal(third.shared_databases, third.databases);
	gate_rule_set_unref(c);
	gate_rule_set_unref(b);
	world_end(&w);
}

/* So many rules of a text with their number in it were refused, each for that reason. */
static unsigned int refused_of(struct world *w, const char *format, unsigned int count,
			       const char *reason)
{
	struct gate_rule_files *files = gate_rules_new();
	struct gate_rule_set *set = NULL;
	struct bh_diag diag = {};
	struct bh_wbuf text;
	unsigned int refused;

	bh_wbuf_init(&text, 0);
	for (unsigned int i = 1; i <= count; i++) {
		bh_wbuf_printf(&text, format, i, i);
	}
	assert_int_equal(gate_rules_read_text(files, &w->config, w->names, "test",
					      (struct gate_view){text.data, (uint32_t)text.size},
					      &diag),
			 0);
	bh_wbuf_done(&text);
	assert_int_equal(files->rules.count, count);
	assert_int_equal(gate_rule_set_new(files, &w->config, w->shared, &set, &diag), 0);
	refused = (unsigned int)files->refusals.count;
	for (unsigned int i = 0; i < refused; i++) {
		assert_non_null(strstr(files->refusals.items[i].reason, reason));
	}
	gate_rule_set_unref(set);
	return refused;
}

/* What a rule set can ask for grows without an end; what it gets does not. */
static void test_bounds_of_a_set(void **state)
{
	struct gate_shared *of_worker;
	struct world w;

	world_begin(&w);
	of_worker = w.shared;
	w.config.pcre_memcap = 1 << 20;
	w.shared = gate_shared_new(&w.config);
	assert_int_equal(refused_of(&w,
				    "alert http any any -> any any (http.uri; xor:\"%08x\"; "
				    "content:\"abcd\"; sid:%u;)\n",
				    4100, "transforms"),
			 4);
	for (unsigned int turn = 0; turn < 2; turn++) { /* what is freed is there again */
		assert_in_range(refused_of(&w,
					   "alert tcp any any -> any any (content:\"abcd\"; "
					   "pcre:\"/((?:x|y|[a-q])+w%u){300}/\"; sid:%u;)\n",
					   200, "pcre.memcap"),
				50, 190);
	}
	gate_shared_free(w.shared);
	w.shared = of_worker;
	world_end(&w);
}

#define PORT_RULES 400

/* A rule for each port, and one from each port on: memory and time stay in proportion, and who has
 * a port is what it was. */
static void test_many_ports(void **state)
{
	struct gate_rule_set_stats stats;
	struct bh_wbuf text;
	struct world w;

	world_begin(&w);
	bh_wbuf_init(&text, 0);
	for (unsigned int i = 1; i <= PORT_RULES; i++) {
		bh_wbuf_printf(&text,
			       "alert udp any any -> any %u (content:\"port\"; sid:%u;)\n"
			       "alert udp any any -> any %u: (content:\"from %u.\"; sid:%u;)\n"
			       "alert udp any any <> any %u (dsize:1; sid:%u;)\n",
			       i, i, i, i, 10000 + i, i, 20000 + i);
	}
	bh_wbuf_str(&text, "alert udp any any -> any any (content:\"any\"; sid:30000;)\n"
			   "alert udp any 1234 -> any any (content:\"client\"; sid:30001;)\n");
	bh_wbuf_cstr(&text);
	load(&w, (const char *)text.data);
	bh_wbuf_done(&text);
	gate_rule_set_stats(w.set, &stats);
	assert_int_equal(stats.rules, 3 * PORT_RULES + 2);
	assert_in_range(stats.groups, 256, 12 * 256);
	assert_in_range(stats.bytes, 1, 100 << 20);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "port"), 1);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "a port, any, client"), 3);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "from 80. from 81. from 7."), 2);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 1);
	assert_int_equal(udp(&w, GATE_TO_CLIENT, "x"), 1);
	assert_int_equal(udp(&w, GATE_TO_CLIENT, "from 400. from 80. port"), 2);
	world_end(&w);
}

/* ---- reload ---- */

#define URI "alert http any any -> any any (http.uri; content:\"/once\"; sid:1;)\n"
#define NEW_URI                                                                                    \
	"alert http any any -> any any (http.uri; content:\"on\"; offset:1; depth:4; sid:9;)\n"
#define PARTS                                                                                      \
	"alert http any any -> any any (http.uri; content:\"/once\"; http.request_body; "          \
	"content:\"the end\"; sid:2;)\n"
#define GONE "drop http any any -> any any (http.uri; content:\"/never\"; sid:5;)\n"
#define HEAD "POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n"

static void test_transaction_over_reload(void **state)
{
	struct world w;

	world_begin(&w);
	load(&w, GONE URI PARTS);
	handshake(&w);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, HEAD "begin"), 1);
	/* it has alerted: not again, under whatever number; a new rule sees what is there */
	load(&w, PARTS URI NEW_URI);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "....."), 1);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "."), 0);
	/* over several sets without a packet between them */
	load(&w, URI PARTS NEW_URI GONE);
	load(&w, NEW_URI PARTS URI);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, ".."), 0);
	/* the part that held before holds still */
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "the end"), 1);
	assert_int_equal(w.alerts, 3);
	world_end(&w);
}

static void test_rule_changed_over_reload(void **state)
{
	struct world w;

	world_begin(&w);
	load(&w, URI);
	handshake(&w);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, HEAD "begin"), 1);
	/* the same number, another rule */
	load(&w, "alert http any any -> any any (http.method; content:\"POST\"; sid:1; rev:2;)\n");
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "....."), 1);
	/* older than what is remembered: as new */
	for (unsigned int i = 0; i < GATE_WAS_MAX + 2; i++) {
		load(&w, i % 2 ? URI : NEW_URI URI);
	}
	assert_int_equal(w.set->was_count, GATE_WAS_MAX);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "."), 1);
	world_end(&w);
}

static void test_flow_over_reload(void **state)
{
	static const char ip_only[] = "alert ip any any -> 10.9.8.7 any (sid:1;)\n";
	static const char added[] = "alert ip any any -> 10.9.8.7 any (sid:1;)\n"
				    "alert ip 10.0.0.1 any -> any any (sid:2;)\n";
	struct world w;

	world_begin(&w);
	load(&w, ip_only);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 1);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 0);
	load(&w, ip_only);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 0);
	/* a rule that is new is asked for flows that are old, a blocked address say */
	load(&w, added);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 1);
	load(&w, added);
	load(&w, ip_only);
	load(&w, added);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 1); /* it was gone in between */
	assert_int_equal(udp(&w, GATE_TO_SERVER, "x"), 0);
	world_end(&w);
}

static void test_names_over_reload(void **state)
{
	static const char bits[] =
		"alert udp any any -> any 80 (content:\"set\"; flowbits:set,b; noalert; sid:1;)\n"
		"alert udp any any -> any any (content:\"ask\"; flowbits:isset,b; sid:2;)\n";
	static const char more[] =
		"alert udp any any -> any any (content:\"x\"; flowbits:isset,other; sid:3;)\n"
		"alert udp any any -> any any (content:\"ask\"; flowbits:isset,b; sid:2;)\n";
	static const char limit[] = "alert udp any any -> any any (content:\"lim\"; threshold:type "
				    "limit, track by_src, count 1, seconds 3600; sid:4;)\n";
	struct world w;

	world_begin(&w);
	load(&w, bits);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "set"), 0);
	load(&w, more);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "ask"), 1);
	load(&w, limit);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "lim"), 1);
	load(&w, limit);
	assert_int_equal(udp(&w, GATE_TO_SERVER, "lim"), 0);
	world_end(&w);
}

/* A pattern over two packets with a reload between them; what was looked at is not told again. */
static void test_stream_over_reload(void **state)
{
	static const char split[] =
		"alert tcp any any -> any 80 (flow:established; content:\"OVERTWO\"; sid:1;)\n";
	struct world w;

	world_begin(&w);
	load(&w, split);
	handshake(&w);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "....OVER"), 0);
	load(&w, split);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "TWO...."), 1);
	load(&w, split);
	assert_int_equal(tcp(&w, GATE_TO_SERVER, ACK, "........"), 0);
	world_end(&w);
}

/* ---- files of the cache ---- */

static hs_database_t *database(const char *literal)
{
	hs_compile_error_t *error = NULL;
	hs_database_t *db = NULL;

	assert_int_equal(hs_compile(literal, 0, HS_MODE_BLOCK, NULL, &db, &error), HS_SUCCESS);
	return db;
}

static int load_file(const char *dir, const uint8_t *key)
{
	hs_database_t *db = NULL;
	int r = gate_hscache_load(dir, key, &db);

	if (!r) {
		assert_non_null(db);
		hs_free_database(db);
	} else {
		assert_null(db);
	}
	return r;
}

static char *only_file(const char *dir, const uint8_t *key)
{
	char hex[2 * GATE_HS_KEY_SIZE + 1];

	bh_hex_format(key, GATE_HS_KEY_SIZE, hex);
	return bh_asprintf("%s/%s.hs", dir, hex);
}

static void flip(const char *path, off_t at)
{
	uint8_t byte;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void test_cache_files(void **state)
{
	char dir[] = "/tmp/gate-sets-XXXXXX";
	const uint8_t key[GATE_HS_KEY_SIZE] = {1, 2, 3}, other[GATE_HS_KEY_SIZE] = {4};
	BH_FREE char *path = NULL, *path2 = NULL;
	hs_database_t *db = database("word");
	struct stat st;

	assert_non_null(mkdtemp(dir));
	path = only_file(dir, key);
	path2 = only_file(dir, other);
	assert_int_equal(load_file(dir, key), -ENOENT);
	gate_hscache_store(dir, key, db);
	assert_int_equal(load_file(dir, key), 0);
	assert_int_equal(stat(path, &st), 0);
	/* torn at any place, and a byte more */
	for (off_t size = 0; size < st.st_size; size += size < 128 ? 1 : 97) {
		assert_int_equal(truncate(path, size), 0);
		assert_true(load_file(dir, key) < 0);
		gate_hscache_store(dir, key, db);
	}
	assert_int_equal(truncate(path, st.st_size + 1), 0);
	assert_true(load_file(dir, key) < 0);
	gate_hscache_store(dir, key, db);
	/* any byte another one */
	for (off_t at = 0; at < st.st_size; at += at < 128 ? 1 : 61) {
		flip(path, at);
		assert_true(load_file(dir, key) < 0);
		flip(path, at);
	}
	assert_int_equal(load_file(dir, key), 0);
	/* another's database under this name */
	assert_int_equal(rename(path, path2), 0);
	assert_true(load_file(dir, other) < 0);
	/* who else may write it may have forged it; nor is a link followed */
	assert_int_equal(symlink(path2, path), 0);
	assert_true(load_file(dir, key) < 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rename(path2, path), 0);
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(load_file(dir, key), -EPERM);
	assert_int_equal(chmod(path, 0602), 0);
	assert_int_equal(load_file(dir, key), -EPERM);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(load_file(dir, key), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 12345), 0);
		assert_int_equal(load_file(dir, key), -EPERM);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
	hs_free_database(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_hook_and_flow),
		cmocka_unit_test(test_bad_configuration),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_shared_databases),
		cmocka_unit_test(test_many_ports),
		cmocka_unit_test(test_bounds_of_a_set),
		cmocka_unit_test(test_transaction_over_reload),
		cmocka_unit_test(test_rule_changed_over_reload),
		cmocka_unit_test(test_flow_over_reload),
		cmocka_unit_test(test_names_over_reload),
		cmocka_unit_test(test_stream_over_reload),
		cmocka_unit_test(test_cache_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
