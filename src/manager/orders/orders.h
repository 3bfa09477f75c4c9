/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts are ordered to do with their VMs: power, snapshots, migrations (docs/power.md).
 * Whether somebody may order it is asked by the API (api/orders.c); what to do is done by hostd
 * (host/agent/orders.h).
 *
 * Theory of operation
 *   An order goes to the host that has the VM, once. From then on only its number is asked about
 *   (`look`): an answer that was lost, a bus that went away, a host or a manager that was started
 *   anew do nothing twice. The number is made of who orders, what, on which VM, and the word that
 *   the caller gave the order (`request`), so that a repeat finds the first one, on the host too.
 *   An order ends with what the host says. When the host never got it, it failed; when the host has
 *   said nothing until the time limit, what became of it is unknown, and the order says so.
 *   What is under way and the last MANAGER_ORDERS_KEPT are in memory only: the audit log is what is
 *   kept of them.
 *
 * Loop thread only.
 */
#ifndef BH_MANAGER_ORDERS_ORDERS_H
#define BH_MANAGER_ORDERS_ORDERS_H

#include "manager/migrate/migrate.h"

#define MANAGER_ORDER_ID_SIZE	  33
#define MANAGER_ORDERS_KEPT	  2000
#define MANAGER_ORDERS_OPEN_MAX	  1000 /* under way */
#define MANAGER_ORDER_REQUEST_MAX 64   /* bytes of the caller's word */
#define MANAGER_ORDER_NAME_MAX	  64   /* of a snapshot's name */
#define MANAGER_ORDER_WORDS_MAX	  400  /* of its description */

enum manager_order_state {
	MANAGER_ORDER_RUNNING,
	MANAGER_ORDER_DONE,
	MANAGER_ORDER_FAILED,
	MANAGER_ORDER_UNKNOWN,
};
const char *manager_order_state_name(enum manager_order_state state);

/* What is ordered; texts are borrowed and may be "". */
struct manager_order_what {
	const char *act; /* "start", ... as hostd knows them */
	const char *by;
	const char *request;		/* the caller's word; "": none */
	const char *name, *description; /* of a snapshot */
	const char *to;			/* host that it travels to */
	const char *reason;
};

struct manager_order_watch;
struct manager_order {
	char id[MANAGER_ORDER_ID_SIZE];
	char vm[BH_UUID_TEXT_SIZE];
	char *vm_name, *tenant_name;
	uint32_t tenant;
	char host[BH_NAME_MAX + 1];
	char to[BH_NAME_MAX + 1];
	char act[20];
	char name[MANAGER_ORDER_NAME_MAX + 1];
	char *description, *by, *reason;
	enum manager_order_state state;
	int percent; /* -1: not known */
	bool changed;
	char before[16], vm_state[16]; /* of the VM */
	char *error;		       /* owned; "" */
	bool error_shown;	       /* says nothing of hosts */
	bool recorded;		       /* its end stands in the audit log */
	uint64_t begun_ns, ended_ns;   /* wall clock */
	uint64_t deadline_ns;	       /* monotonic */
	bool told, asking;	       /* the host has answered; a question is under way */
	struct manager_orders *part;
	struct manager_order_watch *watches;
	UT_hash_handle hh;
};

/* An order has ended. */
typedef void manager_order_fn(struct manager_order *order, void *arg);
struct manager_orders_options {
	manager_command_fn *command;
	void *command_arg;
	manager_order_fn *ended; /* after those who watch it; may be NULL */
	void *ended_arg;
};
struct manager_orders *manager_orders_new(const struct manager_orders_options *options);
/* Nobody is told any more; before the bus goes. */
void manager_orders_close(struct manager_orders *part);
void manager_orders_free(struct manager_orders *part); /* after the bus; NULL is fine */
/* Asks about what is under way, ends what is late and waits that are over; every second. */
void manager_orders_tick(struct manager_orders *part, uint64_t mono_ns);

/* 0: *ret is a new order, on its way. MANAGER_ORDER_AGAIN: it is one that was given before.
 * MANAGER_ORDER_OTHER: the word was given for something else; MANAGER_ORDER_BUSY: another one for
 * that VM is under way; -ENOSPC: too many are. The VM has a host. */
#define MANAGER_ORDER_AGAIN 1
#define MANAGER_ORDER_OTHER 2
#define MANAGER_ORDER_BUSY  3
[[nodiscard]] int manager_orders_begin(struct manager_orders *part, const struct manager_vm *vm,
				       const struct manager_order_what *what,
				       struct manager_order **ret, struct bh_diag *diag);
/* The order that begin would find again; NULL. */
struct manager_order *manager_orders_again(struct manager_orders *part, const struct manager_vm *vm,
					   const struct manager_order_what *what);
struct manager_order *manager_orders_find(const struct manager_orders *part, const char *id);
/* In the order of their beginning. */
struct manager_order *manager_orders_first(const struct manager_orders *part);
/* Tells the host to give it up; how that went shows in the end of the order. */
void manager_orders_cancel(struct manager_order *order);

/* fn runs once: when the order has ended, or after wait_ms with an order that is under way. Not
 * before this returned. */
struct manager_order_watch *manager_orders_watch(struct manager_order *order, uint64_t wait_ms,
						 manager_order_fn *fn, void *arg);
void manager_orders_unwatch(struct manager_order_watch *watch); /* before fn ran */

/* {"id", "vm", ...} with everything; owned. */
json_t *manager_order_json(const struct manager_order *order);

#endif
