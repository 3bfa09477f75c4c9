/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DHCP for IPv4 (RFC 2131, 2132): each datagram is a transaction with one side. Options go on in
 * the fields for a file and a server's name where they say so. Bounded by the datagram;
 * ADDRESSES_MAX addresses and all asked-for parameters of an option are shown.
 */
#include "gate/app/app.h"

#include "base/util.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define HEADER_SIZE   236u
#define COOKIE_SIZE   4u
#define SNAME_AT      44u
#define FILE_AT	      108u
#define ADDRESSES_MAX 16u

enum {
	OPT_PAD = 0,
	OPT_SUBNET = 1,
	OPT_ROUTERS = 3,
	OPT_DNS = 6,
	OPT_HOSTNAME = 12,
	OPT_REQUESTED_IP = 50,
	OPT_LEASE_TIME = 51,
	OPT_OVERLOAD = 52,
	OPT_TYPE = 53,
	OPT_SERVER = 54,
	OPT_PARAMETERS = 55,
	OPT_RENEWAL = 58,
	OPT_REBINDING = 59,
	OPT_VENDOR = 60,
	OPT_CLIENT_ID = 61,
	OPT_END = 255,
};
enum dhcp_event { DHCP_TRUNCATED_OPTIONS, DHCP_MALFORMED_OPTIONS, DHCP_EVENTS };
static const struct gate_app_event events[DHCP_EVENTS] = {
	[DHCP_TRUNCATED_OPTIONS] = {"truncated_options", "options that do not come to their end"},
	[DHCP_MALFORMED_OPTIONS] = {"malformed_options", "an option of a size that can't be"},
};
static const char *const request_states[] = {"request_started", "request_complete", NULL};
static const char *const response_states[] = {"response_started", "response_complete", NULL};
static const uint16_t ports[] = {67, 68, 0};

struct dhcp_tx {
	struct gate_tx tx;
	uint32_t size;
	uint8_t raw[];
};

/* Of those between `at` and `size`. */
static bool option_within(const struct dhcp_tx *t, uint32_t at, uint32_t size, uint8_t code,
			  struct gate_view *ret)
{
	while (at + 2 <= size) {
		uint8_t found = t->raw[at];
		if (found == OPT_END) {
			break;
		}
		if (found == OPT_PAD) {
			at++;
			continue;
		}
		uint8_t length = t->raw[at + 1];
		if (length > size - at - 2) {
			break;
		}
		if (found == code) {
			*ret = (struct gate_view){.data = t->raw + at + 2, .size = length};
			return true;
		}
		at += 2u + length;
	}
	return false;
}

/* The option's value: false when it is not there. */
static bool option(const struct dhcp_tx *t, uint8_t code, struct gate_view *ret)
{
	const uint32_t begin = HEADER_SIZE + COOKIE_SIZE;
	struct gate_view overload;
	if (option_within(t, begin, t->size, code, ret)) {
		return true;
	}
	if (!option_within(t, begin, t->size, OPT_OVERLOAD, &overload) || !overload.size) {
		return false;
	}
	return (overload.data[0] & 1 && option_within(t, FILE_AT, HEADER_SIZE, code, ret)) ||
	       (overload.data[0] & 2 && option_within(t, SNAME_AT, FILE_AT, code, ret));
}

static bool is_number(uint8_t code)
{
	return code == OPT_LEASE_TIME || code == OPT_RENEWAL || code == OPT_REBINDING;
}

static void check_options(struct gate_session *session, struct dhcp_tx *t)
{
	for (uint32_t at = HEADER_SIZE + COOKIE_SIZE;;) {
		if (at >= t->size) {
			gate_tx_event(session, &t->tx, DHCP_TRUNCATED_OPTIONS);
			return;
		}
		uint8_t code = t->raw[at];
		if (code == OPT_END) {
			return;
		}
		if (code == OPT_PAD) {
			at++;
			continue;
		}
		if (t->size - at < 2 || t->raw[at + 1] > t->size - at - 2) {
			gate_tx_event(session, &t->tx, DHCP_TRUNCATED_OPTIONS);
			return;
		}
		uint8_t size = t->raw[at + 1];
		if (code == OPT_CLIENT_ID && size < 2) {
			gate_tx_event(session, &t->tx, DHCP_TRUNCATED_OPTIONS);
			return;
		}
		if ((is_number(code) && size != 4) || (code == OPT_TYPE && size != 1)) {
			gate_tx_event(session, &t->tx, DHCP_MALFORMED_OPTIONS);
		}
		at += 2u + size;
	}
}

static bool is_message(const uint8_t *data, uint32_t size)
{
	return size >= HEADER_SIZE + COOKIE_SIZE;
}

static int probe(enum gate_dir dir, const uint8_t *data, uint32_t size, uint16_t port)
{
	bool own = port == ports[0] || port == ports[1];
	bool sure = is_message(data, size) && (data[0] == 1 || data[0] == 2) &&
		    !memcmp(data + HEADER_SIZE, "\x63\x82\x53\x63", COOKIE_SIZE);
	return sure || (own && is_message(data, size)) ? GATE_PROBE_YES : GATE_PROBE_NO;
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	if (!is_message(in->data, in->size)) {
		return in->size;
	}
	struct gate_tx *tx = gate_tx_new(session, sizeof(struct dhcp_tx) + in->size);
	if (!tx) {
		return in->size;
	}
	struct dhcp_tx *t = (struct dhcp_tx *)tx;
	t->size = in->size;
	memcpy(t->raw, in->data, in->size);
	check_options(session, t);
	tx->skip_dirs = (uint8_t)GATE_DIR_BIT(GATE_DIR_OTHER(dir));
	gate_tx_done(session, tx, dir);
	return in->size;
}

/* ---- what rules and records ask ---- */

static bool buffer(struct gate_tx *tx, enum gate_dir dir, enum gate_buffer which, uint32_t index,
		   struct gate_buffer_view *ret)
{
	struct gate_view v;
	if (which != GATE_BUF_DHCP_REQUESTED_IP || index || (tx->skip_dirs & GATE_DIR_BIT(dir)) ||
	    !option((const struct dhcp_tx *)tx, OPT_REQUESTED_IP, &v)) {
		return false;
	}
	*ret = (struct gate_buffer_view){.data = v.data, .size = v.size, .complete = true};
	return true;
}

static bool number(struct gate_tx *tx, enum gate_dir dir, enum gate_number which, uint32_t index,
		   uint64_t *ret)
{
	struct gate_view v;
	uint8_t code = which == GATE_NUM_DHCP_LEASETIME	       ? OPT_LEASE_TIME
		       : which == GATE_NUM_DHCP_RENEWAL_TIME   ? OPT_RENEWAL
		       : which == GATE_NUM_DHCP_REBINDING_TIME ? OPT_REBINDING
							       : OPT_PAD;
	if (code == OPT_PAD || index || (tx->skip_dirs & GATE_DIR_BIT(dir)) ||
	    !option((const struct dhcp_tx *)tx, code, &v) || v.size != 4) {
		return false;
	}
	*ret = gate_be32(v.data);
	return true;
}

static void log_address(struct gate_jw *jw, const char *key, const uint8_t *data)
{
	char text[INET_ADDRSTRLEN];
	if (inet_ntop(AF_INET, data, text, sizeof(text))) {
		gate_jw_text(jw, key, text);
	}
}

static void log_mac(struct gate_jw *jw, const char *key, const uint8_t *data, uint32_t size)
{
	char text[3 * 16 + 1] = "";
	size = size < 16 ? size : 16;
	for (uint32_t i = 0; i < size; i++) {
		snprintf(text + 3 * (size_t)i, 4, "%02x%s", data[i], i + 1 < size ? ":" : "");
	}
	gate_jw_text(jw, key, text);
}

static void log_addresses(const struct dhcp_tx *t, uint8_t code, const char *key,
			  struct gate_jw *jw)
{
	struct gate_view v;
	if (!option(t, code, &v)) {
		return;
	}
	gate_jw_array(jw, key);
	for (uint32_t i = 0; i < ADDRESSES_MAX && 4 * i + 4 <= v.size; i++) {
		log_address(jw, NULL, v.data + 4 * (size_t)i);
	}
	gate_jw_end(jw);
}

static void log_parameters(const struct dhcp_tx *t, struct gate_jw *jw)
{
	static const struct {
		uint8_t code;
		const char *name;
	} names[] = {
		{1, "subnet_mask"},	  {3, "router"},	   {6, "dns_server"},
		{15, "domain"},		  {35, "arp_timeout"},	   {42, "ntp_server"},
		{66, "tftp_server_name"}, {150, "tftp_server_ip"},
	};
	struct gate_view v;
	if (!option(t, OPT_PARAMETERS, &v)) {
		return;
	}
	gate_jw_array(jw, "params");
	for (uint32_t i = 0; i < v.size; i++) {
		for (size_t k = 0; k < BH_ARRAY_SIZE(names); k++) {
			if (names[k].code == v.data[i]) {
				gate_jw_text(jw, NULL, names[k].name);
			}
		}
	}
	gate_jw_end(jw);
}

static void log_type(const struct dhcp_tx *t, struct gate_jw *jw)
{
	static const char *const names[] = {"unknown", "discover", "offer",   "request", "decline",
					    "ack",     "nak",	   "release", "inform"};
	struct gate_view v;
	if (option(t, OPT_TYPE, &v) && v.size) {
		uint8_t type = v.data[0] < BH_ARRAY_SIZE(names) ? v.data[0] : 0;
		gate_jw_text(jw, "dhcp_type", names[type]);
	}
}

static void log_bytes(const struct dhcp_tx *t, uint8_t code, const char *key, struct gate_jw *jw)
{
	struct gate_view v;
	if (option(t, code, &v)) {
		gate_jw_bytes(jw, key, v.data, v.size);
	}
}

static void log_number(const struct dhcp_tx *t, uint8_t code, const char *key, struct gate_jw *jw)
{
	struct gate_view v;
	if (option(t, code, &v) && v.size == 4) {
		gate_jw_uint(jw, key, gate_be32(v.data));
	}
}

static bool log_tx(const struct gate_tx *tx, struct gate_jw *jw)
{
	const struct dhcp_tx *t = (const struct dhcp_tx *)tx;
	const uint8_t *p = t->raw;
	struct gate_view v;
	gate_jw_text(jw, "type", p[0] == 1 ? "request" : p[0] == 2 ? "reply" : "<unknown>");
	gate_jw_uint(jw, "id", gate_be32(p + 4));
	log_mac(jw, "client_mac", p + 28, p[2]);
	log_address(jw, "assigned_ip", p + 16);
	log_address(jw, "client_ip", p + 12);
	if (p[0] == 2) {
		log_address(jw, "relay_ip", p + 24);
		log_address(jw, "next_server_ip", p + 20);
	}
	log_type(t, jw);
	if (option(t, OPT_CLIENT_ID, &v) && v.size > 1) {
		log_mac(jw, "client_id", v.data + 1, v.size - 1);
	}
	log_bytes(t, OPT_HOSTNAME, "hostname", jw);
	log_bytes(t, OPT_VENDOR, "vendor_class_identifier", jw);
	if (option(t, OPT_REQUESTED_IP, &v) && v.size == 4) {
		log_address(jw, "requested_ip", v.data);
	}
	log_number(t, OPT_LEASE_TIME, "lease_time", jw);
	log_number(t, OPT_RENEWAL, "renewal_time", jw);
	log_number(t, OPT_REBINDING, "rebinding_time", jw);
	if (option(t, OPT_SUBNET, &v) && v.size == 4) {
		log_address(jw, "subnet_mask", v.data);
	}
	log_addresses(t, OPT_ROUTERS, "routers", jw);
	log_addresses(t, OPT_DNS, "dns_servers", jw);
	log_parameters(t, jw);
	return true;
}

const struct gate_app_ops gate_dhcp_ops = {
	.app = GATE_APP_DHCP,
	.name = "dhcp",
	.log = "dhcp",
	.transports = 2,
	.states = {request_states, response_states},
	.events = events,
	.event_count = DHCP_EVENTS,
	.ports = ports,
	.probe = probe,
	.parse = parse,
	.buffer = buffer,
	.number = number,
	.log_tx = log_tx,
};
