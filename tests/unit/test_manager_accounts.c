/* SPDX-License-Identifier: Apache-2.0 */
/* Users, sessions, second factors, API tokens and lockout, with a clock of our own. */
#include "manager/auth/accounts.h"

#include "base/time.h"
#include "base/util.h"
#include "manager_world.h"

#include <errno.h>
#include <setjmp.h> /* cmocka needs these before it */
#include <stdarg.h>

#include <cmocka.h>

#define R(x) MANAGER_RIGHT(VERB_##x)

struct world {
	struct manager_db *db;
	struct manager_inventory *inv;
	struct manager_rulebook *book;
	struct manager_accounts *a;
	struct manager_tenant *shop, *bank;
	uv_loop_t loop;
	uint64_t now;
};

static const struct manager_agent browser = {.words = "Firefox", .address = "192.0.2.1"};

static int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));
	struct manager_accounts_options options = {};
	struct bh_diag diag = {};

	manager_world_open(":memory:", &w->db, &w->inv, &w->book);
	uv_loop_init(&w->loop);
	options = (struct manager_accounts_options){.loop = &w->loop, .db = w->db, .inv = w->inv};
	if (manager_accounts_new(&options, &w->a, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	w->shop = manager_tenant_get(w->inv, "shop", &diag);
	w->bank = manager_tenant_get(w->inv, "bank", &diag);
	w->now = 1700000000ull * BH_NS_PER_S;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	manager_accounts_free(w->a);
	manager_rulebook_free(w->book);
	manager_inventory_free(w->inv);
	manager_db_close(w->db);
	uv_loop_close(&w->loop);
	free(w);
	return 0;
}

static int64_t add_user(struct world *w, const char *name, const struct manager_tenant *tenant,
			int64_t maker)
{
	struct manager_store_user row = {
		.display = "", .maker = maker, .password = "", .locale = "", .created_ns = w->now};
	char full[MANAGER_USER_MAX + 1];
	struct bh_diag diag = {};
	int64_t id;

	assert_int_equal(manager_user_name(name, tenant, full, &diag), 0);
	row.name = full;
	row.tenant = tenant->number;
	assert_int_equal(manager_store_add_user(w->db, &row, &id, &diag), 0);
	return id;
}

static int64_t give(struct world *w, int64_t user, const char *role, uint32_t tenant,
		    uint64_t until_ns, bool appointed)
{
	struct manager_store_given row = {.user = user,
					  .role = role,
					  .tenant = tenant,
					  .until_ns = until_ns,
					  .appointed = appointed,
					  .by = "test",
					  .since_ns = w->now};
	int64_t id;

	assert_int_equal(manager_store_add_given(w->db, &row, &id, NULL), 0);
	return id;
}

static uint64_t rights(struct world *w, int64_t user, uint32_t tenant)
{
	struct manager_principal p;
	uint64_t set;

	assert_int_equal(manager_user_principal(w->a, user, w->now, &p), 0);
	set = manager_rights_at(&p, tenant, w->now);
	manager_principal_done(&p);
	return set;
}

/* ---- names ---- */

static void names_say_whose_they_are(void **state)
{
	struct world *w = *state;
	const struct manager_tenant *provider = manager_tenant_at(w->inv, MANAGER_PROVIDER);
	static const char *const wrong[] = {"",
					    "Alice",
					    "1a",
					    "a b",
					    "a/b",
					    "a@bank",
					    "a@shop@shop",
					    "a\xff",
					    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	char name[MANAGER_USER_MAX + 1];

	assert_int_equal(manager_user_name("alice", w->shop, name, NULL), 0);
	assert_string_equal(name, "alice@shop");
	assert_int_equal(manager_user_name("alice@shop", w->shop, name, NULL), 0);
	assert_string_equal(name, "alice@shop");
	assert_int_equal(manager_user_name("alice", provider, name, NULL), 0);
	assert_string_equal(name, "alice");
	assert_int_equal(manager_user_name("alice@provider", provider, name, NULL), -EINVAL);
	assert_int_equal(manager_user_name("root", provider, name, NULL), -EINVAL);
	assert_int_equal(manager_user_name("bulkheadd", provider, name, NULL), -EINVAL);
	assert_int_equal(manager_user_name("root", w->shop, name, NULL), 0);
	for (size_t i = 0; i < BH_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(manager_user_name(wrong[i], w->shop, name, NULL), -EINVAL);
	}
}

/* ---- what users hold ---- */

static void sub_users_shrink_with_their_maker(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t admin = add_user(w, "admin", w->shop, 0), sub = add_user(w, "sub", w->shop, admin);
	int64_t subsub = add_user(w, "subsub", w->shop, sub), role;

	role = give(w, admin, "tenant-admin", shop, 0, true);
	give(w, sub, "tenant-admin", shop, 0, false);
	give(w, subsub, "tenant-operator", shop, 0, false);
	assert_true(rights(w, admin, shop) & R(POLICY_COMMIT));
	assert_true(rights(w, sub, shop) == rights(w, admin, shop));
	assert_true(rights(w, subsub, shop) & R(VM_LABELS));
	/* The administrator becomes a viewer, and all below him with him. */
	assert_int_equal(manager_store_drop_given(w->db, admin, role, NULL), 0);
	give(w, admin, "tenant-viewer", shop, 0, true);
	assert_false(rights(w, sub, shop) & R(POLICY_COMMIT));
	assert_true(rights(w, sub, shop) & R(VM_READ));
	assert_false(rights(w, subsub, shop) & R(VM_LABELS));
	assert_true(rights(w, subsub, w->bank->number) == 0);
	/* Whoever is removed leaves his users to his own maker. */
	assert_int_equal(manager_store_drop_user(w->db, sub, NULL), 0);
	assert_false(rights(w, subsub, shop) & R(VM_LABELS));
	assert_true(rights(w, subsub, shop) & R(VM_READ));
}

/* What somebody lost with his maker he does not get back by that one's removal. */
static void nobody_gains_by_a_removal(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t admin = add_user(w, "admin", w->shop, 0), sub = add_user(w, "sub", w->shop, admin);
	struct manager_store_role night = {.tenant = shop,
					   .name = "night",
					   .rights = "vm.release",
					   .words = "",
					   .maker = admin};
	struct bh_diag diag = {};
	int64_t role = give(w, admin, "tenant-admin", shop, 0, true);
	int64_t given = give(w, sub, "tenant-operator", shop, 0, false);

	assert_int_equal(manager_store_add_role(w->db, &night, NULL), 0);
	assert_int_equal(manager_user_may_leave(w->a, admin, w->now, &diag), 0);
	assert_int_equal(manager_store_drop_given(w->db, admin, role, NULL), 0);
	give(w, admin, "tenant-viewer", shop, 0, true);
	assert_int_equal(manager_user_may_leave(w->a, admin, w->now, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "sub@shop"));
	assert_false(rights(w, sub, shop) & R(VM_LABELS)); /* trying it changed nothing */
	assert_int_equal(manager_store_drop_given(w->db, sub, given, NULL), 0);
	assert_int_equal(manager_user_may_leave(w->a, admin, w->now, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "night"));
	assert_int_equal(manager_store_drop_role(w->db, shop, "night", NULL), 0);
	assert_int_equal(manager_user_may_leave(w->a, admin, w->now, &diag), 0);
	give(w, sub, "tenant-viewer", shop, 0, false);
	assert_int_equal(manager_user_may_leave(w->a, admin, w->now, &diag), 0);
	assert_int_equal(manager_user_may_leave(w->a, sub, w->now, &diag), 0);
	assert_int_equal(manager_user_may_leave(w->a, 4711, w->now, &diag), -ENOENT);
}

/* A provider administrator makes a tenant's administrator without holding what that one holds. */
static void who_is_appointed_is_not_cut(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t provider = add_user(w, "root2", manager_tenant_at(w->inv, MANAGER_PROVIDER), 0);
	int64_t appointed = add_user(w, "a", w->shop, provider);
	int64_t given = add_user(w, "b", w->shop, provider);

	give(w, provider, "provider-admin", MANAGER_EACH_TENANT, 0, true);
	give(w, appointed, "tenant-admin", shop, 0, true);
	give(w, given, "tenant-admin", shop, 0, false);
	assert_true(rights(w, appointed, shop) & R(POLICY_COMMIT));
	assert_false(rights(w, given, shop) & R(POLICY_COMMIT));
}

static void custom_roles_are_of_their_maker(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t maker = add_user(w, "maker", w->shop, 0), user = add_user(w, "user", w->shop, 0);
	struct manager_store_role role = {.tenant = shop,
					  .name = "night",
					  .rights = "vm.read vm.release host.remove gone.right",
					  .words = "",
					  .maker = maker};
	int64_t held;

	held = give(w, maker, "tenant-admin", shop, 0, true);
	assert_int_equal(manager_store_add_role(w->db, &role, NULL), 0);
	give(w, user, "night", shop, 0, true);
	give(w, user, "night", w->bank->number, 0, true); /* there it does not exist */
	assert_true(rights(w, user, shop) == (R(VM_READ) | R(VM_RELEASE)));
	assert_true(rights(w, user, w->bank->number) == 0);
	assert_int_equal(manager_store_drop_given(w->db, maker, held, NULL), 0);
	assert_true(rights(w, user, shop) == 0);
}

/* Each of a row of users has many roles that the one before him made: what this comes to is found
 * out without asking for each again. */
static void roles_of_roles_cost_no_more_with_each_hand(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t maker = add_user(w, "first", w->shop, 0), first = maker, held;

	held = give(w, maker, "tenant-admin", shop, 0, true);
	for (unsigned int hand = 0; hand < 12; hand++) {
		char name[16];
		int64_t user;

		snprintf(name, sizeof(name), "hand%u", hand);
		user = add_user(w, name, w->shop, maker);
		for (unsigned int i = 0; i < 40; i++) {
			char role_name[24];
			struct manager_store_role role = {.tenant = shop,
							  .name = role_name,
							  .rights = "vm.read vm.release",
							  .words = "",
							  .maker = maker};

			snprintf(role_name, sizeof(role_name), "r%u-%u", hand, i);
			assert_int_equal(manager_store_add_role(w->db, &role, NULL), 0);
			give(w, user, role_name, shop, w->now + 1000 + hand * 40 + i, false);
		}
		maker = user;
	}
	assert_true(rights(w, maker, shop) == (R(VM_READ) | R(VM_RELEASE)));
	w->now += 1039; /* the last of the first hand's roles is over, and with it all others */
	assert_true(rights(w, maker, shop) == 0);
	w->now -= 1;
	assert_true(rights(w, maker, shop) == (R(VM_READ) | R(VM_RELEASE)));
	assert_int_equal(manager_store_drop_given(w->db, first, held, NULL), 0);
	assert_true(rights(w, maker, shop) == 0);
}

/* Two who made each other's roles hold what they hold without them. */
static void roles_in_a_ring_give_nothing(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t a = add_user(w, "a", w->shop, 0), b = add_user(w, "b", w->shop, a);
	struct manager_store_role of_a = {.tenant = shop,
					  .name = "of-a",
					  .rights = "vm.read vm.release",
					  .words = "",
					  .maker = a};
	struct manager_store_role of_b = {.tenant = shop,
					  .name = "of-b",
					  .rights = "vm.read vm.release",
					  .words = "",
					  .maker = b};

	assert_int_equal(manager_store_add_role(w->db, &of_a, NULL), 0);
	assert_int_equal(manager_store_add_role(w->db, &of_b, NULL), 0);
	give(w, a, "of-b", shop, 0, true);
	give(w, b, "of-a", shop, 0, true);
	assert_true(rights(w, a, shop) == 0);
	assert_true(rights(w, b, shop) == 0);
	give(w, a, "tenant-viewer", shop, 0, true);
	assert_true(rights(w, b, shop) == R(VM_READ));
}

static void time_ends_a_role_and_disabling_ends_all(void **state)
{
	struct world *w = *state;
	int64_t user = add_user(w, "user", w->shop, 0);
	struct manager_principal p;
	struct manager_user u;

	give(w, user, "tenant-admin", w->shop->number, w->now + 10, true);
	assert_true(rights(w, user, w->shop->number) != 0);
	w->now += 10;
	assert_true(rights(w, user, w->shop->number) == 0);
	assert_int_equal(manager_user_get(w->a, NULL, user, &u), 0);
	u.disabled = true;
	assert_int_equal(manager_user_put(w->a, &u, NULL), 0);
	assert_int_equal(manager_user_principal(w->a, user, w->now, &p), -EACCES);
	assert_int_equal(manager_user_principal(w->a, 4711, w->now, &p), -ENOENT);
}

/* ---- sessions ---- */

static uint64_t to_ask_for(struct world *w, int64_t user, uint32_t tenant)
{
	struct manager_principal p;
	uint64_t set;

	assert_int_equal(manager_user_principal(w->a, user, w->now, &p), 0);
	set = manager_rights_by_request(&p, tenant, w->now);
	manager_principal_done(&p);
	return set;
}

/* From the next request on, for whoever is not of the provider, and after a restart too. */
static void self_service_is_switched_off(void **state)
{
	struct world *w = *state;
	int64_t admin = add_user(w, "admin", w->shop, 0);
	int64_t guest = add_user(w, "guest", w->bank, 0);
	int64_t sub = add_user(w, "sub", w->shop, admin);
	int64_t alice = add_user(w, "alice", manager_tenant_find(w->inv, "provider"), 0);
	uint32_t shop = w->shop->number, bank = w->bank->number;
	uint64_t before;

	give(w, admin, "tenant-admin", shop, 0, true);
	give(w, guest, "tenant-operator", shop, 0, true);
	give(w, guest, "tenant-operator", bank, 0, true);
	give(w, sub, "tenant-operator", shop, 0, false);
	give(w, alice, "provider-admin", MANAGER_EACH_TENANT, 0, true);
	before = rights(w, admin, shop);
	assert_int_equal(to_ask_for(w, admin, shop), 0);
	assert_int_equal(manager_self_service_set(w->a, shop, false, NULL), 0);
	for (int restarted = 0; restarted < 2; restarted++) {
		struct manager_accounts_options options = {
			.loop = &w->loop, .db = w->db, .inv = w->inv};

		assert_false(manager_self_service(w->a, shop));
		assert_true(manager_self_service(w->a, bank));
		assert_int_equal(rights(w, admin, shop) & R(VM_QUARANTINE), 0);
		assert_true(to_ask_for(w, admin, shop) & R(VM_QUARANTINE));
		assert_true(rights(w, admin, shop) & R(REQUEST_DECIDE));
		assert_int_equal(rights(w, admin, shop) | to_ask_for(w, admin, shop), before);
		assert_int_equal(rights(w, guest, shop) & R(VM_LABELS), 0);
		assert_true(rights(w, guest, shop) & R(VM_READ));
		assert_true(rights(w, guest, bank) & R(VM_LABELS));
		assert_int_equal(to_ask_for(w, guest, bank), 0);
		/* Not lost because its maker may only ask. */
		assert_int_equal(rights(w, sub, shop) & R(VM_LABELS), 0);
		assert_true(to_ask_for(w, sub, shop) & R(VM_LABELS));
		assert_true(rights(w, alice, shop) & R(VM_QUARANTINE));
		manager_accounts_free(w->a);
		assert_int_equal(manager_accounts_new(&options, &w->a, NULL), 0);
	}
	assert_int_equal(manager_self_service_set(w->a, shop, true, NULL), 0);
	assert_int_equal(rights(w, admin, shop), before);
	assert_int_equal(to_ask_for(w, admin, shop), 0);
}

static void begin(struct world *w, int64_t user, bool open, char secret[MANAGER_SECRET_TEXT_SIZE])
{
	struct manager_session s = {.user = user,
				    .open = open,
				    .created_ns = w->now,
				    .used_ns = w->now,
				    .proved_ns = w->now};
	struct bh_diag diag = {};

	if (manager_session_begin(w->a, &s, &browser, secret, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
}

static int find(struct world *w, const char *secret, struct manager_session *ret)
{
	return manager_session_find(w->a, secret, false, &browser, w->now, ret);
}

static void what_was_fixed_before_is_worth_nothing(void **state)
{
	struct world *w = *state;
	char first[MANAGER_SECRET_TEXT_SIZE], second[MANAGER_SECRET_TEXT_SIZE];
	int64_t user = add_user(w, "user", w->shop, 0);
	struct manager_session s;

	begin(w, user, false, first);
	assert_int_equal(find(w, first, &s), 0);
	assert_false(s.open);
	snprintf(s.factor, sizeof(s.factor), "totp"); /* as the login does */
	assert_int_equal(manager_session_prove(w->a, &s, s.factor, w->now, second, NULL), 0);
	assert_string_equal(s.factor, "totp");
	assert_string_not_equal(first, second);
	assert_int_equal(find(w, first, &s), -ENOENT);
	assert_int_equal(find(w, second, &s), 0);
	assert_true(s.open && s.factor_ns == w->now);
	assert_int_equal(find(w, "", &s), -ENOENT);
	assert_int_equal(find(w, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &s), -ENOENT);
	/* Nor is a cookie good as a bearer's. */
	assert_int_equal(manager_session_find(w->a, second, true, &browser, w->now, &s), -ENOENT);
}

static void another_agent_ends_it(void **state)
{
	struct world *w = *state;
	const struct manager_agent thief = {.words = "curl", .address = "192.0.2.1"};
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s;

	begin(w, add_user(w, "user", w->shop, 0), true, secret);
	assert_int_equal(find(w, secret, &s), 0);
	assert_int_equal(manager_session_find(w->a, secret, false, &thief, w->now, &s), -EACCES);
	assert_int_equal(find(w, secret, &s), -ENOENT);
}

static void another_address_ends_it_where_settings_say_so(void **state)
{
	struct world *w = *state;
	const struct manager_agent moved = {.words = "Firefox", .address = "192.0.2.2"};
	struct manager_account_settings settings = *manager_accounts_settings(w->a);
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s;

	begin(w, add_user(w, "user", w->shop, 0), true, secret);
	assert_int_equal(manager_session_find(w->a, secret, false, &moved, w->now, &s), 0);
	settings.bind_address = true;
	assert_int_equal(manager_accounts_set_settings(w->a, &settings, NULL), 0);
	assert_int_equal(manager_session_find(w->a, secret, false, &moved, w->now, &s), -EACCES);
}

static void idle_and_absolute(void **state)
{
	struct world *w = *state;
	const uint64_t minute = 60 * BH_NS_PER_S;
	int64_t user = add_user(w, "user", w->shop, 0);
	char secret[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s;
	uint64_t begun;

	begin(w, user, true, secret);
	w->now += 30 * minute;
	assert_int_equal(find(w, secret, &s), 0); /* used: the half hour begins anew */
	w->now += 30 * minute + 1;
	assert_int_equal(find(w, secret, &s), -ENOENT);
	begin(w, user, true, secret);
	begun = w->now;
	while (w->now + 20 * minute <= begun + 12 * 60 * minute) {
		w->now += 20 * minute;
		assert_int_equal(find(w, secret, &s), 0);
	}
	w->now = begun + 12 * 60 * minute + 1;
	assert_int_equal(find(w, secret, &s), -ENOENT);
	manager_accounts_tick(w->a, w->now);
	assert_int_equal(manager_db_number(w->db, -1, "SELECT count(*) FROM sessions", ""), 0);
}

static void a_user_has_so_many(void **state)
{
	struct world *w = *state;
	int64_t user = add_user(w, "user", w->shop, 0);
	char first[MANAGER_SECRET_TEXT_SIZE], other[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s;

	begin(w, user, true, first);
	for (unsigned int i = 1; i < MANAGER_SESSIONS_MAX; i++) {
		begin(w, user, true, other);
	}
	assert_int_equal(find(w, first, &s), 0);
	begin(w, user, true, other);
	assert_int_equal(find(w, first, &s), -ENOENT);
	assert_int_equal(find(w, other, &s), 0);
	assert_int_equal(manager_store_drop_sessions(w->db, user, s.id, NULL), 0);
	assert_int_equal(manager_db_number(w->db, -1, "SELECT count(*) FROM sessions", ""), 1);
}

/* Who knows the password only does not end what its owner has open. */
static void half_open_ones_push_out_nobody(void **state)
{
	struct world *w = *state;
	int64_t user = add_user(w, "user", w->shop, 0);
	char open[MANAGER_SECRET_TEXT_SIZE], half[MANAGER_SECRET_TEXT_SIZE];
	struct manager_session s;

	begin(w, user, true, open);
	for (unsigned int i = 0; i < 2 * MANAGER_SESSIONS_MAX; i++) {
		begin(w, user, false, half);
	}
	assert_int_equal(find(w, open, &s), 0);
	assert_int_equal(find(w, half, &s), 0);
	assert_int_equal(manager_db_number(w->db, -1, "SELECT count(*) FROM sessions", ""),
			 MANAGER_SESSIONS_MAX + 1);
	for (unsigned int i = 1; i < MANAGER_SESSIONS_MAX; i++) {
		begin(w, user, true, open);
	}
	/* A proof opens one more: the oldest open one goes. */
	assert_int_equal(manager_session_prove(w->a, &s, "totp", w->now, half, NULL), 0);
	assert_int_equal(
		manager_db_number(w->db, -1, "SELECT count(*) FROM sessions WHERE open = 1", ""),
		MANAGER_SESSIONS_MAX);
}

/* ---- second factors ---- */

static void text_of(uint32_t code, char text[8])
{
	snprintf(text, 8, "%06u", (unsigned int)code);
}

static size_t read_base32(const char *s, uint8_t *to)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned int bits = 0, count = 0;
	size_t size = 0;

	for (; *s; s++) {
		const char *at = strchr(alphabet, *s);

		assert_non_null(at);
		bits = bits << 5 | (unsigned int)(at - alphabet);
		count += 5;
		if (count >= 8) {
			count -= 8;
			to[size++] = (uint8_t)(bits >> count);
		}
	}
	return size;
}

/* RFC 6238, appendix B, the rows of SHA-1. */
static void rfc_6238(void **state)
{
	static const uint8_t secret[] = "12345678901234567890";
	static const struct {
		uint64_t time;
		uint32_t code;
	} rows[] = {{59, 94287082},	    {1111111109, 7081804},  {1111111111, 14050471},
		    {1234567890, 89005924}, {2000000000, 69279037}, {20000000000, 65353130}};
	uint64_t step;

	for (size_t i = 0; i < BH_ARRAY_SIZE(rows); i++) {
		assert_int_equal(manager_totp_code(secret, 20, rows[i].time / 30, 8), rows[i].code);
	}
	assert_true(manager_totp_check(secret, "287082", 59, 0, &step) && step == 1);
	assert_true(manager_totp_check(secret, "287 082", 59 + 30, 0, &step));
	assert_false(manager_totp_check(secret, "287082", 59 + 60, 0, &step));
	assert_false(manager_totp_check(secret, "287082", 59, 1, &step));
	assert_false(manager_totp_check(secret, "28708", 59, 0, &step));
	assert_false(manager_totp_check(secret, "2870821", 59, 0, &step));
	assert_false(manager_totp_check(secret, "28708x", 59, 0, &step));
	assert_false(manager_totp_check(secret, "", 59, 0, &step));
}

static void an_authenticator_from_first_to_last(void **state)
{
	struct world *w = *state;
	char codes[MANAGER_RECOVERY_COUNT][MANAGER_RECOVERY_SIZE], base32[MANAGER_TOTP_BASE32_SIZE];
	int64_t user = add_user(w, "user", w->shop, 0);
	uint8_t secret[32];
	struct manager_user u;
	char text[8], loud[MANAGER_RECOVERY_SIZE];

	assert_int_equal(manager_user_get(w->a, NULL, user, &u), 0);
	assert_int_equal(manager_factor_confirm(w->a, &u, "123456", w->now, codes), -EACCES);
	assert_int_equal(manager_factor_begin(w->a, &u, base32, NULL), 0);
	assert_int_equal(read_base32(base32, secret), MANAGER_TOTP_SECRET_SIZE);
	assert_int_equal(manager_user_get(w->a, NULL, user, &u), 0);
	assert_false(manager_factor_has(&u)); /* not before it works */
	assert_null(memmem(u.totp, u.totp_size, secret, 20));
	text_of(manager_totp_code(secret, 20, w->now / BH_NS_PER_S / 30, 6), text);
	assert_int_equal(manager_factor_check(w->a, &u, "totp", text, w->now), -EACCES);
	assert_int_equal(manager_factor_confirm(w->a, &u, text, w->now, codes), 0);
	assert_true(manager_factor_has(&u));
	/* A code is good once. */
	assert_int_equal(manager_factor_check(w->a, &u, "totp", text, w->now), -EACCES);
	w->now += 30 * BH_NS_PER_S;
	text_of(manager_totp_code(secret, 20, w->now / BH_NS_PER_S / 30, 6), text);
	assert_int_equal(manager_user_get(w->a, NULL, user, &u), 0);
	assert_int_equal(manager_factor_check(w->a, &u, "totp", text, w->now), 0);
	assert_int_equal(manager_factor_check(w->a, &u, "totp", text, w->now), -EACCES);
	/* So is each of the codes for when it is lost. */
	assert_int_equal(manager_store_recovery_left(w->db, user), MANAGER_RECOVERY_COUNT);
	memcpy(loud, codes[3], sizeof(loud));
	for (char *p = loud; *p; p++) {
		*p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
	}
	assert_int_equal(manager_factor_check(w->a, &u, "recovery", loud, w->now), 0);
	assert_int_equal(manager_factor_check(w->a, &u, "recovery", codes[3], w->now), -EACCES);
	assert_int_equal(manager_factor_check(w->a, &u, "recovery", "", w->now), -EACCES);
	assert_int_equal(manager_factor_check(w->a, &u, "password", codes[4], w->now), -EACCES);
	assert_int_equal(manager_store_recovery_left(w->db, user), MANAGER_RECOVERY_COUNT - 1);
	assert_int_equal(manager_factor_remove(w->a, &u, NULL), 0);
	assert_int_equal(manager_factor_check(w->a, &u, "recovery", codes[4], w->now), -EACCES);
	assert_false(manager_factor_has(&u));
}

/* ---- tokens ---- */

static void tokens_have_their_scope(void **state)
{
	struct world *w = *state;
	uint32_t shop = w->shop->number;
	int64_t user = add_user(w, "user", w->shop, 0), id;
	char secret[MANAGER_SECRET_TEXT_SIZE], text[MANAGER_TOKEN_TEXT_SIZE];
	uint8_t hash[MANAGER_SECRET_HASH_SIZE];
	struct manager_store_api_token row = {.user = user,
					      .name = "ci",
					      .rights = "vm.read policy.commit event.export",
					      .hash = hash,
					      .tenant = shop,
					      .created_ns = w->now,
					      .expires_ns = w->now + 100 * BH_NS_PER_S};
	static const char *const wrong[] = {"bhk_",	  "bhk_1",
					    "bhk__x",	  "bhk_99_abc",
					    "bhk_-1_abc", "bhk_99999999999999999999999_abc",
					    "",		  "bhk_1_"};
	struct manager_principal p;

	give(w, user, "tenant-admin", shop, 0, true);
	give(w, user, "tenant-admin", w->bank->number, 0, true);
	manager_secret_make(secret, hash);
	assert_int_equal(manager_store_add_api_token(w->db, &row, &id, NULL), 0);
	manager_api_token_text(id, secret, text);
	assert_int_equal(manager_api_token_principal(w->a, text, w->now, &p), 0);
	/* Not more than was asked for, not elsewhere, nothing dangerous. */
	assert_true(manager_rights_at(&p, shop, w->now) == (R(VM_READ) | R(POLICY_COMMIT)));
	assert_true(manager_rights_at(&p, w->bank->number, w->now) == 0);
	manager_principal_done(&p);
	for (size_t i = 0; i < BH_ARRAY_SIZE(wrong); i++) {
		assert_int_equal(manager_api_token_principal(w->a, wrong[i], w->now, &p), -ENOENT);
	}
	text[strlen(text) - 1] ^= 1;
	assert_int_equal(manager_api_token_principal(w->a, text, w->now, &p), -ENOENT);
	text[strlen(text) - 1] ^= 1;
	w->now += 100 * BH_NS_PER_S;
	assert_int_equal(manager_api_token_principal(w->a, text, w->now, &p), -ENOENT);
	w->now -= 100 * BH_NS_PER_S;
	assert_int_equal(manager_store_drop_api_token(w->db, id, user, NULL), 0);
	assert_int_equal(manager_api_token_principal(w->a, text, w->now, &p), -ENOENT);
}

/* ---- passwords ---- */

struct answer {
	bool called, good;
	char hash[PASSWORD_HASH_MAX];
};

static void on_password(bool good, const char *hash, void *arg)
{
	struct answer *a = arg;

	a->called = true;
	a->good = good;
	snprintf(a->hash, sizeof(a->hash), "%s", hash ? hash : "");
}

static struct answer work(struct world *w, const char *password, const char *against, bool verify)
{
	struct answer answer = {};
	struct manager_password_job job = {.password = password,
					   .against = against,
					   .verify = verify,
					   .fn = on_password,
					   .arg = &answer};

	assert_int_not_equal(manager_passwords_start(manager_accounts_passwords(w->a), &job), 0);
	while (!answer.called) {
		uv_run(&w->loop, UV_RUN_ONCE);
	}
	return answer;
}

static void passwords(void **state)
{
	struct world *w = *state;
	static const char *const bad[] = {"",
					  "short",
					  "aaaaaaaaaaaaaaaaaa",
					  "alice is my name",
					  "ababababababab",
					  "Password12345!",
					  "123!!LETMEIN#2026",
					  "00--qwerty--00",
					  "1Michael1-1-2345"};
	static const char *const good[] = {"password of alice's cat", "my letmein words",
					   "12345 and more 678"};
	struct answer hashed = work(w, "correct horse battery", NULL, false);
	char made[PASSWORD_MADE_SIZE];

	assert_true(hashed.good && strncmp(hashed.hash, "$argon2id$", 10) == 0);
	assert_true(work(w, "correct horse battery", hashed.hash, true).good);
	assert_false(work(w, "correct horse batterz", hashed.hash, true).good);
	assert_false(work(w, "correct horse battery", "", true).good);
	assert_false(work(w, "", NULL, true).good);
	for (size_t i = 0; i < BH_ARRAY_SIZE(bad); i++) {
		assert_int_equal(manager_password_check(bad[i], "alice@shop", NULL), -EINVAL);
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(good); i++) {
		assert_int_equal(manager_password_check(good[i], "bob@shop", NULL), 0);
	}
	manager_password_make(made);
	assert_int_equal(manager_password_check(made, "alice@shop", NULL), 0);
	assert_int_equal(strlen(made), PASSWORD_MADE_SIZE - 1);
}

/* The queue has an end, and who is gone is not called. */
static void passwords_are_bounded(void **state)
{
	struct world *w = *state;
	struct manager_passwords *p = manager_accounts_passwords(w->a);
	struct answer answers[PASSWORDS_WAITING] = {}, late = {};
	uint64_t ids[PASSWORDS_WAITING];
	struct manager_password_job job = {
		.password = "x", .verify = true, .fn = on_password, .arg = &late};

	for (size_t i = 0; i < PASSWORDS_WAITING; i++) {
		job.arg = &answers[i];
		ids[i] = manager_passwords_start(p, &job);
		assert_int_not_equal(ids[i], 0);
	}
	job.arg = &late;
	assert_int_equal(manager_passwords_start(p, &job), 0);
	for (size_t i = 1; i < PASSWORDS_WAITING; i++) {
		manager_passwords_cancel(p, ids[i]);
	}
	while (!answers[0].called) {
		uv_run(&w->loop, UV_RUN_ONCE);
	}
	manager_accounts_free(w->a); /* does not wait for those that have not begun */
	w->a = NULL;
	for (size_t i = 1; i < PASSWORDS_WAITING; i++) {
		assert_false(answers[i].called);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(names_say_whose_they_are),
		T(sub_users_shrink_with_their_maker),
		T(nobody_gains_by_a_removal),
		T(who_is_appointed_is_not_cut),
		T(custom_roles_are_of_their_maker),
		T(roles_of_roles_cost_no_more_with_each_hand),
		T(roles_in_a_ring_give_nothing),
		T(time_ends_a_role_and_disabling_ends_all),
		T(self_service_is_switched_off),
		T(what_was_fixed_before_is_worth_nothing),
		T(another_agent_ends_it),
		T(another_address_ends_it_where_settings_say_so),
		T(idle_and_absolute),
		T(a_user_has_so_many),
		T(half_open_ones_push_out_nobody),
		T(an_authenticator_from_first_to_last),
		T(tokens_have_their_scope),
		T(passwords),
		T(passwords_are_bounded),
		cmocka_unit_test(rfc_6238),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
