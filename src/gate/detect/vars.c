/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of flows and what expressions captured: few, they are looked for one by one. */
#include "gate/detect/vars.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/output/jw.h"

BH_COUNTER(gate_captures_full, "captures of expressions that a packet has no more room for");
BH_COUNTER(gate_vars_full, "flowbits and flowints that a flow has no more room for");

struct gate_vars *gate_vars_of(struct gate_flow *flow)
{
	if (!flow->vars) {
		flow->vars = bh_alloc(sizeof(*flow->vars));
	}
	return flow->vars;
}

void gate_vars_free(struct gate_vars *vars)
{
	if (vars) {
		free(vars->bits);
		free(vars->ints);
		free(vars->texts);
		free(vars);
	}
}

static int find_bit(const struct gate_vars *vars, uint64_t bit)
{
	for (int i = 0; vars && i < vars->bit_count; i++) {
		if (vars->bits[i] == bit) {
			return i;
		}
	}
	return -1;
}

static uint64_t bit_of(const struct gate_flowbits *bits, size_t i, uint64_t tx)
{
	uint64_t scope = bits->track == GATE_BITS_TX ? (tx + 1) << 32 : 0;

	return bits->names.items[i] | scope;
}

bool gate_vars_test_bits(const struct gate_vars *vars, const struct gate_flowbits *bits,
			 uint64_t tx)
{
	bool want = bits->cmd == GATE_BITS_ISSET;

	for (size_t i = 0; i < bits->names.count; i++) {
		bool holds = (find_bit(vars, bit_of(bits, i, tx)) >= 0) == want;

		if (holds == bits->any) {
			return holds;
		}
	}
	return !bits->any;
}

static void set_bit(struct gate_vars *vars, uint64_t bit)
{
	if (vars->bit_count == vars->bit_capacity) {
		if (vars->bit_count >= GATE_VARS_BITS_MAX) {
			bh_counter_add(&gate_vars_full, 1);
			return;
		}
		vars->bit_capacity = vars->bit_capacity ? vars->bit_capacity * 2 : 8;
		vars->bits = bh_realloc_array(vars->bits, vars->bit_capacity, sizeof(*vars->bits));
	}
	vars->bits[vars->bit_count++] = bit;
}

void gate_vars_change_bits(struct gate_flow *flow, const struct gate_flowbits *bits, uint64_t tx)
{
	struct gate_vars *vars = gate_vars_of(flow);

	for (size_t i = 0; i < bits->names.count; i++) {
		uint64_t bit = bit_of(bits, i, tx);
		int at = find_bit(vars, bit);

		if (at < 0 && bits->cmd != GATE_BITS_UNSET) {
			set_bit(vars, bit);
		} else if (at >= 0 && bits->cmd != GATE_BITS_SET) {
			vars->bits[at] = vars->bits[--vars->bit_count];
		}
	}
}

static struct gate_var_int *find_int(const struct gate_vars *vars, uint32_t name)
{
	for (int i = 0; vars && i < vars->int_count; i++) {
		if (vars->ints[i].name == name) {
			return &vars->ints[i];
		}
	}
	return NULL;
}

/* The number a flowint speaks of: its own or another's, which is 0 as long as it is not set. */
static uint32_t operand(const struct gate_vars *vars, const struct gate_flowint *fi)
{
	const struct gate_var_int *other;

	if (!fi->value_is_name) {
		return fi->value;
	}
	other = find_int(vars, fi->value);
	return other ? other->value : 0;
}

bool gate_vars_test_int(const struct gate_vars *vars, const struct gate_flowint *fi)
{
	const struct gate_var_int *var = find_int(vars, fi->name);
	struct gate_test test = {.op = fi->op, .a = operand(vars, fi)};

	if (fi->cmd == GATE_INT_ISSET || fi->cmd == GATE_INT_ISNOTSET) {
		return (var != NULL) == (fi->cmd == GATE_INT_ISSET);
	}
	return var && gate_test_holds(&test, var->value);
}

void gate_vars_change_int(struct gate_flow *flow, const struct gate_flowint *fi)
{
	struct gate_vars *vars = gate_vars_of(flow);
	struct gate_var_int *var = find_int(vars, fi->name);
	uint32_t value = operand(vars, fi);

	if (!var) {
		if (vars->int_count >= GATE_VARS_INTS_MAX) {
			bh_counter_add(&gate_vars_full, 1);
			return;
		}
		if (vars->int_count == vars->int_capacity) {
			vars->int_capacity = vars->int_capacity ? vars->int_capacity * 2 : 8;
			vars->ints = bh_realloc_array(vars->ints, vars->int_capacity,
						      sizeof(*vars->ints));
		}
		var = &vars->ints[vars->int_count++];
		*var = (struct gate_var_int){.name = fi->name};
	}
	if (fi->cmd == GATE_INT_SET) {
		var->value = value;
	} else if (fi->cmd == GATE_INT_ADD) {
		var->value += value;
	} else {
		var->value -= value;
	}
}

/* ---- captures ---- */

void gate_captures_put(struct gate_captures *captures, const struct gate_pcre *pcre,
		       const struct gate_pcre_capture *what, const uint8_t *bytes, uint32_t size)
{
	struct gate_capture *c = captures->items;
	struct gate_capture *end = c + captures->count;

	while (c < end && (c->pcre != pcre || c->what != what)) {
		c++;
	}
	if (c == end && captures->count == GATE_CAPTURES_MAX) {
		bh_counter_add(&gate_captures_full, 1);
		return;
	}
	captures->count += c == end;
	c->pcre = pcre;
	c->what = what;
	c->rule = NULL;
	c->size = (uint16_t)(size < GATE_CAPTURE_MAX ? size : GATE_CAPTURE_MAX);
	memcpy(c->bytes, bytes, c->size);
}

static const struct gate_var_text *find_text(const struct gate_vars *vars, uint32_t name)
{
	for (int i = 0; vars && i < vars->text_count; i++) {
		if (vars->texts[i].name == name) {
			return &vars->texts[i];
		}
	}
	return NULL;
}

static void set_text(struct gate_flow *flow, const struct gate_capture *c)
{
	struct gate_vars *vars = gate_vars_of(flow);
	const struct gate_var_text *found = find_text(vars, c->what->number);
	uint16_t at = found ? (uint16_t)(found - vars->texts) : vars->text_count;

	if (at == vars->text_capacity) {
		if (at == GATE_VARS_TEXTS_MAX) {
			bh_counter_add(&gate_vars_full, 1);
			return;
		}
		vars->text_capacity = at ? at * 2 : 2;
		vars->texts =
			bh_realloc_array(vars->texts, vars->text_capacity, sizeof(*vars->texts));
	}
	vars->text_count += !found;
	vars->texts[at].name = c->what->number;
	vars->texts[at].size = c->size;
	memcpy(vars->texts[at].bytes, c->bytes, c->size);
}

void gate_captures_keep(const struct gate_captures *taken, const struct gate_rule *rule,
			struct gate_flow *flow, struct gate_captures *packet)
{
	for (uint32_t i = 0; i < taken->count; i++) {
		const struct gate_capture *c = &taken->items[i];

		if (c->what->scope == GATE_CAPTURE_FLOW) {
			if (flow) {
				set_text(flow, c);
			}
		} else if (packet->count == GATE_CAPTURES_MAX) {
			bh_counter_add(&gate_captures_full, 1);
		} else {
			packet->items[packet->count] = *c;
			packet->items[packet->count++].rule = rule;
		}
	}
}

static bool has_text(const uint8_t *bytes, size_t size, const struct gate_textvar *var)
{
	return memmem(bytes, size, var->bytes, var->size) != NULL;
}

bool gate_vars_test_text(const struct gate_vars *vars, const struct gate_captures *packet,
			 const struct gate_textvar *var)
{
	if (var->of_flow) {
		const struct gate_var_text *text = find_text(vars, var->name);

		return text && has_text(text->bytes, text->size, var);
	}
	for (uint32_t i = 0; i < packet->count; i++) {
		const struct gate_capture *c = &packet->items[i];

		if (c->what->scope == GATE_CAPTURE_PKT && c->what->number == var->name &&
		    has_text(c->bytes, c->size, var)) {
			return true;
		}
	}
	return false;
}

/* ---- records ---- */

static void log_bits(const struct gate_vars *vars, struct gate_names *names, struct gate_jw *jw)
{
	if (!vars->bit_count) {
		return;
	}
	gate_jw_array(jw, "flowbits");
	for (int i = 0; i < vars->bit_count; i++) {
		gate_jw_text(jw, NULL, gate_names_text(names, (uint32_t)vars->bits[i]));
	}
	gate_jw_end(jw);
}

static void log_ints(const struct gate_vars *vars, struct gate_names *names, struct gate_jw *jw)
{
	if (!vars->int_count) {
		return;
	}
	gate_jw_object(jw, "flowints");
	for (int i = 0; i < vars->int_count; i++) {
		gate_jw_uint(jw, gate_names_text(names, vars->ints[i].name), vars->ints[i].value);
	}
	gate_jw_end(jw);
}

static void log_texts(const struct gate_vars *vars, struct gate_names *names, struct gate_jw *jw)
{
	if (!vars->text_count) {
		return;
	}
	gate_jw_array(jw, "flowvars");
	for (int i = 0; i < vars->text_count; i++) {
		const struct gate_var_text *text = &vars->texts[i];

		gate_jw_object(jw, NULL);
		gate_jw_bytes(jw, gate_names_text(names, text->name), text->bytes, text->size);
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}

/* "pkt:key" with "pkt:value" behind it is one variable, whose name was captured. */
static void log_packet(const struct gate_captures *captures, struct gate_jw *jw)
{
	const struct gate_capture *key = NULL;

	gate_jw_array(jw, "pktvars");
	for (uint32_t i = 0; i < captures->count; i++) {
		const struct gate_capture *c = &captures->items[i];
		char name[GATE_CAPTURE_MAX + 1];

		if (c->what->scope != GATE_CAPTURE_PKT) {
			continue;
		}
		if (!strcmp(c->what->name, "key")) {
			key = c;
			continue;
		}
		snprintf(name, sizeof(name), "%s", c->what->name);
		if (key && key->pcre == c->pcre && !strcmp(name, "value")) {
			memcpy(name, key->bytes, key->size);
			name[key->size] = '\0';
		}
		gate_jw_object(jw, NULL);
		gate_jw_bytes(jw, name, c->bytes, c->size);
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}

static bool has_scope(const struct gate_captures *captures, int scope)
{
	for (uint32_t i = 0; captures && i < captures->count; i++) {
		if ((int)captures->items[i].what->scope == scope) {
			return true;
		}
	}
	return false;
}

void gate_vars_log(const struct gate_vars *vars, const struct gate_captures *captures,
		   struct gate_names *names, struct gate_jw *jw)
{
	bool of_packet = has_scope(captures, GATE_CAPTURE_PKT);

	if (!of_packet && (!vars || (!vars->bit_count && !vars->int_count && !vars->text_count))) {
		return;
	}
	gate_jw_object(jw, "metadata");
	if (vars) {
		log_bits(vars, names, jw);
		log_ints(vars, names, jw);
		log_texts(vars, names, jw);
	}
	if (of_packet) {
		log_packet(captures, jw);
	}
	gate_jw_end(jw);
}

void gate_captures_log(const struct gate_captures *captures, const struct gate_rule *rule,
		       struct gate_jw *jw)
{
	bool open = false;

	for (uint32_t i = 0; captures && i < captures->count; i++) {
		const struct gate_capture *c = &captures->items[i];

		if (c->what->scope != GATE_CAPTURE_ALERT || c->rule != rule) {
			continue;
		}
		if (!open) {
			gate_jw_object(jw, "context");
			open = true;
		}
		gate_jw_bytes(jw, c->what->name, c->bytes, c->size);
	}
	if (open) {
		gate_jw_end(jw);
	}
}
