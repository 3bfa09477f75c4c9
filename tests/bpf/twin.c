/* SPDX-License-Identifier: Apache-2.0 */
#include "twin.h"

#include "dataplane_world.h"
#include "image_put.h"

#include "base/util.h"
#include "host/dataplane/internal.h"
#include "model/id.h"

#include <bpf/bpf.h>
#include <errno.h>

const char *const twin_addr4[TWIN_ACTORS] = {"10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.60",
					     "10.9.9.9"};
const char *const twin_addr6[TWIN_ACTORS] = {"fd77::1", "fd77::2", "fd77::3", "fd77::3c",
					     "2001:db8::9"};
const uint8_t twin_mac[TWIN_ACTORS][6] = {{2, 0x77, 0, 0, 0, 1},
					  {2, 0x77, 0, 0, 0, 2},
					  {2, 0x77, 0, 0, 0, 3},
					  {2, 0x77, 0, 0, 0, 200},
					  {2, 0x77, 0, 0, 0, 200}};

/* ---- counters ---- */
static void count_host(struct twin_host *host, uint64_t sums[BH_REASON_COUNT])
{
	int cpus = libbpf_num_possible_cpus(), n;
	struct dp_iter it;

	dp_iter_init(&it, host->dp, DP_MAP_STATS);
	while ((n = dp_iter_next(&it)) > 0) {
		for (int i = 0; i < n; i++) {
			const struct bh_stat_key *key = dp_iter_key(&it, i);
			const struct bh_counter *c = dp_iter_value(&it, i);

			for (int cpu = 0; cpu < cpus && key->reason < BH_REASON_COUNT; cpu++) {
				sums[key->reason] += c[cpu].packets;
			}
		}
	}
	assert_int_equal(n, 0);
	dp_iter_done(&it);
}

/* After what may take NICs and their counters away. */
static void look_anew(struct twin *t)
{
	memset(t->dropped, 0, sizeof(t->dropped));
	count_host(&t->host[0], t->dropped);
	count_host(&t->host[1], t->dropped);
}

/* ---- images ---- */
static void put_vm(struct bh_image *image, enum twin_actor vm)
{
	struct bh_segment *seg = bh_segment_new(vm == TWIN_MOVER  ? "vm:mover"
						: vm == TWIN_NEAR ? "vm:near"
								  : "vm:there");
	struct hostd_dp_nic_key key = world_key(vm);
	struct bh_rec nic = {.type = BH_REC_NIC,
			     .nic = {.net = WORLD_NET,
				     .identity = TWIN_IDENTITY + vm,
				     .tenant = vm == TWIN_THERE ? 3 : 2}};
	struct bh_rec addr = {.type = BH_REC_NIC_ADDR}, vlan = {.type = BH_REC_NIC_VLAN};

	memcpy(nic.nic.vm, key.vm, 16);
	memcpy(nic.nic.mac, key.mac, 6);
	bh_segment_add(seg, &nic);
	memcpy(addr.nic_addr.vm, key.vm, 16);
	memcpy(addr.nic_addr.mac, key.mac, 6);
	kit_ip(twin_addr4[vm], addr.nic_addr.addr);
	bh_segment_add(seg, &addr);
	kit_ip(twin_addr6[vm], addr.nic_addr.addr);
	bh_segment_add(seg, &addr);
	memcpy(vlan.nic_vlan.vm, key.vm, 16);
	memcpy(vlan.nic_vlan.mac, key.mac, 6);
	for (uint32_t i = 0; i < 2; i++) {
		vlan.nic_vlan.vlan = i * TWIN_VLAN << 16;
		bh_segment_add(seg, &vlan);
	}
	image_put(image, seg);
}

static void put_net(struct bh_image *image)
{
	struct bh_segment *seg = bh_segment_new("net:7");
	struct bh_rec rec = {.type = BH_REC_ADDR, .addr = {.net = WORLD_NET}};

	for (uint32_t actor = 0; actor <= TWIN_FAR; actor++) {
		rec.addr.identity = TWIN_IDENTITY + actor;
		rec.addr.tenant = actor >= TWIN_THERE ? 3 : 2;
		for (uint32_t tagged = 0; tagged < 2; tagged++) {
			rec.addr.vlan = tagged * TWIN_VLAN << 16;
			kit_ip(twin_addr4[actor], rec.addr.addr);
			bh_segment_add(seg, &rec);
			kit_ip(twin_addr6[actor], rec.addr.addr);
			bh_segment_add(seg, &rec);
		}
	}
	image_put(image, seg);
}

static void put_sets(struct bh_image *image, struct bh_policy_compiler *compiler)
{
	struct bh_diag diag = {};

	for (uint32_t i = 0; i < 2 * TWIN_VMS; i++) {
		struct bh_segment *seg;

		if (bh_policy_compile(compiler, TWIN_IDENTITY + i / 2, (enum bh_policy_dir)(i % 2),
				      &seg, &diag)) {
			fail_msg("%s", diag.text);
		}
		bh_image_set(image, seg);
		bh_segment_unref(seg);
	}
}

/* What the host should hold now; sets as in `like`, or of the compiler. */
static void keep_set(struct bh_segment *seg, void *arg)
{
	if (!strncmp(bh_segment_name(seg), "set:", 4)) {
		bh_image_set(arg, seg);
	}
}

static void hold(struct twin *t, int h, bool mover, struct bh_policy_compiler *compiler)
{
	struct twin_host *host = &t->host[h];
	struct bh_image *to = bh_image_new();

	put_net(to);
	put_vm(to, h ? TWIN_THERE : TWIN_NEAR);
	if (mover) {
		put_vm(to, TWIN_MOVER);
	}
	if (compiler) {
		put_sets(to, compiler);
	} else {
		bh_image_each(host->image, keep_set, to);
	}
	host->image = must_apply(host->dp, host->image, to);
	assert_int_equal(hostd_dp_settle(host->dp, NULL), 0);
}

static bool holds_mover(const struct twin_host *host)
{
	return bh_image_get(host->image, "vm:mover");
}

void twin_commit(struct twin *t, struct bh_policy_compiler *compiler)
{
	for (int h = 0; h < 2; h++) {
		hold(t, h, holds_mover(&t->host[h]) || t->place[TWIN_MOVER] == h || t->moving,
		     compiler);
	}
	look_anew(t);
}

/* ---- devices ---- */
static void plug(struct twin *t, int h, enum twin_actor vm)
{
	struct hostd_dp_nic_key key = world_key(vm);
	struct hostd_dp_device device = {
		.ifindex = t->host[h].tap[vm], .bridge = t->bridge, .host_flags = BH_NIC_FASTPATH};
	struct bh_diag diag = {};

	if (hostd_dp_bind(t->host[h].dp, &key, &device, &diag)) {
		fail_msg("bind: %s", diag.text);
	}
	t->host[h].plugged[vm] = true;
}

static void unplug(struct twin *t, int h, enum twin_actor vm)
{
	struct hostd_dp_nic_key key = world_key(vm);

	if (t->host[h].plugged[vm]) {
		assert_int_equal(hostd_dp_unbind(t->host[h].dp, &key, NULL), 0);
		t->host[h].plugged[vm] = false;
	}
}

static void open_host(struct twin_host *host, const char *dir, const char *name, int h)
{
	struct hostd_dp_options options;
	struct bh_diag diag = {};
	char pin_dir[128];

	snprintf(pin_dir, sizeof(pin_dir), "%s/%s%d/v%d", dir, name, h, BH_ABI_VERSION);
	hostd_dp_options_init(&options);
	options.pin_dir = pin_dir;
	options.reject_pps = 1000000; /* time must not decide here */
	options.event_pps = 1000000;
	options.ct_per_nic = 0;
	if (hostd_dp_open(&options, &host->dp, NULL, &diag)) {
		fail_msg("open: %s", diag.text);
	}
	host->image = bh_image_new();
}

void twin_open(struct twin *t, const char *dir, const char *name, const uint32_t *taps,
	       uint32_t bridge)
{
	memset(t, 0, sizeof(*t));
	t->bridge = bridge;
	t->place[TWIN_THERE] = 1;
	for (int h = 0; h < 2; h++) {
		open_host(&t->host[h], dir, name, h);
		t->host[h].tap[TWIN_MOVER] = taps[h];
		t->host[h].tap[h ? TWIN_THERE : TWIN_NEAR] = taps[2 + h];
		hold(t, h, h == 0, NULL);
		plug(t, h, h ? TWIN_THERE : TWIN_NEAR);
	}
	plug(t, 0, TWIN_MOVER);
}

void twin_close(struct twin *t)
{
	for (int h = 0; h < 2; h++) {
		if (t->host[h].dp) {
			(void)!hostd_dp_destroy(t->host[h].dp, NULL);
			bh_image_free(t->host[h].image);
		}
	}
	memset(t, 0, sizeof(*t));
}

void twin_limit(struct twin *t, uint32_t ct_per_nic)
{
	for (int h = 0; h < 2; h++) {
		t->host[h].dp->ctl->ct_per_nic = ct_per_nic;
	}
}

static struct hostd_dp_move_nics nics_of(enum twin_actor vm)
{
	return (struct hostd_dp_move_nics){.keys = {world_key(vm)}, .count = 1};
}

static void count_conn(const struct bh_capsule_conn *conn, void *arg)
{
	(*(size_t *)arg)++;
}

static void walk(struct twin_host *host, const struct hostd_dp_move_nics *nics,
		 hostd_dp_move_conn_fn *fn, void *arg)
{
	struct hostd_dp_walk *w = hostd_dp_walk_new(host->dp, nics);
	int r;

	while ((r = hostd_dp_walk_step(w, 100, fn, arg, NULL)) == HOSTD_DP_MORE) {
	}
	assert_int_equal(r, 0);
	hostd_dp_walk_free(w);
}

/* Forgets every connection of every VM of the host. */
static void forget_all(struct twin_host *host)
{
	struct hostd_dp_move_nics nics = {.count = TWIN_VMS};
	size_t left = 0;

	for (int vm = 0; vm < TWIN_VMS; vm++) {
		nics.keys[vm] = world_key(vm);
	}
	assert_int_equal(hostd_dp_import_undo(host->dp, &nics, NULL), 0);
	walk(host, &nics, count_conn, &left);
	assert_int_equal(left, 0);
}

static void no_learned(struct twin_host *host)
{
	struct hostd_dp_nic_key key = world_key(TWIN_MOVER);
	const struct dp_nic *nic = dp_nic_find(host->dp, key.vm, key.mac);
	struct bh_nic_addr_key own = {.nic = nic ? nic->index : 0};
	struct bh_addr_key who = {.net = WORLD_NET};

	kit_ip(TWIN_LEARNED, own.addr);
	kit_ip(TWIN_LEARNED, who.addr);
	assert_int_equal(dp_map_del(host->dp, DP_MAP_NIC_ADDRS, &own), 0);
	assert_int_equal(dp_map_del(host->dp, DP_MAP_ADDRS, &who), 0);
}

void twin_reset(struct twin *t)
{
	if (t->moving) {
		twin_move_cancel(t);
	}
	for (int h = 0; h < 2; h++) {
		forget_all(&t->host[h]);
		no_learned(&t->host[h]);
	}
	if (t->place[TWIN_MOVER]) {
		if (!holds_mover(&t->host[0])) {
			hold(t, 0, true, NULL);
		}
		unplug(t, 1, TWIN_MOVER);
		plug(t, 0, TWIN_MOVER);
		t->place[TWIN_MOVER] = 0;
	}
	if (holds_mover(&t->host[1])) {
		hold(t, 1, false, NULL);
	}
	twin_limit(t, 0);
	look_anew(t);
}

void twin_learn(struct twin *t)
{
	struct twin_host *host = &t->host[t->place[TWIN_MOVER]];
	struct hostd_dp_nic_key key = world_key(TWIN_MOVER);
	struct bh_capsule_nic nic;

	assert_int_equal(hostd_dp_nic_export(host->dp, &key, &nic, NULL), 0);
	nic.learned_count = 1;
	nic.learned[0] = (struct bh_capsule_learned){.left_ms = 600000};
	kit_ip(TWIN_LEARNED, nic.learned[0].addr);
	assert_int_equal(hostd_dp_nic_import(host->dp, &key, &nic, NULL), 0);
}

/* ---- packets ---- */
static uint32_t run(struct twin_host *host, enum dp_prog prog, uint32_t ifindex, uint32_t kind,
		    const struct kit_frame *f, int *ret_verdict)
{
	uint32_t nonce = host->dp->ctl->mark_nonce & 0xffffff00;
	struct __sk_buff in = {.ifindex = ifindex, .mark = kind ? nonce | kind : 0}, out = {};
	uint8_t data[KIT_FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->size,
		    .data_out = data, .data_size_out = sizeof(data), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out));

	assert_int_equal(bpf_prog_test_run_opts(host->dp->prog_fd[prog], &opts), 0);
	*ret_verdict = (int)opts.retval;
	return out.mark & 0xff;
}

/* Why the last frame was dropped: the counter that grew since the last look. */
static void look(struct twin *t, struct twin_outcome *o)
{
	uint64_t sums[BH_REASON_COUNT] = {};

	count_host(&t->host[0], sums);
	count_host(&t->host[1], sums);
	for (uint32_t r = BH_REASON_DROP_POLICY; r < BH_REASON_COUNT; r++) {
		bool drop = r <= BH_REASON_DROP_INTERNAL || r == BH_REASON_DROP_ARRIVING;

		if (drop && sums[r] > t->dropped[r]) {
			o->reason = r;
		}
	}
	o->answered = sums[BH_REASON_ANSWER_SENT] > t->dropped[BH_REASON_ANSWER_SENT];
	memcpy(t->dropped, sums, sizeof(sums));
}

static bool to_guest(struct twin *t, enum twin_actor to, uint32_t kind, const struct kit_frame *f)
{
	struct twin_host *host = &t->host[t->place[to]];
	int verdict;

	run(host, DP_PROG_TO_GUEST, host->tap[to], kind, f, &verdict);
	return verdict == KIT_PASS;
}

struct twin_outcome twin_deliver(struct twin *t, enum twin_actor from, enum twin_actor to,
				 const struct kit_frame *f)
{
	struct twin_outcome o = {.delivered = true};
	uint32_t kind = BH_MARK_UPLINK;
	int verdict = KIT_PASS;

	if (from < TWIN_VMS) {
		struct twin_host *host = &t->host[t->place[from]];

		kind = run(host, DP_PROG_FROM_GUEST, host->tap[from], 0, f, &verdict);
		o.delivered =
			verdict == KIT_PASS || (verdict == KIT_REDIRECT && kind != BH_MARK_ANSWER);
		if (to >= TWIN_VMS || t->place[to] != t->place[from]) {
			kind = BH_MARK_UPLINK;
		} else if (verdict == KIT_REDIRECT) {
			kind = BH_MARK_HANDED;
		}
	}
	if (o.delivered && to < TWIN_VMS) {
		o.delivered = to_guest(t, to, kind, f);
		o.halfway = !o.delivered && from < TWIN_VMS;
	}
	if (!o.delivered) {
		look(t, &o);
	}
	return o;
}

/* ---- moving ---- */
/* What goes through parts; flushed in order. */
struct shipping {
	struct twin *twin;
	struct hostd_dp_move_nics moving;
	struct bh_capsule_writer *writer;
	uint32_t seq;
	BH_VEC(struct bh_capsule_conn) conns; /* read, not imported yet */
	BH_VEC(struct bh_capsule_tuple) gone;
	size_t nics;
};

static int sign(const void *data, size_t size, uint8_t *sig, size_t *ret_size, void *arg,
		struct bh_diag *diag)
{
	memset(sig, 7, 8);
	*ret_size = 8;
	return 0;
}

static int verify(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		  void *arg, struct bh_diag *diag)
{
	return what->sig_size == 8 ? 0 : -EBADMSG;
}

static struct twin_host *source_of(struct twin *t)
{
	return &t->host[t->place[TWIN_MOVER]];
}

static struct twin_host *target_of(struct twin *t)
{
	return &t->host[!t->place[TWIN_MOVER]];
}

static void import_gone(struct shipping *s)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);

	assert_int_equal(hostd_dp_import_gone(target_of(s->twin)->dp, &nics, s->gone.items,
					      s->gone.count, NULL),
			 0);
	s->gone.count = 0;
}

static void import_conns(struct shipping *s)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);
	struct hostd_dp_import_result result;
	struct bh_diag diag = {};

	if (hostd_dp_import(target_of(s->twin)->dp, &nics, s->conns.items, s->conns.count, &result,
			    &diag)) {
		fail_msg("import: %s", diag.text);
	}
	if (result.added + result.merged != s->conns.count) {
		fail_msg("import: %zu added, %zu merged, %zu full, %zu over quota of %zu",
			 result.added, result.merged, result.full, result.quota, s->conns.count);
	}
	s->conns.count = 0;
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	struct shipping *s = arg;
	struct hostd_dp_nic_key key = world_key(TWIN_MOVER);

	assert_int_equal(hostd_dp_nic_import(target_of(s->twin)->dp, &key, nic, NULL), 0);
	s->nics++;
}

static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct shipping *s = arg;

	import_gone(s);
	*bh_vec_push(&s->conns) = *conn;
}

static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	struct shipping *s = arg;

	import_conns(s);
	*bh_vec_push(&s->gone) = *tuple;
}

static void begin_part(struct shipping *s)
{
	struct bh_capsule_head head = {.migration = {1}, .vm = {2}, .seq = s->seq++};

	strcpy(head.source, "h1");
	strcpy(head.target, "h2");
	head.cert = head.seq ? NULL : "certificate";
	head.cert_size = head.seq ? 0 : strlen(head.cert);
	s->writer = bh_capsule_writer_new(&head);
}

static void end_part(struct shipping *s)
{
	struct bh_capsule_handlers handlers = {
		.verify = verify, .nic = on_nic, .conn = on_conn, .gone = on_gone, .arg = s};
	struct bh_diag diag = {};
	const void *data;
	size_t size;

	if (bh_capsule_finish(s->writer, sign, NULL, &data, &size, &diag) ||
	    bh_capsule_read(data, size, &handlers, NULL, &diag)) {
		fail_msg("capsule: %s", diag.text);
	}
	import_conns(s);
	import_gone(s);
	bh_capsule_writer_free(s->writer);
	s->writer = NULL;
}

static void ship_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct shipping *s = arg;

	if (!bh_capsule_put_conn(s->writer, conn)) {
		end_part(s);
		begin_part(s);
		assert_true(bh_capsule_put_conn(s->writer, conn));
	}
}

static void ship_changed(const struct hostd_dp_nic_key *key, const struct bh_capsule_conn *conn,
			 void *arg)
{
	ship_conn(conn, arg);
}

static void ship_gone(const struct hostd_dp_nic_key *key, const struct bh_capsule_tuple *tuple,
		      void *arg)
{
	struct shipping *s = arg;

	if (!bh_capsule_put_gone(s->writer, tuple)) {
		end_part(s);
		begin_part(s);
		assert_true(bh_capsule_put_gone(s->writer, tuple));
	}
}

static const struct hostd_dp_move_nics *moving_of(const struct hostd_dp_nic_key *key, void *arg)
{
	struct shipping *s = arg;

	return memcmp(key->vm, s->moving.keys[0].vm, 16) ? NULL : &s->moving;
}

static void ship_journal(struct shipping *s)
{
	struct hostd_dp_journal_handlers handlers = {
		.nics_of = moving_of, .conn = ship_changed, .gone = ship_gone, .arg = s};
	uint64_t lost = 0;
	int n;

	while ((n = hostd_dp_journal_poll(source_of(s->twin)->dp, 7, &handlers, &lost, NULL)) > 0) {
	}
	assert_int_equal(n, 0);
	assert_int_equal(lost, 0);
}

static void ship_done(struct shipping *s)
{
	end_part(s);
	bh_vec_done(&s->conns);
	bh_vec_done(&s->gone);
}

static void ship_all(struct twin *t, bool walked, bool journal)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);
	struct shipping s = {.twin = t, .moving = nics};
	struct bh_capsule_nic nic;

	begin_part(&s);
	assert_int_equal(hostd_dp_nic_export(source_of(t)->dp, &nics.keys[0], &nic, NULL), 0);
	assert_true(bh_capsule_put_nic(s.writer, &nic));
	if (journal) {
		ship_journal(&s);
	}
	if (walked) {
		walk(source_of(t), &nics, ship_conn, &s);
	}
	ship_done(&s);
	assert_int_equal(s.nics, 1);
}

void twin_move_begin(struct twin *t, bool early)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);
	int to = !t->place[TWIN_MOVER];

	t->moving = true;
	t->early = early;
	if (!holds_mover(&t->host[to])) {
		hold(t, to, true, NULL);
	}
	if (early) {
		plug(t, to, TWIN_MOVER);
	}
	assert_int_equal(hostd_dp_journal_set(source_of(t)->dp, &nics, true, NULL), 0);
	ship_all(t, true, false);
	look_anew(t);
}

void twin_move_sync(struct twin *t)
{
	ship_all(t, false, true);
}

static void end_journal(struct twin *t)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);

	assert_int_equal(hostd_dp_journal_set(source_of(t)->dp, &nics, false, NULL), 0);
}

void twin_move_end(struct twin *t, bool again, bool forget)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);
	int from = t->place[TWIN_MOVER], to = !from;

	ship_all(t, again, true);
	end_journal(t);
	if (!t->early) {
		plug(t, to, TWIN_MOVER);
	}
	unplug(t, from, TWIN_MOVER);
	assert_int_equal(hostd_dp_import_undo(t->host[from].dp, &nics, NULL), 0);
	t->place[TWIN_MOVER] = to;
	t->moving = t->early = false;
	if (forget) {
		hold(t, from, false, NULL);
	}
	look_anew(t);
}

void twin_move_cancel(struct twin *t)
{
	struct hostd_dp_move_nics nics = nics_of(TWIN_MOVER);
	int to = !t->place[TWIN_MOVER];

	end_journal(t);
	unplug(t, to, TWIN_MOVER);
	assert_int_equal(hostd_dp_import_undo(t->host[to].dp, &nics, NULL), 0);
	t->moving = t->early = false;
	look_anew(t);
}
