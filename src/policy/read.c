/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of single values, with errors that say what was expected. */
#include "policy/parse.h"

#include "model/id.h"

#include <errno.h>
#include <stdarg.h>
#include <strings.h>

int policy_fail(const struct policy_reading *rd, const struct yaml_tree_node *node, const char *fmt,
		...)
{
	char text[BH_DIAG_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return bh_diag_at(rd->diag, -EINVAL, rd->file, node->line, node->column, "%s", text);
}

static bool is_null(const struct yaml_tree_node *node)
{
	return node->kind == YAML_TEXT && !node->quoted &&
	       (!*node->text || !strcmp(node->text, "~") || !strcasecmp(node->text, "null"));
}

static const char *found(const struct yaml_tree_node *node)
{
	if (is_null(node)) {
		return "nothing";
	}
	return node->kind == YAML_MAP ? "a mapping" : node->kind == YAML_LIST ? "a list" : "text";
}

/* "a, b or c" */
static void join(const char *const *words, struct bh_wbuf *w)
{
	for (size_t i = 0; words[i]; i++) {
		bh_wbuf_printf(w, "%s%s", !i ? "" : words[i + 1] ? ", " : " or ", words[i]);
	}
}

static int fail_unknown(const struct policy_reading *rd, const struct yaml_tree_node *key,
			const char *what, const char *const *keys)
{
	char buf[128];
	struct bh_wbuf w;
	const char *advice = policy_suggest(key->text, keys, buf, sizeof(buf));
	int r;

	bh_wbuf_init(&w, 0);
	join(keys, &w);
	r = policy_fail(rd, key, "unknown key \"%.64s\" in %s%s%s; expected %s", key->text, what,
			advice ? ": " : "", advice ? advice : "", bh_wbuf_cstr(&w));
	bh_wbuf_done(&w);
	return r;
}

int policy_need_map(const struct policy_reading *rd, const struct yaml_tree_node *node,
		    const char *what, const char *const *keys)
{
	if (node->kind != YAML_MAP) {
		return policy_fail(rd, node, "expected %s to be a mapping, found %s", what,
				   found(node));
	}
	for (const struct yaml_tree_node *c = node->first; c && keys; c = c->next) {
		bool known = false;

		for (size_t i = 0; keys[i] && !known; i++) {
			known = !strcmp(keys[i], c->key->text);
		}
		if (!known) {
			return fail_unknown(rd, c->key, what, keys);
		}
	}
	return 0;
}

int policy_need_list(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *what, size_t min)
{
	if (node->kind != YAML_LIST) {
		return policy_fail(rd, node, "expected %s to be a list, found %s", what,
				   found(node));
	}
	if (node->count < min) {
		return policy_fail(rd, node, "expected at least one item in %s", what);
	}
	return 0;
}

int policy_need_text(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *what)
{
	if (node->kind != YAML_TEXT || is_null(node)) {
		return policy_fail(rd, node, "expected %s, found %s", what, found(node));
	}
	return 0;
}

const struct yaml_tree_node *policy_member(const struct yaml_tree_node *map, const char *key)
{
	for (const struct yaml_tree_node *c = map->first; c; c = c->next) {
		if (!strcmp(c->key->text, key)) {
			return c;
		}
	}
	return NULL;
}

int policy_read_name(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *what, const char **ret_name)
{
	int r = policy_need_text(rd, node, what);

	if (r) {
		return r;
	}
	if (!bh_name_valid(node->text)) {
		return policy_fail(
			rd, node,
			"\"%.64s\" is no name for %s: expected at most 63 of a-z, 0-9, '-' "
			"and '.', with a letter or digit first and last",
			node->text, what);
	}
	*ret_name = policy_arena_strdup(rd->arena, node->text);
	return 0;
}

int policy_read_bool(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     const char *what, bool *ret)
{
	if (node->kind == YAML_TEXT && !node->quoted) {
		*ret = !strcmp(node->text, "true");
		if (*ret || !strcmp(node->text, "false")) {
			return 0;
		}
	}
	return policy_fail(rd, node, "expected %s to be true or false", what);
}

int policy_read_cidr(const struct policy_reading *rd, const struct yaml_tree_node *node,
		     struct policy_cidr *ret)
{
	int r = policy_need_text(rd, node, "an address or prefix such as 10.0.0.0/8 or fd00::/8");

	if (r) {
		return r;
	}
	r = bh_cidr_parse(node->text, ret->addr, &ret->bits);
	if (r == -ERANGE) {
		return policy_fail(
			rd, node,
			"\"%.64s\" has bits set behind its prefix length; expected the first "
			"address of the network, or the address alone",
			node->text);
	}
	if (r) {
		return policy_fail(
			rd, node,
			"\"%.64s\" is no address or prefix; expected one such as 10.0.0.0/8, "
			"192.168.1.10 or fd00::/8",
			node->text);
	}
	return 0;
}

int policy_read_port_range(const struct policy_reading *rd, const struct yaml_tree_node *node,
			   const char *text, struct policy_port *port)
{
	char first[16];
	const char *dash = strchr(text, '-');
	size_t n = dash ? (size_t)(dash - text) : strlen(text);
	uint64_t a = 0;
	uint64_t b = 0;
	bool good = n < sizeof(first);

	if (good) {
		memcpy(first, text, n);
		first[n] = '\0';
		good = !bh_parse_u64(first, 0, UINT16_MAX, &a);
		b = a;
	}
	if (good && dash) {
		good = !bh_parse_u64(dash + 1, 0, UINT16_MAX, &b);
	}
	if (!good) {
		return policy_fail(rd, node,
				   "\"%.64s\" is no port; expected 0 to 65535 or a range such as "
				   "\"8000-8100\"",
				   text);
	}
	if (b < a) {
		return policy_fail(rd, node, "port range %.64s ends before it starts", text);
	}
	port->first = (uint16_t)a;
	port->last = (uint16_t)b;
	port->whole = a == 0 && b == UINT16_MAX;
	return 0;
}

int policy_read_tenant(const struct policy_reading *rd, const struct yaml_tree_node *metadata,
		       const struct yaml_tree_node *root, const char **ret_tenant)
{
	const struct yaml_tree_node *node = metadata ? policy_member(metadata, "tenant") : NULL;

	if (node) {
		return policy_read_name(rd, node, "a tenant", ret_tenant);
	}
	if (!rd->default_tenant) {
		return policy_fail(rd, metadata ? metadata : root,
				   "expected `tenant` in metadata: whose policy this is");
	}
	*ret_tenant = policy_arena_strdup(rd->arena, rd->default_tenant);
	return 0;
}
