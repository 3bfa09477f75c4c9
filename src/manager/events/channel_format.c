/* SPDX-License-Identifier: Apache-2.0 */
/* Events in the words of other systems: Elastic Common Schema 8, CEF 0, syslog RFC 5424. */
#include "manager/events/channels.h"

#include "base/time.h"
#include "base/util.h"
#include "version.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <jansson.h>

#define TEXT_MAX    1024
#define ECS_VERSION "8.11.0"
#define FACILITY    20 /* local4 */

static void message_id(const struct manager_message *m, char ret[96])
{
	snprintf(ret, 96, "bulkhead-%s-%llu", m->instance, (unsigned long long)m->id);
}

/* The member as text without escapes of JSON; "" when it is not there. */
static const char *text_of(const struct bh_jtext *event, const char *key, char ret[TEXT_MAX])
{
	const struct bh_jtext_member *m = bh_jtext_find(event, key);

	*ret = '\0';
	if (m && (m->kind == BH_JTEXT_STRING || m->kind == BH_JTEXT_INTEGER)) {
		snprintf(ret, TEXT_MAX, "%.*s", (int)m->value_size, event->text + m->value);
	} else if (m && m->kind == BH_JTEXT_ESCAPED) {
		json_t *json = json_loadb(event->text + m->value - 1, (size_t)m->value_size + 2,
					  JSON_DECODE_ANY, NULL);

		snprintf(ret, TEXT_MAX, "%s", json_is_string(json) ? json_string_value(json) : "");
		json_decref(json);
	}
	return ret;
}

static void parse(const struct manager_row *row, struct bh_jtext *ret)
{
	if (bh_jtext_parse(row->body, row->body_size, ret, NULL)) {
		memset(ret, 0, sizeof(*ret));
		ret->text = "";
	}
}

/* [a, b] */
static uint64_t pair_of(const struct bh_jtext *event, const char *key, int which)
{
	const struct bh_jtext_member *m = bh_jtext_find(event, key);
	unsigned long long v[2] = {};
	char text[64];

	if (m && m->kind == BH_JTEXT_ARRAY && m->value_size < sizeof(text)) {
		snprintf(text, sizeof(text), "%.*s", (int)m->value_size, event->text + m->value);
		(void)!sscanf(text, "%*[[]%llu,%llu", &v[0], &v[1]);
	}
	return v[which];
}

/* ---- ECS ---- */

static void begin_object(struct bh_wbuf *w, const char *key)
{
	bh_jtext_add_key(w, key);
	bh_wbuf_u8(w, '{');
}

static void end_object(struct bh_wbuf *w)
{
	bh_wbuf_u8(w, '}');
}

static void add_text(struct bh_wbuf *w, const char *name, const struct bh_jtext *event,
		     const char *key)
{
	char text[TEXT_MAX];

	if (*text_of(event, key, text)) {
		bh_jtext_add_str(w, name, text);
	}
}

static void add_number(struct bh_wbuf *w, const char *name, const struct bh_jtext *event,
		       const char *key)
{
	uint64_t v;

	if (bh_jtext_u64(event, key, INT64_MAX, &v)) {
		bh_jtext_add_u64(w, name, v);
	}
}

static void add_end(struct bh_wbuf *w, const char *name, const struct bh_jtext *event, bool src)
{
	int which = src ? 0 : 1;

	if (!bh_jtext_find(event, src ? "src" : "dst")) {
		return;
	}
	begin_object(w, name);
	add_text(w, "ip", event, src ? "src" : "dst");
	add_text(w, "address", event, src ? "src" : "dst");
	add_number(w, "port", event, src ? "sport" : "dport");
	add_text(w, "mac", event, src ? "src_mac" : "dst_mac");
	add_text(w, "domain", event, src ? "src_vm" : "dst_vm");
	if (bh_jtext_find(event, "packets")) {
		bh_jtext_add_u64(w, "packets", pair_of(event, "packets", which));
		bh_jtext_add_u64(w, "bytes", pair_of(event, "bytes", which));
	}
	end_object(w);
}

static const char *category_of(const char *type)
{
	static const struct {
		const char *type, *category;
	} table[] = {{"flow.", "network"},	  {"guard.", "network"},
		     {"dhcp.", "network"},	  {"gate.", "intrusion_detection"},
		     {"audit.", "configuration"}, {"policy.", "configuration"},
		     {"access.", "iam"},	  {"vm.", "host"},
		     {"nic.", "network"},	  {"migration.", "host"}};

	for (size_t i = 0; i < BH_ARRAY_SIZE(table); i++) {
		if (strncmp(type, table[i].type, strlen(table[i].type)) == 0) {
			return table[i].category;
		}
	}
	return "host";
}

static const char *type_of(const struct manager_row *row)
{
	if (strcmp(row->verdict, "allow") == 0) {
		return "allowed";
	}
	return *row->verdict || strncmp(row->type, "guard.", 6) == 0 ? "denied" : "info";
}

static void add_list_of_one(struct bh_wbuf *w, const char *key, const char *text)
{
	bh_jtext_add_key(w, key);
	bh_wbuf_u8(w, '[');
	bh_jtext_put_str(w, text);
	bh_wbuf_u8(w, ']');
}

static void add_event(struct bh_wbuf *w, const struct manager_message *m)
{
	char id[96];

	message_id(m, id);
	begin_object(w, "event");
	bh_jtext_add_str(w, "id", id);
	bh_jtext_add_str(w, "kind", m->row->severity >= BH_SEVERITY_WARNING ? "alert" : "event");
	add_list_of_one(w, "category", category_of(m->row->type));
	add_list_of_one(w, "type", type_of(m->row));
	bh_jtext_add_str(w, "action", m->row->type);
	bh_jtext_add_str(w, "module", "bulkhead");
	bh_jtext_add_str(w, "dataset", "bulkhead.events");
	bh_jtext_add_u64(w, "severity", m->row->severity);
	bh_jtext_add_u64(w, "sequence", m->id);
	end_object(w);
}

static void add_who(struct bh_wbuf *w, const struct bh_jtext *event, const struct manager_row *row)
{
	if (*row->host) {
		begin_object(w, "host");
		bh_jtext_add_str(w, "name", row->host);
		end_object(w);
	}
	if (bh_jtext_find(event, "tenant")) {
		begin_object(w, "organization");
		add_text(w, "name", event, "tenant");
		end_object(w);
	}
	if (bh_jtext_find(event, "who") || bh_jtext_find(event, "user")) {
		begin_object(w, "user");
		add_text(w, "name", event, bh_jtext_find(event, "user") ? "user" : "who");
		end_object(w);
	}
	if (bh_jtext_find(event, "rule_text") || bh_jtext_find(event, "signature")) {
		begin_object(w, "rule");
		add_text(w, "name", event,
			 bh_jtext_find(event, "signature") ? "signature" : "rule_text");
		add_text(w, "id", event, bh_jtext_find(event, "sid") ? "sid" : "rule");
		end_object(w);
	}
}

void manager_format_ecs(const struct manager_message *m, struct bh_wbuf *w)
{
	char time[BH_TIME_TEXT_SIZE];
	struct bh_jtext event;

	parse(m->row, &event);
	bh_time_format((uint64_t)m->row->wall_ns, time);
	bh_wbuf_u8(w, '{');
	bh_jtext_add_str(w, "@timestamp", time);
	bh_wbuf_str(w, ",\"ecs\":{\"version\":\"" ECS_VERSION "\"},\"observer\":{\"vendor\":"
		       "\"Bulkhead\",\"product\":\"Bulkhead\",\"type\":\"firewall\",\"version\":"
		       "\"" BH_VERSION "\"}");
	add_event(w, m);
	begin_object(w, "log");
	bh_jtext_add_str(w, "level", bh_severity_name(m->row->severity));
	end_object(w);
	add_who(w, &event, m->row);
	add_end(w, "source", &event, true);
	add_end(w, "destination", &event, false);
	if (bh_jtext_find(&event, "proto")) {
		begin_object(w, "network");
		add_text(w, "transport", &event, "proto");
		add_text(w, "direction", &event, "dir");
		add_text(w, "protocol", &event, "app");
		end_object(w);
	}
	bh_jtext_add_key(w, "bulkhead");
	bh_wbuf_put(w, m->row->body, m->row->body_size);
	bh_wbuf_u8(w, '}');
}

void manager_format_raw(const struct manager_message *m, struct bh_wbuf *w)
{
	char id[96];

	message_id(m, id);
	bh_wbuf_u8(w, '{');
	bh_jtext_add_u64(w, "id", m->id);
	bh_jtext_add_str(w, "uid", id);
	if (m->row->body_size > 2) {
		bh_wbuf_u8(w, ',');
	}
	bh_wbuf_put(w, m->row->body + 1, m->row->body_size - 1);
}

/* ---- CEF ---- */

/* lines: values of the extension may have several, fields of the header not. */
static void put_escaped(struct bh_wbuf *w, const char *text, const char *special, bool lines)
{
	for (const char *p = text; *p; p++) {
		if (lines && (*p == '\n' || *p == '\r')) {
			bh_wbuf_str(w, *p == '\n' ? "\\n" : "\\r");
			continue;
		}
		if (strchr(special, *p)) {
			bh_wbuf_u8(w, '\\');
		}
		bh_wbuf_u8(w, (unsigned char)*p < 0x20 ? ' ' : (uint8_t)*p);
	}
}

static void extend(struct bh_wbuf *w, const char *key, const char *value)
{
	if (*value) {
		bh_wbuf_printf(w, " %s=", key);
		put_escaped(w, value, "\\=", true);
	}
}

static void extend_labelled(struct bh_wbuf *w, const char *key, const char *label,
			    const char *value)
{
	if (*value) {
		extend(w, key, value);
		bh_wbuf_printf(w, " %sLabel=%s", key, label);
	}
}

static void extend_address(struct bh_wbuf *w, const struct bh_jtext *event, bool src)
{
	char text[TEXT_MAX];

	if (!strchr(text_of(event, src ? "src" : "dst", text), ':')) {
		extend(w, src ? "src" : "dst", text);
	} else {
		extend_labelled(w, src ? "c6a2" : "c6a3",
				src ? "Source IPv6 Address" : "Destination IPv6 Address", text);
	}
}

void manager_format_cef(const struct manager_message *m, struct bh_wbuf *w)
{
	static const int severities[] = {1, 3, 6, 9};
	static const struct {
		const char *key, *member;
	} plain[] = {{"spt", "sport"},	  {"dpt", "dport"},	{"proto", "proto"},
		     {"act", "verdict"},  {"cnt", "count"},	{"suser", "user"},
		     {"shost", "src_vm"}, {"dhost", "dst_vm"},	{"smac", "src_mac"},
		     {"dmac", "dst_mac"}, {"reason", "reason"}, {"app", "app"},
		     {"msg", "why"}};
	static const struct {
		const char *key, *label, *member;
	} labelled[] = {{"cs1", "rule", "rule_text"}, {"cs2", "tenant", "tenant"},
			{"cs3", "vm", "vm_name"},     {"cs4", "signature", "signature"},
			{"cs5", "who", "who"},	      {"cs6", "result", "result"}};
	char text[TEXT_MAX], id[96];
	struct bh_jtext event;

	parse(m->row, &event);
	message_id(m, id);
	bh_wbuf_str(w, "CEF:0|Bulkhead|Bulkhead|" BH_VERSION "|");
	put_escaped(w, m->row->type, "\\|", false);
	bh_wbuf_u8(w, '|');
	put_escaped(w, *text_of(&event, "signature", text) ? text : m->row->type, "\\|", false);
	bh_wbuf_printf(w, "|%d|externalId=%s rt=%lld", severities[m->row->severity & 3], id,
		       (long long)(m->row->wall_ns / (int64_t)BH_NS_PER_MS));
	extend(w, "dvchost", m->row->host);
	extend_address(w, &event, true);
	extend_address(w, &event, false);
	for (size_t i = 0; i < BH_ARRAY_SIZE(plain); i++) {
		extend(w, plain[i].key, text_of(&event, plain[i].member, text));
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(labelled); i++) {
		extend_labelled(w, labelled[i].key, labelled[i].label,
				text_of(&event, labelled[i].member, text));
	}
}

/* ---- syslog ---- */

/* Names in the header are printable ASCII without spaces. */
static void put_name(struct bh_wbuf *w, const char *name, size_t max)
{
	size_t n = 0;

	for (; name[n] && n < max; n++) {
		bh_wbuf_u8(w, isgraph((unsigned char)name[n]) ? (uint8_t)name[n] : '?');
	}
	if (!n) {
		bh_wbuf_u8(w, '-');
	}
}

void manager_format_syslog(const struct manager_message *m, const char *hostname,
			   const struct bh_wbuf *text, struct bh_wbuf *w)
{
	static const int severities[] = {6, 5, 4, 2};
	char time[BH_TIME_TEXT_SIZE], id[96];
	struct bh_wbuf head;

	message_id(m, id);
	bh_time_format((uint64_t)m->row->wall_ns, time);
	bh_wbuf_init(&head, 0);
	bh_wbuf_printf(&head, "<%d>1 %s ", FACILITY * 8 + severities[m->row->severity & 3], time);
	put_name(&head, hostname, 255);
	bh_wbuf_str(&head, " bulkheadd - ");
	put_name(&head, m->row->type, 32);
	bh_wbuf_printf(&head, " [bulkhead@32473 id=\"%s\"] ", id);
	bh_wbuf_printf(w, "%zu ", head.size + text->size);
	bh_wbuf_put(w, head.data, head.size);
	bh_wbuf_put(w, text->data, text->size);
	bh_wbuf_done(&head);
}
