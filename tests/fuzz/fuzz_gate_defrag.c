/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments against a model of what shall become of them. The bytes choose settings and then, eight
 * each, fragments of a few datagrams of IPv4 and IPv6: bare, in VLANs, in tunnels, in a tunnel that
 * is itself fragmented. Each becomes frames for the decoder, and the model says what it must hand
 * out: each datagram exactly once, when nothing of it is missing, byte by byte by the policy of its
 * receiver, under the header of the first fragment that came; nothing else, ever.
 *
 * What the decoder is free to choose the model takes from it, if there is a reason: a fragment that
 * is refused, and how many of the oldest datagrams had to go. Behind the last fragment, when all is
 * too old, as much must fit as into a new decoder.
 */
#include "gate_fragments.h"
#include "gate/decode/decode.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/config.h"

#undef NDEBUG
#include <assert.h>

#define OPS_MAX	 300u
#define OP_SIZE	 8u
#define KEPT_MAX (4 * 65536u) /* of one datagram: see defrag.c */
#define DATA_MAX 65000u
#define OUTER_ID 0x8000u
#define PROTO	 253u /* and 254: nothing is decoded above */
#define TICK_US	 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct datagram {
	struct datagram *next; /* from the one on that waits longest for more */
	struct fragment *first, **last;
	uint64_t last_us;
};

struct settings {
	const char *policies[HOSTS];
	uint64_t memory, fragments_max, timeout_us;
	bool vlan, vni, sources; /* part of who a datagram is */
};

struct world {
	struct settings settings;
	struct gate_decoder *decoder;
	struct datagram *oldest;
	uint64_t time_us, evicted;
	uint32_t serial;
	/* of the frame that is being decoded: its fragments from the outside in, what must come */
	struct fragment *parts[2];
	unsigned int count, at;
	uint8_t *due;
	uint32_t due_size;
	bool tunnel_is_whole;
};

/* ---- the model ---- */

static uint64_t evicted_now(void)
{
	return bh_counter_get("gate_defrag_evicted");
}

static void datagram_free(struct world *w, struct datagram *gone)
{
	struct datagram **at = &w->oldest;

	while (*at != gone) {
		at = &(*at)->next;
	}
	*at = gone->next;
	while (gone->first) {
		struct fragment *next = gone->first->next;

		free(gone->first);
		gone->first = next;
	}
	free(gone);
}

static bool is_late(const struct world *w, const struct datagram *g)
{
	return w->time_us - g->last_us > w->settings.timeout_us;
}

static void forget_late(struct world *w)
{
	while (w->oldest && is_late(w, w->oldest)) {
		datagram_free(w, w->oldest);
	}
}

static bool same(const struct key *a, const struct key *b)
{
	return a->id == b->id && a->vni == b->vni && a->version == b->version &&
	       a->host == b->host && a->proto == b->proto && a->depth == b->depth &&
	       a->vlans == b->vlans && a->source == b->source && a->vlan[0] == b->vlan[0] &&
	       a->vlan[1] == b->vlan[1];
}

/* A fragment of it comes: it waits anew. */
static void put_last(struct world *w, struct datagram *g)
{
	struct datagram **at = &w->oldest;

	while (*at && *at != g) {
		at = &(*at)->next;
	}
	if (*at) {
		*at = g->next;
	}
	while (*at) {
		at = &(*at)->next;
	}
	*at = g;
	g->next = NULL;
	g->last_us = w->time_us;
}

static struct datagram *datagram_of(struct world *w, const struct key *key)
{
	struct datagram *g = w->oldest;

	while (g && !same(&g->first->key, key)) {
		g = g->next;
	}
	if (g && is_late(w, g)) {
		datagram_free(w, g);
		return NULL;
	}
	if (g) {
		put_last(w, g);
	}
	return g;
}

static uint32_t end_of(const struct fragment *f)
{
	return f->offset + f->size;
}

/* Where the datagram ends: the least that a last fragment says; 0: none has come. */
static uint32_t total_of(const struct datagram *g)
{
	uint32_t total = 0;

	for (const struct fragment *f = g->first; f; f = f->next) {
		if (!f->more && (!total || end_of(f) < total)) {
			total = end_of(f);
		}
	}
	return total;
}

/* Whether `now`, which came later, takes a byte from `was`. */
static bool takes(const char *policy, const struct fragment *was, const struct fragment *now)
{
	bool begins_before = now->offset < was->offset;

	if (!strcmp(policy, "bsd")) { /* what begins first, and of those what came first */
		return begins_before;
	}
	if (!strcmp(policy, "linux")) { /* what begins first, and of those what came last */
		return begins_before || now->offset == was->offset;
	}
	if (!strcmp(policy, "bsd-right")) { /* what begins last, and of those what came last */
		return !begins_before;
	}
	if (!strcmp(policy, "windows")) { /* what came first, unless it lies within the other */
		return begins_before && end_of(now) > end_of(was);
	}
	if (!strcmp(policy, "solaris")) { /* the same, but both may end together */
		return begins_before && end_of(now) >= end_of(was);
	}
	assert(!strcmp(policy, "first") || !strcmp(policy, "last"));
	return !strcmp(policy, "last");
}

/* The fragment that a byte is taken from; NULL: none has it. */
static const struct fragment *owner_of(const struct datagram *g, const char *policy, uint32_t byte)
{
	const struct fragment *owner = NULL;

	for (const struct fragment *f = g->first; f; f = f->next) {
		if (byte >= f->offset && byte < end_of(f) && (!owner || takes(policy, owner, f))) {
			owner = f;
		}
	}
	return owner;
}

static bool overlaps(const struct datagram *g, const struct fragment *f)
{
	for (const struct fragment *was = g->first; was != f; was = was->next) {
		uint32_t from = f->offset > was->offset ? f->offset : was->offset;

		if (from < end_of(f) && from < end_of(was)) {
			return true;
		}
	}
	return false;
}

/* Ends of fragments are the only places where something can begin to be missing. */
static bool is_whole(const struct datagram *g, uint32_t total)
{
	uint32_t reached = 0;
	bool further = true;

	while (further && reached < total) {
		further = false;
		for (const struct fragment *f = g->first; f; f = f->next) {
			if (f->offset <= reached && end_of(f) > reached) {
				reached = end_of(f);
				further = true;
			}
		}
	}
	return total && reached >= total;
}

static uint16_t sum_of(const uint8_t *header, uint32_t size)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < size; i += 2) {
		sum += (uint32_t)(header[i] << 8 | header[i + 1]);
	}
	while (sum > 0xffff) {
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (uint16_t)~sum;
}

/* What the decoder must hand out; false: it would be larger than a datagram can be. */
static bool assemble(struct world *w, const struct datagram *g, uint32_t total)
{
	const char *policy = w->settings.policies[g->first->key.host];
	const struct fragment *head = g->first;
	uint32_t size;

	while (head->offset) {
		head = head->next;
	}
	size = head->header_size + total;
	if (size - (head->key.version == 6 ? 40 : 0) > LARGEST) {
		return false;
	}
	w->due = bh_alloc(size);
	w->due_size = size;
	memcpy(w->due, head->header, head->header_size);
	if (head->key.version == 4) {
		put16(w->due + 2, size);
		put16(w->due + 6, 0);
		put16(w->due + 10, 0);
		put16(w->due + 10, sum_of(w->due, head->header_size));
	} else {
		put16(w->due + 4, size - 40);
		w->due[head->next_at] = head->proto;
	}
	for (uint32_t i = 0; i < total; i++) {
		const struct fragment *f = owner_of(g, policy, i);

		w->due[head->header_size + i] = f->data[i - f->offset];
	}
	return true;
}

struct account {
	uint64_t fragments, bytes, room_most; /* room_most: more than what it can take */
};

static void count(struct account *account, const struct fragment *f)
{
	uint64_t bytes = f->size + (f->offset ? 0 : f->header_size);

	account->fragments++;
	account->bytes += bytes;
	account->room_most += bytes + bytes / 16 + 4096;
}

static struct account account_of(const struct world *w, const struct datagram *only)
{
	struct account account = {};

	for (const struct datagram *g = w->oldest; g; g = g->next) {
		for (const struct fragment *f = g->first; f && (!only || g == only); f = f->next) {
			count(&account, f);
		}
		account.room_most += 4096;
	}
	return account;
}

/* As many of the oldest as the decoder says it let go, for which there must be a reason. */
static void evict(struct world *w, const struct datagram *keep, const struct fragment *f)
{
	uint64_t count_now = evicted_now();

	for (; w->evicted < count_now; w->evicted++) {
		struct account account = account_of(w, NULL);
		struct datagram *gone = w->oldest == keep && keep ? keep->next : w->oldest;

		count(&account, f);
		assert(gone);
		assert(account.fragments > w->settings.fragments_max ||
		       account.room_most + 4096 > w->settings.memory);
		datagram_free(w, gone);
	}
}

/* A refused fragment: one datagram, or all of the room, is full of others of the same datagram. */
static void check_refusal(const struct world *w, const struct datagram *g, const struct fragment *f)
{
	struct account account = g ? account_of(w, g) : (struct account){};

	count(&account, f);
	assert(account.bytes > KEPT_MAX || account.fragments > w->settings.fragments_max ||
	       account.room_most + 8192 > w->settings.memory);
}

static struct datagram *datagram_new(struct world *w)
{
	struct datagram *g = bh_alloc(sizeof(*g));

	g->last = &g->first;
	put_last(w, g);
	return g;
}

static void keep(struct world *w, struct datagram *g, struct fragment *f, struct gate_packet *p)
{
	bool v4 = f->key.version == 4, too_large = false;
	struct account account;
	uint32_t total;

	g = g ? g : datagram_new(w);
	*g->last = f;
	g->last = &f->next;
	account = account_of(w, NULL);
	assert(account.fragments <= w->settings.fragments_max &&
	       account.bytes <= w->settings.memory);
	assert(gate_packet_has_event(p, v4 ? GATE_EVENT_IPV4_FRAG_OVERLAP
					   : GATE_EVENT_IPV6_FRAG_OVERLAP) == overlaps(g, f));
	total = total_of(g);
	if (is_whole(g, total)) {
		too_large = !assemble(w, g, total);
		datagram_free(w, g);
	}
	assert(gate_packet_has_event(p, v4 ? GATE_EVENT_IPV4_FRAG_PKT_TOO_LARGE
					   : GATE_EVENT_IPV6_FRAG_PKT_TOO_LARGE) == too_large);
}

/* The decoder has seen it: so does the model, which owns it from here. */
static void add(struct world *w, struct fragment *f, struct gate_packet *p)
{
	bool v4 = f->key.version == 4;
	bool refused = gate_packet_has_event(p, v4 ? GATE_EVENT_IPV4_FRAG_IGNORED
						   : GATE_EVENT_IPV6_FRAG_IGNORED);
	struct datagram *g;

	if ((v4 ? 20 : 0) + end_of(f) > LARGEST) {
		assert(gate_packet_has_event(p, v4 ? GATE_EVENT_IPV4_FRAG_PKT_TOO_LARGE
						   : GATE_EVENT_IPV6_FRAG_PKT_TOO_LARGE));
		free(f);
		return;
	}
	if (f->more) { /* RFC 791: whole units; what is behind the last one is nobody's */
		f->size &= ~7u;
	}
	if (f->more && !f->size) {
		free(f);
		return;
	}
	g = datagram_of(w, &f->key);
	evict(w, g, f);
	if (refused) {
		check_refusal(w, g, f);
		free(f);
		return;
	}
	keep(w, g, f, p);
}

static void on_packet(struct gate_packet *p, void *arg)
{
	struct world *w = arg;

	if (p->flags & GATE_PKT_REASSEMBLED) {
		assert(w->due && p->l3.size == w->due_size);
		assert(!memcmp(p->l3.data, w->due, w->due_size));
		free(w->due);
		w->due = NULL;
		w->tunnel_is_whole |= w->at == 1;
	}
	if (p->flags & GATE_PKT_FRAGMENT) {
		assert(w->at < w->count && !w->due);
		add(w, w->parts[w->at++], p);
	}
}

static void send_frame(struct world *w, const struct frame *frame, bool cut)
{
	struct gate_packet p = {.link = frame->link, .source = frame->source};

	p.wire_size = frame->size;
	p.size = frame->size - cut;
	p.time_us = w->time_us;
	p.data = bh_memdup(frame->bytes, p.size); /* so that a checker sees a read behind it */
	w->at = 0;
	w->tunnel_is_whole = false;
	if (cut) { /* lengths that lie: it is not looked into */
		while (w->count) {
			free(w->parts[--w->count]);
		}
	}
	gate_decode(w->decoder, &p, on_packet, w);
	assert(!w->due);
	if (w->count == 2 && !w->tunnel_is_whole) {
		free(w->parts[--w->count]);
	}
	assert(w->at == w->count);
	free(p.data);
}

/* Its IP datagram in a tunnel that comes in two fragments, the second one first if asked. */
static void send_in_fragments(struct world *w, struct fragment *f, struct frame *frame, bool turned)
{
	static struct frame inner;
	uint32_t id = OUTER_ID + (++w->serial & 0x7fff), first;

	inner.size = 0;
	f->key.depth = 0;
	append_fragment(&inner, f);
	f->key.depth = 1;
	first = inner.size / 16 * 8;
	for (unsigned int i = 0; i < 2; i++) {
		bool last = (i == 1) != turned;
		uint32_t from = last ? first : 0, size = last ? inner.size - first : first;
		struct fragment *outer =
			fragment_new(++w->serial, 4, HOST_NET,
				     f->key.version == 4 ? TUNNEL_PROTO4 : TUNNEL_PROTO6, size);

		outer->key.id = id;
		outer->key.source = f->key.source;
		outer->offset = from;
		outer->more = !last;
		memcpy(outer->data, inner.bytes + from, size);
		frame->size = 0;
		frame->link = GATE_LINK_RAW;
		append_fragment(frame, outer);
		w->parts[0] = outer;
		w->parts[1] = f;
		w->count = i + 1;
		send_frame(w, frame, false);
	}
}

/* ---- what the bytes say ---- */

static void tick(struct world *w)
{
	forget_late(w);
	for (int i = 0; i < 4; i++) { /* 256 at once */
		gate_decoder_tick(w->decoder, w->time_us);
	}
}

static void one_op(struct world *w, const uint8_t *op)
{
	static struct frame frame;
	uint8_t version = op[0] & 0x20 ? 6 : 4, host = op[0] >> 3 & 3;
	enum wrap wrap = (op[1] & 15) % WRAPS;
	unsigned int which = op[1] >> 4 & 7;
	uint32_t size = op[5];
	struct fragment *f;

	host = version == 6 ? HOST_ANY6 + (host & 1) : host % HOST_ANY6;
	w->time_us += op[6] & 1 ? (op[6] >> 1) * TICK_US : 0;
	if (op[6] & 1 && op[6] & 2) {
		tick(w);
	}
	size = op[4] & 1 ? size * 8 : op[4] & 2 ? size * 256 : size;
	size = size > DATA_MAX ? DATA_MAX : size;
	f = fragment_new(++w->serial, version, host, PROTO + (op[0] >> 2 & 1), size);
	f->key.id = op[0] & 3;
	f->more = op[0] & 0x40;
	f->offset = (uint32_t)(op[2] << 8 | op[3]);
	f->offset = (f->offset & 0x8000 ? f->offset & 0x1fff : f->offset & 0x3f) * 8;
	if (!f->offset && !f->more) {
		f->offset = 8; /* else it is no fragment */
	}
	frame.source = w->settings.sources ? op[1] >> 7 : 0;
	f->key.source = (uint8_t)frame.source;
	more_header(f, op[7] & 15);
	if (wrap == IN_FRAGMENTS) {
		send_in_fragments(w, f, &frame, which & 1);
		return;
	}
	begin_frame(&frame, &f->key, wrap, which,
		    f->header_size + (version == 6 ? 8 : 0) + f->size);
	if (!w->settings.vlan) {
		f->key.vlans = 0;
		f->key.vlan[0] = f->key.vlan[1] = 0;
	}
	f->key.vni = w->settings.vni ? f->key.vni : 0;
	append_fragment(&frame, f);
	w->parts[0] = f;
	w->count = 1;
	send_frame(w, &frame, op[0] & 0x80 && op[7] & 0x80);
}

static void settings_of(struct world *w, const uint8_t *bytes, struct gate_config *config)
{
	static const char *const policies[][2] = {
		/* by that name, as the model knows it */
		{"bsd", "bsd"},		{"bsd-right", "bsd-right"}, {"linux", "linux"},
		{"first", "first"},	{"last", "last"},	    {"solaris", "solaris"},
		{"windows", "windows"}, {"macos", "first"},	    {"hpux10", "bsd"},
		{"irix", "bsd"},	{"hpux11", "first"},	    {"old-solaris", "first"},
		{"old-linux", "linux"}, {"windows2k3", "windows"},  {"vista", "windows"}};
	static const char *const networks[HOSTS] = {"0.0.0.0/0", "10.0.0.0/24", "10.0.0.7", "::/0",
						    "2001:db8::7"};

	for (unsigned int i = 0; i < HOSTS; i++) {
		uint8_t which = i < 2 ? bytes[i] & 15 : bytes[i - 2] >> 4;
		struct gate_os_policy *os;

		w->settings.policies[i] = "bsd";
		if (bytes[2] & 1 || which == 15) {
			which = i % BH_ARRAY_SIZE(policies);
		}
		if (bytes[3] & 0x80) { /* none at all */
			continue;
		}
		os = bh_vec_push(&config->os_policies);
		os->policy = (char *)(uintptr_t)policies[which][0];
		os->network = (char *)(uintptr_t)networks[i];
		w->settings.policies[i] = policies[which][1];
	}
	w->settings.memory = config->defrag_memcap = bytes[3] & 1 ? 1 << 17 : 1 << 19;
	w->settings.fragments_max = config->defrag_max_frags = bytes[3] & 2 ? 16 : 4096;
	config->defrag_timeout_s = 1 + (bytes[3] >> 2 & 3);
	w->settings.timeout_us = config->defrag_timeout_s * 1000000;
	w->settings.vlan = config->vlan_tracking = !(bytes[3] & 64);
	w->settings.vni = config->vni_tracking = bytes[3] & 16;
	config->inline_mode = bytes[3] & 32;
	w->settings.sources = !config->inline_mode;
	config->vxlan_enabled = true;
	config->vxlan_ports = (char *)(uintptr_t) "4789";
	config->geneve_ports = config->teredo_ports = (char *)(uintptr_t) "0";
}

static void nothing(struct gate_packet *p, void *arg)
{
}

/* How many fragments of other datagrams it takes until the first one goes. */
static unsigned int capacity(struct gate_decoder *decoder, uint64_t time_us)
{
	static struct frame frame;
	unsigned int count = 0;

	for (uint64_t before = evicted_now(); evicted_now() == before; count++) {
		struct fragment *f = fragment_new(count, 4, HOST_ONE, PROTO, 8);
		struct gate_packet p = {.link = GATE_LINK_RAW, .time_us = time_us};

		f->key.id = count;
		f->more = true;
		frame.size = 0;
		append_fragment(&frame, f);
		free(f);
		p.data = frame.bytes;
		p.size = p.wire_size = frame.size;
		gate_decode(decoder, &p, nothing, NULL);
	}
	return count;
}

/* What nobody completes is forgotten, and its room is there again. */
static void check_room(struct world *w, const struct gate_config *config)
{
	struct gate_decoder *fresh = gate_decoder_new(config);

	w->time_us += w->settings.timeout_us + 1;
	tick(w);
	assert(!w->oldest);
	assert(capacity(w->decoder, w->time_us) == capacity(fresh, 0));
	gate_decoder_free(fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_config config = {};
	struct world w = {};

	if (size < 4) {
		return 0;
	}
	settings_of(&w, data, &config);
	w.decoder = gate_decoder_new(&config);
	w.evicted = evicted_now();
	w.time_us = 1000000;
	data += 4;
	size -= 4;
	for (unsigned int i = 0; i < OPS_MAX && size >= OP_SIZE; i++) {
		one_op(&w, data);
		data += OP_SIZE;
		size -= OP_SIZE;
	}
	check_room(&w, &config);
	gate_decoder_free(w.decoder);
	bh_vec_done(&config.os_policies);
	return 0;
}
