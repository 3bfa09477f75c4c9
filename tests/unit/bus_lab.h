/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the bus share: a temporary folder with a CA, a private nats-server on a free
 * loopback port, clients, and waiting on the loop for a condition with a limit. Everything made is
 * removed by lab_free().
 */
#ifndef BH_TESTS_BUS_LAB_H
#define BH_TESTS_BUS_LAB_H

#include "bus/client.h"
#include "bus/events.h"
#include "bus/pki.h"
#include "bus/server.h"
#include "bus/subject.h"

#define LAB_WAIT_MS 20000

struct lab {
	uv_loop_t loop;
	char dir[64];
	char pki[96];
	char nats[96];
	char listen[32];
	const char *urls; /* where clients connect to instead, unless NULL */
	struct bh_pki_ca *ca;
	struct bh_bus_server *server;
};

void lab_init(struct lab *lab);
void lab_done(struct lab *lab);
void lab_server_start(struct lab *lab, const char *const *hosts, size_t count);
/* Certificates for "manager" or "host.<name>" by our CA, and a connection with them. */
struct bh_bus *lab_client(struct lab *lab, const char *who);
struct bh_bus *lab_client_up(struct lab *lab, const char *who);

typedef bool lab_condition(void *arg);
/* Runs the loop until it holds; false when LAB_WAIT_MS passed first. */
bool lab_until(struct lab *lab, lab_condition *condition, void *arg);
/* Runs the loop for that long: for what must not happen. */
void lab_settle(struct lab *lab, unsigned int ms);
bool lab_is_up(void *bus);
bool lab_is_down(void *bus);
void lab_remove_tree(const char *dir);
unsigned int lab_free_port(void);

#endif
