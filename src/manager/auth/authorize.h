/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that decides who may do what. API, console, CLI, search and event streams all come
 * here; nothing else compares names, roles or tenants to find out.
 *
 * Theory of operation
 *   Who asks is a principal: root (the unix socket, admin.token), or a user by session or by API
 *   token, with what he holds: sets of rights, each at one tenant or at every one, some with an end
 *   or for one object only. What is asked for is a verb on an object. Every object belongs to one
 *   tenant; hosts, settings and the like to the provider, number 1. The principal holds a verb when
 *   one of his holdings that has not ended has it at the object's tenant.
 *   Who holds no right at all to read there is told nothing: the object looks as if it did not
 *   exist. Who may see it is told by which rule he may not, and what the legitimate way is.
 *   Rights that are dangerous ask for more: a second factor shown just now (step up), and where the
 *   settings say so a second person (approval). Root is asked for neither: it is the way in when
 *   nothing else works, and every act of it is recorded as root's.
 *
 * Pure: no I/O, no clock.
 */
#ifndef BH_MANAGER_AUTH_AUTHORIZE_H
#define BH_MANAGER_AUTH_AUTHORIZE_H

#include "manager/auth/rights.h"

#include "base/util.h"

#define MANAGER_PROVIDER    1u /* the provider's number as a tenant */
#define MANAGER_EACH_TENANT 0u /* in a holding: every tenant but the provider */
#define MANAGER_NO_TENANT   0u /* of an object: a tenant that does not exist (yet) */
#define MANAGER_USER_MAX    95 /* bytes of a name: 31 of its own, @, the tenant's */
#define MANAGER_OBJECT_MAX  128
#define MANAGER_FACTOR_MAX  12
#define MANAGER_ROLES_SIZE  128

enum manager_via {
	MANAGER_VIA_NOBODY,
	MANAGER_VIA_ROOT,
	MANAGER_VIA_SESSION,
	MANAGER_VIA_TOKEN,
};

struct manager_holding {
	uint32_t tenant; /* MANAGER_EACH_TENANT, or its number */
	uint64_t rights;
	uint64_t until_ns;   /* wall clock; 0: no end */
	uint64_t by_request; /* what the role would give, and what has to be asked for */
	bool approved;	     /* a second person has agreed to these */
	char object[MANAGER_OBJECT_MAX + 1]; /* "vm/UUID": this one only; "": any */
};

struct manager_principal {
	enum manager_via via;
	int64_t user;			     /* its row; 0: none */
	int64_t session, token;		     /* which one; 0: none */
	char name[MANAGER_USER_MAX + 1];     /* "alice@shop", "root" */
	uint32_t tenant;		     /* that the user belongs to */
	uint64_t factor_ns;		     /* when a second factor was shown last; 0: never */
	char factor[MANAGER_FACTOR_MAX + 1]; /* "totp", "recovery", "webauthn"; "": none */
	char roles[MANAGER_ROLES_SIZE];	     /* for people: "tenant-admin at shop, ..." */
	BH_VEC(struct manager_holding) holdings;
};
void manager_principal_done(struct manager_principal *p);

enum manager_object_kind {
	OBJECT_UNSET,  /* a route without one is refused at start */
	OBJECT_PUBLIC, /* nobody has to be anybody */
	OBJECT_SELF,   /* who is logged in, about himself */
	OBJECT_SYSTEM, /* what belongs to the provider as a whole */
	OBJECT_HOST,
	OBJECT_TENANT,
	OBJECT_VM,
	OBJECT_POLICY,
	OBJECT_LIST, /* many: the handler leaves out what the caller does not see */
	OBJECT_BODY, /* what the body or a number names: the handler asks for each */
};
struct manager_object {
	enum manager_object_kind kind;
	uint32_t tenant;
	const char *id; /* UUID, name; may be NULL */
};

/* What settings say. */
struct manager_auth_rules {
	uint64_t now_ns;   /* wall clock */
	uint64_t fresh_ns; /* how long a second factor is fresh */
	uint64_t approval; /* rights that need a second person */
};

enum manager_decision {
	MANAGER_ALLOW,
	MANAGER_DENY,	  /* 403: the caller may know that it is there */
	MANAGER_HIDDEN,	  /* 404, as if it did not exist */
	MANAGER_STEP_UP,  /* 403: a second factor first */
	MANAGER_APPROVAL, /* 403: a second person first */
};
struct manager_judgement {
	enum manager_decision decision;
	char rule[160]; /* by which rule */
	char way[160];	/* how one gets there legitimately */
};

/* Never MANAGER_ALLOW for MANAGER_VIA_NOBODY, except on OBJECT_PUBLIC. Kinds LIST and BODY: is the
 * verb held anywhere; kind SELF: somebody is there. Returns ret->decision. */
enum manager_decision manager_authorize(const struct manager_principal *who, enum manager_verb verb,
					const struct manager_object *object,
					const struct manager_auth_rules *rules,
					struct manager_judgement *ret);

/* The part of it that is about second factors: has he shown what the verb needs, whoever is to do
 * it? Who says yes to what is dangerous shows what the one who does it has to show. */
enum manager_decision manager_authorize_factor(const struct manager_principal *who,
					       enum manager_verb verb,
					       const struct manager_auth_rules *rules,
					       struct manager_judgement *ret);

/* The rights held at a tenant now, whatever second factor they need. Not those for one object. */
uint64_t manager_rights_at(const struct manager_principal *who, uint32_t tenant, uint64_t now_ns);
/* Those held anywhere. */
uint64_t manager_rights_anywhere(const struct manager_principal *who, uint64_t now_ns);
/* Is the verb held at every tenant, the provider too? */
bool manager_holds_everywhere(const struct manager_principal *who, enum manager_verb verb,
			      uint64_t now_ns);

/* ---- who may know of it ---- */
/* May the tenant's people read that the caller tried something on its things? The provider's may;
 * others when the caller sees anything of the tenant, since else they would learn of him, and he
 * that the thing exists. */
bool manager_attempt_shown(const struct manager_principal *who, uint32_t tenant, uint64_t now_ns);
/* Of roles in words ("auditor at *, tenant-admin at shop") those that reach the tenant of this
 * name: what he is elsewhere is not its business. */
void manager_roles_at(const char *roles, const char *tenant, char ret[MANAGER_ROLES_SIZE]);

/* ---- what users hold ---- */
/* The holdings that a role at a tenant gives; tenant MANAGER_EACH_TENANT: at all, the provider
 * included. until_ns 0: no end. */
void manager_holdings_add_role(struct manager_principal *who, uint64_t at_provider,
			       uint64_t at_tenant, uint32_t tenant, uint64_t until_ns);
/* What the roles of another give, too. */
void manager_holdings_join(struct manager_principal *who, const struct manager_principal *other);
/* Takes away what `maker` does not hold: a user never has more than who made him. */
void manager_holdings_limit(struct manager_principal *who, const struct manager_principal *maker,
			    uint64_t now_ns);
/* Self-service of the tenant is switched off: who is not of the provider keeps there what an
 * auditor and a requester have, and the right to decide on what others ask for; the rest of what
 * his roles give he has to ask for. */
void manager_holdings_by_request(struct manager_principal *who, uint32_t tenant);
/* That rest, at a tenant or (MANAGER_NO_TENANT) anywhere. He does not use it himself, and may say
 * yes to somebody who asks for it. */
uint64_t manager_rights_by_request(const struct manager_principal *who, uint32_t tenant,
				   uint64_t now_ns);
/* An API token's part: only these rights, only at this tenant (MANAGER_EACH_TENANT: wherever). */
void manager_holdings_narrow(struct manager_principal *who, uint64_t rights, uint32_t tenant);
/* Does `who` hold all of `rights` at the tenant, so that he may hand them on? */
bool manager_may_delegate(const struct manager_principal *who, uint64_t rights, uint32_t tenant,
			  uint64_t now_ns);

#endif
