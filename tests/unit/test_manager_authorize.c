/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what, as a table and as properties over random users. */
#include "manager/auth/authorize.h"

#include "base/file.h"
#include "base/time.h"
#include "base/util.h"

#include <setjmp.h> /* cmocka needs these before it */
#include <stdarg.h>

#include <cmocka.h>

#define NOW   (1000ull * BH_NS_PER_S)
#define FRESH (300ull * BH_NS_PER_S)
#define R(x)  MANAGER_RIGHT(VERB_##x)
#define SHOP  7u
#define BANK  8u

static const struct manager_auth_rules rules = {.now_ns = NOW, .fresh_ns = FRESH};

static struct manager_principal person(const char *role, uint32_t tenant)
{
	const struct manager_role *r = manager_role_find(role);
	struct manager_principal p = {
		.via = MANAGER_VIA_SESSION, .user = 1, .factor_ns = NOW, .tenant = tenant};

	assert_non_null(r);
	manager_holdings_add_role(&p, r->provider, r->tenant, tenant, 0);
	return p;
}

static enum manager_decision ask(const struct manager_principal *p, enum manager_verb verb,
				 enum manager_object_kind kind, uint32_t tenant)
{
	struct manager_object object = {.kind = kind, .tenant = tenant, .id = "x"};
	struct manager_judgement j;
	enum manager_decision d = manager_authorize(p, verb, &object, &rules, &j);

	assert_int_equal(d, j.decision);
	assert_true(d == MANAGER_ALLOW || (*j.rule && *j.way));
	return d;
}

/* ---- the table ---- */

/* "| `vm.read` | yes | ... | words |" as docs/accounts.md has it. */
static void row_of(enum manager_verb v, struct bh_wbuf *w)
{
	unsigned int flags = manager_right_flags(v);

	bh_wbuf_printf(w, "| `%s`%s |", manager_right_name(v),
		       (flags & MANAGER_RIGHT_DANGEROUS) == (unsigned int)MANAGER_RIGHT_DANGEROUS
			       ? " !"
			       : "");
	for (size_t i = 0; i < manager_role_count; i++) {
		bool at_provider = manager_roles[i].provider & MANAGER_RIGHT(v);
		bool at_tenant = manager_roles[i].tenant & MANAGER_RIGHT(v);

		bh_wbuf_printf(w, " %s |",
			       at_provider && at_tenant ? "P T"
			       : at_provider		? "P"
			       : at_tenant		? "T"
							: "");
	}
	bh_wbuf_printf(w, " %s |", manager_right_words(v));
}

static void the_manual_has_the_table(void **state)
{
	BH_FREE char *text = NULL;
	size_t size;
	struct bh_diag diag = {};

	if (bh_file_read(DOCS_DIR "/accounts.md", 1 << 20, &text, &size, &diag) < 0) {
		fail_msg("%s", diag.text);
	}
	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		struct bh_wbuf w;

		bh_wbuf_init(&w, 0);
		row_of((enum manager_verb)v, &w);
		if (!strstr(text, bh_wbuf_cstr(&w))) {
			fail_msg("docs/accounts.md lacks the row\n%s", bh_wbuf_cstr(&w));
		}
		bh_wbuf_done(&w);
	}
}

static void rights_are_text(void **state)
{
	struct bh_diag diag = {};
	struct bh_wbuf w;
	uint64_t set;

	bh_wbuf_init(&w, 0);
	manager_rights_format(R(VM_READ) | R(POLICY_COMMIT), &w);
	assert_string_equal(bh_wbuf_cstr(&w), "vm.read policy.commit");
	assert_int_equal(manager_rights_parse(bh_wbuf_cstr(&w), false, &set, &diag), 0);
	assert_true(set == (R(VM_READ) | R(POLICY_COMMIT)));
	assert_int_not_equal(manager_rights_parse("vm.read, vm.fly", false, &set, &diag), 0);
	assert_non_null(strstr(diag.text, "vm.fly"));
	assert_int_equal(manager_rights_parse(" vm.fly,vm.read", true, &set, &diag), 0);
	assert_true(set == R(VM_READ));
	assert_int_equal(manager_rights_parse("", false, &set, &diag), 0);
	assert_true(set == 0);
	bh_wbuf_done(&w);
}

/* ---- what the issue says of roles ---- */

static void a_provider_admin_is_not_inside_tenants(void **state)
{
	static const enum manager_verb never[] = {
		VERB_POLICY_READ, VERB_POLICY_WRITE, VERB_POLICY_COMMIT, VERB_POLICY_ROLLBACK,
		VERB_FLOW_READ,	  VERB_VM_LABELS,    VERB_AUDIT_READ,	 VERB_USER_WRITE};
	struct manager_principal p = person("provider-admin", MANAGER_EACH_TENANT);

	for (size_t i = 0; i < BH_ARRAY_SIZE(never); i++) {
		assert_int_not_equal(ask(&p, never[i], OBJECT_VM, SHOP), MANAGER_ALLOW);
	}
	assert_int_equal(ask(&p, VERB_POLICY_READ, OBJECT_POLICY, SHOP), MANAGER_HIDDEN);
	assert_int_equal(ask(&p, VERB_HOST_WRITE, OBJECT_HOST, MANAGER_PROVIDER), MANAGER_ALLOW);
	assert_int_equal(ask(&p, VERB_VM_READ, OBJECT_VM, SHOP), MANAGER_ALLOW);
	manager_principal_done(&p);
}

static void an_auditor_changes_nothing(void **state)
{
	struct manager_principal p = person("auditor", MANAGER_EACH_TENANT);

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		uint64_t held = manager_rights_anywhere(&p, NOW);
		bool exports = v == VERB_EVENT_EXPORT || v == VERB_AUDIT_EXPORT;

		if (held & MANAGER_RIGHT(v)) {
			assert_true(exports || (manager_right_flags((enum manager_verb)v) &
						MANAGER_RIGHT_READS));
		}
	}
	manager_principal_done(&p);
}

static void a_tenant_has_no_way_out(void **state)
{
	static const char *const roles[] = {"tenant-admin", "tenant-operator", "tenant-viewer",
					    "requester",    "provider-admin",  "security-officer",
					    "auditor"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(roles); i++) {
		struct manager_principal p = person(roles[i], SHOP);

		for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
			for (unsigned int k = OBJECT_SYSTEM; k <= OBJECT_POLICY; k++) {
				enum manager_object_kind kind = (enum manager_object_kind)k;

				assert_int_not_equal(ask(&p, (enum manager_verb)v, kind, BANK),
						     MANAGER_ALLOW);
				assert_int_not_equal(
					ask(&p, (enum manager_verb)v, kind, MANAGER_PROVIDER),
					MANAGER_ALLOW);
				assert_int_not_equal(
					ask(&p, (enum manager_verb)v, kind, MANAGER_NO_TENANT),
					MANAGER_ALLOW);
			}
			assert_int_equal(ask(&p, (enum manager_verb)v, OBJECT_VM, BANK),
					 MANAGER_HIDDEN);
		}
		manager_principal_done(&p);
	}
}

static void nobody_and_root(void **state)
{
	struct manager_principal nobody = {}, root = {.via = MANAGER_VIA_ROOT};

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		for (unsigned int k = OBJECT_SELF; k <= OBJECT_BODY; k++) {
			enum manager_object_kind kind = (enum manager_object_kind)k;

			assert_int_not_equal(ask(&nobody, (enum manager_verb)v, kind, SHOP),
					     MANAGER_ALLOW);
			assert_int_equal(ask(&root, (enum manager_verb)v, kind, SHOP),
					 MANAGER_ALLOW);
		}
	}
	assert_int_equal(ask(&nobody, VERB_NONE, OBJECT_PUBLIC, 0), MANAGER_ALLOW);
	assert_int_equal(ask(&nobody, VERB_NONE, OBJECT_SELF, 0), MANAGER_DENY);
}

static void rights_end_by_themselves(void **state)
{
	struct manager_principal p = {.via = MANAGER_VIA_SESSION, .factor_ns = NOW};

	manager_holdings_add_role(&p, 0, R(VM_READ) | R(VM_RELEASE), SHOP, NOW + 1);
	assert_int_equal(ask(&p, VERB_VM_RELEASE, OBJECT_VM, SHOP), MANAGER_ALLOW);
	p.holdings.items[0].until_ns = NOW;
	assert_int_equal(ask(&p, VERB_VM_RELEASE, OBJECT_VM, SHOP), MANAGER_HIDDEN);
	manager_principal_done(&p);
}

static void a_second_person(void **state)
{
	struct manager_principal p = person("tenant-admin", SHOP);
	struct manager_auth_rules strict = rules;
	struct manager_object vm = {.kind = OBJECT_VM, .tenant = SHOP, .id = "abc"};
	struct manager_holding *h;
	struct manager_judgement j;

	strict.approval = R(VM_RELEASE);
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &vm, &strict, &j),
			 MANAGER_APPROVAL);
	assert_int_equal(manager_authorize(&p, VERB_VM_LABELS, &vm, &strict, &j), MANAGER_ALLOW);
	h = bh_vec_push(&p.holdings);
	*h = (struct manager_holding){.tenant = SHOP,
				      .rights = R(VM_RELEASE),
				      .until_ns = NOW + 1,
				      .approved = true,
				      .object = "vm/abc"};
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &vm, &strict, &j), MANAGER_ALLOW);
	vm.id = "abcd"; /* for that one only */
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &vm, &strict, &j),
			 MANAGER_APPROVAL);
	vm.id = "abc";
	vm.kind = OBJECT_POLICY;
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &vm, &strict, &j),
			 MANAGER_APPROVAL);
	manager_principal_done(&p);
}

/* ---- properties ---- */

static uint32_t seed;
static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % below;
}

static uint64_t draw_rights(void)
{
	uint64_t set = 0;

	for (unsigned int v = VERB_NONE + 1; v < VERB_COUNT; v++) {
		set |= draw(3) ? 0 : MANAGER_RIGHT(v);
	}
	return set;
}

static struct manager_principal random_person(void)
{
	static const uint32_t tenants[] = {MANAGER_EACH_TENANT, MANAGER_PROVIDER, SHOP, BANK, 9};
	struct manager_principal p = {.via = MANAGER_VIA_SESSION, .user = 2};
	uint32_t count = draw(5);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t until = draw(3) ? 0 : NOW - 2 + draw(5);

		manager_holdings_add_role(&p, draw_rights(), draw_rights(),
					  tenants[draw(BH_ARRAY_SIZE(tenants))], until);
	}
	return p;
}

static struct manager_principal copy_of(const struct manager_principal *p)
{
	struct manager_principal c = *p;

	memset(&c.holdings, 0, sizeof(c.holdings));
	bh_vec_foreach (h, &p->holdings) {
		*bh_vec_push(&c.holdings) = *h;
	}
	return c;
}

/* Whatever chain of makers and tokens: nobody below has what somebody above has not. */
static void delegation_only_shrinks(void **state)
{
	static const uint32_t tenants[] = {
		MANAGER_EACH_TENANT, MANAGER_PROVIDER, SHOP, BANK, 9, 10};

	for (uint32_t n = 1; n < 6000; n++) {
		seed = n * 2654435761u;
		struct manager_principal maker = random_person(), user = random_person();
		struct manager_principal before = copy_of(&user);

		manager_holdings_limit(&user, &maker, NOW);
		if (draw(2)) {
			manager_holdings_narrow(&user, draw_rights(), tenants[draw(6)]);
		}
		for (size_t i = 0; i < BH_ARRAY_SIZE(tenants); i++) {
			for (uint64_t at = NOW; at < NOW + 4; at++) {
				uint64_t has = manager_rights_at(&user, tenants[i], at);

				assert_true((has & ~manager_rights_at(&maker, tenants[i], at)) ==
					    0);
				assert_true((has & ~manager_rights_at(&before, tenants[i], at)) ==
					    0);
			}
		}
		manager_principal_done(&maker);
		manager_principal_done(&user);
		manager_principal_done(&before);
	}
}

/* A maker who holds all that the user has takes nothing away. */
static void a_limit_takes_only_what_is_missing(void **state)
{
	for (uint32_t n = 1; n < 6000; n++) {
		seed = n * 2654435761u;
		struct manager_principal user = random_person(), before = copy_of(&user);

		manager_holdings_limit(&user, &before, NOW);
		for (uint32_t tenant = 0; tenant < 11; tenant++) {
			assert_true(manager_rights_at(&user, tenant, NOW) ==
				    manager_rights_at(&before, tenant, NOW));
		}
		manager_principal_done(&user);
		manager_principal_done(&before);
	}
}

static void nothing_dangerous_without_a_fresh_factor(void **state)
{
	uint64_t dangerous = manager_rights_with(MANAGER_RIGHT_DANGEROUS);
	uint64_t factor = manager_rights_with(MANAGER_RIGHT_FACTOR);

	assert_true(dangerous != 0 && (dangerous & ~factor) == 0);
	for (uint32_t n = 1; n < 6000; n++) {
		seed = n * 2654435761u;
		struct manager_principal p = random_person();
		enum manager_verb v = (enum manager_verb)(1 + draw(VERB_COUNT - 1));
		enum manager_object_kind kind = (enum manager_object_kind)(
			OBJECT_SELF + draw(OBJECT_POLICY - OBJECT_SELF + 1));
		uint32_t tenant = 1 + draw(10);

		p.via = draw(2) ? MANAGER_VIA_SESSION : MANAGER_VIA_TOKEN;
		p.factor_ns = 0;
		if (factor & MANAGER_RIGHT(v)) {
			assert_int_not_equal(ask(&p, v, kind, tenant), MANAGER_ALLOW);
		}
		p.factor_ns = draw(2) ? NOW - FRESH - 1 : NOW + 1; /* stale; or of the future */
		if (dangerous & MANAGER_RIGHT(v)) {
			assert_int_not_equal(ask(&p, v, kind, tenant), MANAGER_ALLOW);
		}
		p.factor_ns = NOW;
		p.via = MANAGER_VIA_TOKEN;
		if (dangerous & MANAGER_RIGHT(v)) {
			assert_int_not_equal(ask(&p, v, kind, tenant), MANAGER_ALLOW);
		}
		manager_principal_done(&p);
	}
}

/* What is allowed is held, and what is hidden is where the read right is not held. */
static void decisions_follow_holdings(void **state)
{
	unsigned int allowed = 0;

	for (uint32_t n = 1; n < 6000; n++) {
		seed = n * 2654435761u;
		struct manager_principal p = random_person();
		enum manager_verb v = (enum manager_verb)(1 + draw(VERB_COUNT - 1));
		uint32_t tenant = 1 + draw(10);
		uint64_t held = manager_rights_at(&p, tenant, NOW);
		enum manager_decision d;

		p.factor_ns = NOW;
		d = ask(&p, v, OBJECT_VM, tenant);
		assert_int_equal(d == MANAGER_HIDDEN, !(held & R(VM_READ)));
		if (d != MANAGER_HIDDEN) {
			assert_int_equal(d == MANAGER_ALLOW, (held & MANAGER_RIGHT(v)) != 0);
		}
		allowed += d == MANAGER_ALLOW;
		manager_principal_done(&p);
	}
	assert_true(allowed > 100);
}

/* Whose things somebody tried to reach reads of it, unless he sees nothing there. */
static void attempts_are_shown_to_owners(void **state)
{
	struct manager_principal viewer = person("tenant-viewer", SHOP);
	struct manager_principal asks = person("requester", SHOP);
	struct manager_principal admin = person("provider-admin", MANAGER_EACH_TENANT);

	assert_true(manager_attempt_shown(&viewer, SHOP, NOW));
	assert_false(manager_attempt_shown(&viewer, BANK, NOW));
	assert_true(manager_attempt_shown(&viewer, MANAGER_PROVIDER, NOW));
	assert_false(manager_attempt_shown(&viewer, MANAGER_NO_TENANT, NOW));
	assert_false(manager_attempt_shown(&asks, SHOP, NOW));
	assert_true(manager_attempt_shown(&admin, BANK, NOW));
	manager_principal_done(&viewer);
	manager_principal_done(&asks);
	manager_principal_done(&admin);
}

static void roles_elsewhere_are_not_told(void **state)
{
	static const char *const cases[][3] = {
		{"", "shop", ""},
		{"tenant-admin at bank", "shop", ""},
		{"tenant-admin at shop", "shop", "tenant-admin at shop"},
		{"tenant-admin at shop2", "shop", ""},
		{"a at bank, b at *, c at shop, d at sho", "shop", "b at *, c at shop"},
		{"a at *, b at bank", "shop", "a at *"},
		{"a at shop, cut", "shop", "a at shop"},
		{"cut, a at shop", "shop", "a at shop"},
	};
	char roles[MANAGER_ROLES_SIZE];

	for (size_t i = 0; i < BH_ARRAY_SIZE(cases); i++) {
		manager_roles_at(cases[i][0], cases[i][1], roles);
		assert_string_equal(roles, cases[i][2]);
	}
}

/* The refusal says why, and how one gets there; a grant does; reading goes on. */
static void without_self_service_one_asks(void **state)
{
	struct manager_object vm = {.kind = OBJECT_VM, .tenant = SHOP, .id = "x"};
	struct manager_principal p = person("tenant-operator", SHOP);
	struct manager_principal officer = person("security-officer", MANAGER_EACH_TENANT);
	struct manager_judgement j;
	struct manager_holding *grant;

	officer.tenant = MANAGER_PROVIDER;
	manager_holdings_by_request(&p, SHOP);
	manager_holdings_by_request(&officer, SHOP);
	assert_int_equal(ask(&officer, VERB_VM_QUARANTINE, OBJECT_VM, SHOP), MANAGER_ALLOW);
	assert_int_equal(manager_authorize(&p, VERB_VM_QUARANTINE, &vm, &rules, &j), MANAGER_DENY);
	assert_non_null(strstr(j.rule, "self-service is off"));
	assert_non_null(strstr(j.way, "POST /v1/requests"));
	assert_int_equal(manager_authorize(&p, VERB_VM_RELEASE, &vm, &rules, &j), MANAGER_DENY);
	assert_non_null(strstr(j.rule, "no role of yours"));
	assert_int_equal(ask(&p, VERB_POLICY_WRITE, OBJECT_BODY, MANAGER_NO_TENANT), MANAGER_DENY);
	assert_int_equal(ask(&p, VERB_VM_READ, OBJECT_VM, SHOP), MANAGER_ALLOW);
	assert_int_equal(ask(&p, VERB_REQUEST_SUBMIT, OBJECT_BODY, MANAGER_NO_TENANT),
			 MANAGER_ALLOW);
	manager_holdings_by_request(&p, SHOP); /* twice is once */
	assert_true(manager_rights_by_request(&p, SHOP, NOW) & R(VM_QUARANTINE));
	assert_int_equal(manager_rights_by_request(&p, BANK, NOW), 0);
	grant = bh_vec_push(&p.holdings);
	*grant = (struct manager_holding){
		.tenant = SHOP, .rights = R(VM_QUARANTINE), .until_ns = NOW + 1, .approved = true};
	assert_int_equal(ask(&p, VERB_VM_QUARANTINE, OBJECT_VM, SHOP), MANAGER_ALLOW);
	manager_principal_done(&p);
	manager_principal_done(&officer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_manual_has_the_table),
		cmocka_unit_test(rights_are_text),
		cmocka_unit_test(a_provider_admin_is_not_inside_tenants),
		cmocka_unit_test(an_auditor_changes_nothing),
		cmocka_unit_test(a_tenant_has_no_way_out),
		cmocka_unit_test(nobody_and_root),
		cmocka_unit_test(rights_end_by_themselves),
		cmocka_unit_test(a_second_person),
		cmocka_unit_test(delegation_only_shrinks),
		cmocka_unit_test(a_limit_takes_only_what_is_missing),
		cmocka_unit_test(nothing_dangerous_without_a_fresh_factor),
		cmocka_unit_test(decisions_follow_holdings),
		cmocka_unit_test(attempts_are_shown_to_owners),
		cmocka_unit_test(roles_elsewhere_are_not_told),
		cmocka_unit_test(without_self_service_one_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
