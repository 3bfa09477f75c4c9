/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, a second person's yes, and grants that end by themselves. */
#include "manager/auth/requests.h"
#include "manager/store/store.h"

#include "base/time.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOW  (1790000000 * BH_NS_PER_S)
#define HOUR (3600 * BH_NS_PER_S)
#define VM   "vm/00000000-0000-4000-8000-000000000000"

struct world {
	char dir[32];
	char *path;
	struct manager_db *db;
	struct manager_requests *reqs;
	struct bh_wbuf told; /* "submitted decided ..." */
};

static void on_told(const struct manager_ask *ask, const char *event, void *arg)
{
	bh_wbuf_printf(arg, "%s ", event);
}

static void open_all(struct world *w)
{
	struct bh_diag diag = {};

	assert_int_equal(manager_store_open(w->path, &w->db, &diag), 0);
	assert_int_equal(manager_requests_new(w->db, on_told, &w->told, &w->reqs, &diag), 0);
}

static void close_all(struct world *w)
{
	manager_requests_free(w->reqs);
	manager_db_close(w->db);
}

static int setup(void **state)
{
	struct world *w = bh_alloc(sizeof(*w));

	snprintf(w->dir, sizeof(w->dir), "/tmp/bh-reqs-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	w->path = bh_asprintf("%s/bulkhead.db", w->dir);
	bh_wbuf_init(&w->told, 0);
	open_all(w);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	BH_FREE char *command = bh_asprintf("rm -rf %s", w->dir);

	close_all(w);
	bh_wbuf_done(&w->told);
	free(w->path);
	free(w);
	return system(command) == 0 ? 0 : -1;
}

static int64_t submit(struct world *w, const char *user, const char *object, uint32_t hours)
{
	struct manager_ask ask = {.verb = VERB_VM_RELEASE, .tenant = 2, .hours = hours};
	struct bh_diag diag = {};

	snprintf(ask.user, sizeof(ask.user), "%s", user);
	snprintf(ask.object, sizeof(ask.object), "%s", object);
	snprintf(ask.reason, sizeof(ask.reason), "because");
	if (manager_requests_submit(w->reqs, &ask, NOW, &diag) < 0) {
		return -1;
	}
	return ask.id;
}

static int decide(struct world *w, int64_t id, const char *by, enum manager_ask_state state,
		  uint32_t hours)
{
	struct manager_ask decision = {.state = state, .hours = hours};
	struct bh_diag diag = {};

	snprintf(decision.decided_by, sizeof(decision.decided_by), "%s", by);
	return manager_requests_decide(w->reqs, id, &decision, NOW, &diag);
}

/* What a user who holds nothing else may do by his grants. */
static enum manager_decision may(struct world *w, const char *user, const char *vm, uint32_t tenant,
				 uint64_t now)
{
	struct manager_principal p = {.via = MANAGER_VIA_SESSION, .tenant = 2, .factor_ns = now};
	struct manager_object object = {.kind = OBJECT_VM, .tenant = tenant, .id = vm + 3};
	struct manager_auth_rules rules = {
		.now_ns = now, .fresh_ns = HOUR, .approval = manager_requests_approval(w->reqs)};
	struct manager_judgement j;
	struct manager_holding *h = bh_vec_push(&p.holdings);

	h->tenant = 2; /* he sees the VM */
	h->rights = MANAGER_RIGHT(VERB_VM_READ);
	manager_grants_add(w->reqs, user, now, &p);
	(void)manager_authorize(&p, VERB_VM_RELEASE, &object, &rules, &j);
	manager_principal_done(&p);
	return j.decision;
}

static void test_grant(void **state)
{
	struct world *w = *state;
	int64_t id = submit(w, "vera@shop", VM, 2);

	assert_int_equal(may(w, "vera@shop", VM, 2, NOW), MANAGER_DENY);
	assert_int_equal(decide(w, id, "vera@shop", MANAGER_ASK_APPROVED, 0), -EPERM);
	assert_int_equal(decide(w, id, "adam@shop", MANAGER_ASK_APPROVED, 0), 0);
	assert_int_equal(decide(w, id, "adam@shop", MANAGER_ASK_REFUSED, 0), -EALREADY);
	assert_int_equal(may(w, "vera@shop", VM, 2, NOW), MANAGER_ALLOW);
	assert_int_equal(may(w, "olga@shop", VM, 2, NOW), MANAGER_DENY);
	assert_int_equal(may(w, "vera@shop", "vm/another", 2, NOW), MANAGER_DENY);
	assert_int_not_equal(may(w, "vera@shop", VM, 3, NOW), MANAGER_ALLOW);
	assert_int_equal(manager_grant_of(w->reqs, "vera@shop", VERB_VM_RELEASE, 2, VM, NOW), id);
	/* it is so after a restart, and ends by its time, without a tick too */
	close_all(w);
	open_all(w);
	assert_int_equal(may(w, "vera@shop", VM, 2, NOW + 2 * HOUR - 1), MANAGER_ALLOW);
	assert_int_equal(may(w, "vera@shop", VM, 2, NOW + 2 * HOUR), MANAGER_DENY);
	manager_requests_tick(w->reqs, NOW + 2 * HOUR - 1);
	assert_non_null(manager_requests_find(w->reqs, id));
	manager_requests_tick(w->reqs, NOW + 2 * HOUR);
	assert_null(manager_requests_find(w->reqs, id));
	assert_string_equal(bh_wbuf_cstr(&w->told), "submitted decided over ");
	assert_int_equal(manager_requests_end(w->reqs, id, "adam@shop", NOW, NULL), -EALREADY);
}

/* A right that somebody holds, and for which the settings want a second person. */
static void test_second_person(void **state)
{
	struct world *w = *state;
	struct manager_principal p = {.via = MANAGER_VIA_SESSION, .tenant = 2, .factor_ns = NOW};
	struct manager_object object = {.kind = OBJECT_VM, .tenant = 2, .id = &VM[3]};
	struct manager_auth_rules rules = {.now_ns = NOW, .fresh_ns = HOUR};
	struct manager_judgement j;
	struct manager_holding *h = bh_vec_push(&p.holdings);
	int64_t id;

	h->tenant = 2;
	h->rights = MANAGER_RIGHT(VERB_VM_READ) | MANAGER_RIGHT(VERB_VM_RELEASE);
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &object, &rules, &j),
			 MANAGER_ALLOW);
	assert_int_equal(
		manager_requests_set_approval(w->reqs, MANAGER_RIGHT(VERB_VM_RELEASE), NULL), 0);
	close_all(w);
	open_all(w);
	rules.approval = manager_requests_approval(w->reqs);
	assert_int_equal(rules.approval, MANAGER_RIGHT(VERB_VM_RELEASE));
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &object, &rules, &j),
			 MANAGER_APPROVAL);
	id = submit(w, "vera@shop", "", 1);
	assert_int_equal(decide(w, id, "adam@shop", MANAGER_ASK_APPROVED, 0), 0);
	manager_grants_add(w->reqs, "vera@shop", NOW, &p);
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &object, &rules, &j),
			 MANAGER_ALLOW);
	manager_principal_done(&p);
}

static void test_ends(void **state)
{
	struct world *w = *state;
	int64_t refused = submit(w, "vera@shop", VM, 2);
	int64_t withdrawn = submit(w, "vera@shop", VM, 2);
	int64_t taken = submit(w, "vera@shop", VM, 2);
	int64_t forgotten = submit(w, "vera@shop", VM, 2);

	assert_int_equal(decide(w, refused, "adam@shop", MANAGER_ASK_REFUSED, 0), 0);
	assert_int_equal(manager_requests_end(w->reqs, withdrawn, "vera@shop", NOW, NULL), 0);
	assert_int_equal(decide(w, taken, "adam@shop", MANAGER_ASK_APPROVED, 1), 0);
	assert_int_equal(manager_requests_find(w->reqs, taken)->until_ns, NOW + HOUR);
	assert_int_equal(manager_requests_end(w->reqs, taken, "adam@shop", NOW + 1, NULL), 0);
	assert_int_equal(may(w, "vera@shop", VM, 2, NOW + 2), MANAGER_DENY);
	manager_requests_tick(w->reqs, NOW + MANAGER_ASK_WAITS_NS);
	assert_null(manager_requests_find(w->reqs, forgotten));
	assert_int_equal(decide(w, forgotten, "adam@shop", MANAGER_ASK_APPROVED, 0), -EALREADY);
	assert_non_null(strstr(bh_wbuf_cstr(&w->told), "expired"));
}

static int count(const struct manager_ask *ask, void *arg)
{
	(*(unsigned int *)arg)++;
	return 0;
}

static void test_limits(void **state)
{
	struct world *w = *state;
	unsigned int all = 0;

	for (int i = 0; i < MANAGER_ASK_USER_MAX; i++) {
		assert_true(submit(w, "vera@shop", VM, 1) > 0);
	}
	assert_int_equal(submit(w, "vera@shop", VM, 1), -1);
	assert_true(submit(w, "olga@shop", VM, 1) > 0); /* nobody fills it for others */
	assert_int_equal(manager_requests_each(w->reqs, 0, count, &all, NULL), 0);
	assert_int_equal(all, MANAGER_ASK_USER_MAX + 1);
	for (int i = 0; i < MANAGER_ASK_TENANT_MAX - MANAGER_ASK_USER_MAX - 1; i++) {
		char user[16];

		snprintf(user, sizeof(user), "u%d@shop", i);
		assert_true(submit(w, user, VM, 1) > 0);
	}
	assert_int_equal(submit(w, "last@shop", VM, 1), -1);
	all = 0;
	assert_int_equal(manager_requests_each(w->reqs, 3, count, &all, NULL), 0);
	assert_int_equal(all, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_grant),
		TEST(test_second_person),
		TEST(test_ends),
		TEST(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
