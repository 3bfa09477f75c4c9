/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flow.h"

#include "base/json.h"
#include "base/util.h"
#include "cli/cmd.h"
#include "cli/text.h"
#include "model/id.h"

#include <errno.h>
#include <string.h>

static void put(struct bh_wbuf *w, const struct cli_output *out, enum cli_colour colour,
		const char *text)
{
	BH_FREE char *clean = cli_text_clean(text);

	bh_wbuf_printf(w, "%s%s%s", cli_colour_begin(out, colour), clean,
		       cli_colour_end(out, colour));
}

static void put_time_and_host(struct bh_wbuf *w, const struct cli_output *out, const json_t *event)
{
	uint64_t at = cli_time_parse(bh_json_str_or(event, "time", ""));
	const char *host = bh_json_str_or(event, "host", bh_json_str_or(event, "producer", "-"));
	char text[CLI_TIME_SIZE];

	cli_time_short(at, out->now_ns, text);
	put(w, out, CLI_COLOUR_DIM, text);
	bh_wbuf_u8(w, ' ');
	put(w, out, CLI_COLOUR_NONE, host);
	bh_wbuf_u8(w, ' ');
}

/* ---- flows ---- */

static const char *refused_word(const json_t *event)
{
	return !strcmp(bh_json_str_or(event, "action", ""), "reject") ? CLI_BAD " rejected"
								      : CLI_BAD " refused";
}

static void put_verdict(struct bh_wbuf *w, const struct cli_output *out, const json_t *event,
			const char *type)
{
	if (!strncmp(type, "guard.", 6)) {
		BH_FREE char *text = bh_asprintf(CLI_BAD " stopped %s", type + 6);

		put(w, out, CLI_COLOUR_BAD, text);
	} else if (!strcmp(type, "flow.refused")) {
		put(w, out, CLI_COLOUR_BAD, refused_word(event));
	} else if (!strcmp(type, "flow.closed")) {
		put(w, out, CLI_COLOUR_DIM, "· closed");
	} else {
		put(w, out, CLI_COLOUR_GOOD, CLI_OK " allowed");
	}
}

/* "tcp", "icmp/8", "arp", "0x88cc". Owned. */
static char *service_text(const json_t *event)
{
	const char *proto = bh_json_str_or(event, "proto", "");
	const json_t *number = json_object_get(event, "proto");
	uint64_t ethertype = bh_json_u64_or(event, "ethertype", 0);

	if (json_is_integer(json_object_get(event, "icmp_type"))) {
		return bh_asprintf("%s/%llu", *proto ? proto : "icmp",
				   (unsigned long long)bh_json_u64_or(event, "icmp_type", 0));
	}
	if (*proto) {
		return bh_strdup(proto);
	}
	if (json_is_integer(number)) {
		char text[8];

		bh_proto_format((uint8_t)json_integer_value(number), text);
		return bh_strdup(text);
	}
	if (ethertype == 0x0806) {
		return bh_strdup("arp");
	}
	return ethertype ? bh_asprintf("ethertype 0x%04llx", (unsigned long long)ethertype)
			 : bh_strdup("frame");
}

/* "shop/db 10.78.0.12:3306", "[fd00::1]:80", or the MAC when there is no address. */
static void put_end(struct bh_wbuf *w, const struct cli_output *out, const json_t *event,
		    bool source)
{
	const char *name = bh_json_str_or(event, source ? "src_vm" : "dst_vm", "");
	const char *address = bh_json_str_or(event, source ? "src" : "dst", "");
	const char *mac = bh_json_str_or(event, source ? "src_mac" : "dst_mac", "?");
	const json_t *port = json_object_get(event, source ? "sport" : "dport");
	const char *tenant = bh_json_str_or(event, source ? "src_tenant" : "dst_tenant", "");
	BH_FREE char *owner = bh_asprintf("%s%s%s ", tenant, *tenant ? "/" : "", name);
	BH_FREE char *end = NULL;

	if (*name) {
		put(w, out, CLI_COLOUR_BOLD, owner);
	}
	if (json_is_integer(port)) {
		end = bh_asprintf(strchr(address, ':') ? "[%s]:%llu" : "%s:%llu", address,
				  (unsigned long long)json_integer_value(port));
	} else {
		end = bh_strdup(*address ? address : mac);
	}
	put(w, out, CLI_COLOUR_NONE, end);
}

static uint64_t both(const json_t *event, const char *key)
{
	const json_t *pair = json_object_get(event, key);

	return (uint64_t)(json_integer_value(json_array_get(pair, 0)) +
			  json_integer_value(json_array_get(pair, 1)));
}

static void put_account(struct bh_wbuf *w, const struct cli_output *out, const json_t *event)
{
	char bytes[CLI_TIME_SIZE];
	BH_FREE char *text = NULL;

	cli_bytes_format(both(event, "bytes"), bytes);
	text = bh_asprintf("  %llu packets, %s, %.1f s", (unsigned long long)both(event, "packets"),
			   bytes, (double)bh_json_u64_or(event, "duration_ms", 0) / 1000);
	put(w, out, CLI_COLOUR_DIM, text);
}

static void put_reason(struct bh_wbuf *w, const struct cli_output *out, const json_t *event)
{
	const char *rule = bh_json_str_or(event, "rule_text", "");
	const char *reason = bh_json_str_or(event, "reason", "");
	/* The rule at the other tap, when both allowed it. */
	const char *other = strcmp(bh_json_str_or(event, "type", ""), "flow.new")
				    ? ""
				    : bh_json_str_or(event, "other_rule_text", "");
	uint64_t number = bh_json_u64_or(event, "rule", 0);
	BH_FREE char *text = NULL;

	if (*rule) {
		text = bh_asprintf("  by %s%s%s", rule, *other ? " and " : "", other);
	} else if (number) {
		text = bh_asprintf("  by rule %llu", (unsigned long long)number);
	} else if (*reason && strcmp(reason, "pass") != 0) {
		text = bh_asprintf("  (%s)", reason);
	} else {
		return;
	}
	put(w, out, CLI_COLOUR_NONE, text);
}

static void format_flow(const struct cli_output *out, const json_t *event, const char *type,
			struct bh_wbuf *w)
{
	BH_FREE char *service = service_text(event);
	uint64_t count = bh_json_u64_or(event, "count", 1);
	const char *sender = bh_json_str_or(event, "vm_name", "?");
	bool guard = !strncmp(type, "guard.", 6);

	put_verdict(w, out, event, type);
	bh_wbuf_u8(w, ' ');
	put(w, out, CLI_COLOUR_NONE, service);
	bh_wbuf_u8(w, ' ');
	/* A spoofer is named by its tap; the owner of the forged address is only who it posed as.
	 */
	if (guard && strcmp(bh_json_str_or(event, "src_vm", ""), sender) != 0) {
		put(w, out, CLI_COLOUR_BOLD, sender);
		bh_wbuf_str(w, *bh_json_str_or(event, "src_vm", "") ? " as " : " ");
	}
	put_end(w, out, event, true);
	bh_wbuf_str(w, " → ");
	put_end(w, out, event, false);
	if (!strcmp(type, "flow.closed")) {
		put_account(w, out, event);
	} else {
		put_reason(w, out, event);
	}
	if (count > 1) {
		bh_wbuf_printf(w, " ×%llu", (unsigned long long)count);
	}
}

/* ---- other events ---- */

static bool is_common(const char *key)
{
	static const char *const common[] = {"v",    "id",   "producer", "epoch", "seq",
					     "time", "type", "severity", "host"};

	for (unsigned int i = 0; i < BH_ARRAY_SIZE(common); i++) {
		if (!strcmp(key, common[i])) {
			return true;
		}
	}
	return false;
}

static enum cli_colour severity_colour(const char *severity)
{
	if (!strcmp(severity, "critical")) {
		return CLI_COLOUR_BAD;
	}
	return !strcmp(severity, "warning") ? CLI_COLOUR_WARN : CLI_COLOUR_NONE;
}

static void format_other(const struct cli_output *out, const json_t *event, const char *type,
			 struct bh_wbuf *w)
{
	const char *severity = bh_json_str_or(event, "severity", "info");
	const char *key;
	json_t *value;

	put(w, out, severity_colour(severity), severity);
	bh_wbuf_u8(w, ' ');
	put(w, out, CLI_COLOUR_BOLD, type);
	json_object_foreach ((json_t *)event, key, value) {
		BH_FREE char *text = NULL;
		BH_FREE char *pair = NULL;

		if (is_common(key) || json_is_null(value)) {
			continue;
		}
		text = cli_json_text(value);
		pair = bh_asprintf(strpbrk(text, " =") ? "  %s=\"%s\"" : "  %s=%s", key, text);
		put(w, out, CLI_COLOUR_NONE, pair);
	}
}

void cli_event_format(const struct cli_output *out, const json_t *event, struct bh_wbuf *ret_line)
{
	const char *type = bh_json_str_or(event, "type", "?");

	put_time_and_host(ret_line, out, event);
	if (!strncmp(type, "flow.", 5) || !strncmp(type, "guard.", 6)) {
		format_flow(out, event, type, ret_line);
	} else {
		format_other(out, event, type, ret_line);
	}
}

/* ---- filters ---- */

int cli_flow_filter_port(struct cli_flow_filter *filter, const char *port)
{
	const char *slash = strchr(port, '/');
	BH_FREE char *proto = slash ? strndup(port, (size_t)(slash - port)) : bh_strdup(port);
	const char *number = slash ? slash + 1 : port;
	uint64_t value;
	uint8_t parsed;

	if (!slash && !bh_parse_u64(port, 1, 65535, &value)) {
		filter->has_port = true;
		filter->port = (uint16_t)value;
		return 0;
	}
	if (!proto || bh_proto_parse(proto, &parsed)) {
		return -EINVAL;
	}
	bh_proto_format(parsed, filter->proto);
	filter->has_proto = true;
	if (slash) {
		if (bh_parse_u64(number, 0, 65535, &value)) {
			return -EINVAL;
		}
		filter->has_port = true;
		filter->port = (uint16_t)value;
	}
	return 0;
}

static bool port_matches(const struct cli_flow_filter *filter, const json_t *event)
{
	return bh_json_u64_or(event, "dport", 65536) == filter->port ||
	       bh_json_u64_or(event, "sport", 65536) == filter->port ||
	       bh_json_u64_or(event, "icmp_type", 65536) == filter->port;
}

bool cli_flow_filter_match(const struct cli_flow_filter *filter, const json_t *event)
{
	if (filter->has_proto) {
		BH_FREE char *proto = cli_json_text(json_object_get(event, "proto"));

		if (strcmp(proto, filter->proto) != 0) {
			return false;
		}
	}
	if (filter->has_port && !port_matches(filter, event)) {
		return false;
	}
	return !filter->address || !strcmp(bh_json_str_or(event, "src", ""), filter->address) ||
	       !strcmp(bh_json_str_or(event, "dst", ""), filter->address);
}
