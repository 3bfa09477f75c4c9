/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of flows. A flow has few: they are looked for one by one. */
#include "gate/detect/vars.h"

#include "base/counter.h"
#include "base/util.h"
#include "gate/output/jw.h"

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

/* The number a flowint speaks of: its own or another's; false: that one is not set. */
static bool operand(const struct gate_vars *vars, const struct gate_flowint *fi, uint32_t *ret)
{
	const struct gate_var_int *other;

	*ret = fi->value;
	if (!fi->value_is_name) {
		return true;
	}
	other = find_int(vars, fi->value);
	*ret = other ? other->value : 0;
	return other != NULL;
}

bool gate_vars_test_int(const struct gate_vars *vars, const struct gate_flowint *fi)
{
	const struct gate_var_int *var = find_int(vars, fi->name);
	struct gate_test test = {.op = fi->op};
	uint32_t value;

	if (fi->cmd == GATE_INT_ISSET || fi->cmd == GATE_INT_ISNOTSET) {
		return (var != NULL) == (fi->cmd == GATE_INT_ISSET);
	}
	if (!var || !operand(vars, fi, &value)) {
		return false;
	}
	test.a = value;
	return gate_test_holds(&test, var->value);
}

void gate_vars_change_int(struct gate_flow *flow, const struct gate_flowint *fi)
{
	struct gate_vars *vars = gate_vars_of(flow);
	struct gate_var_int *var = find_int(vars, fi->name);
	uint32_t value;

	if (!operand(vars, fi, &value)) {
		return;
	}
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

void gate_vars_log(const struct gate_vars *vars, struct gate_names *names, struct gate_jw *jw)
{
	if (!vars || (!vars->bit_count && !vars->int_count)) {
		return;
	}
	gate_jw_object(jw, "metadata");
	if (vars->bit_count) {
		gate_jw_array(jw, "flowbits");
		for (int i = 0; i < vars->bit_count; i++) {
			gate_jw_text(jw, NULL, gate_names_text(names, (uint32_t)vars->bits[i]));
		}
		gate_jw_end(jw);
	}
	if (vars->int_count) {
		gate_jw_object(jw, "flowints");
		for (int i = 0; i < vars->int_count; i++) {
			gate_jw_uint(jw, gate_names_text(names, vars->ints[i].name),
				     vars->ints[i].value);
		}
		gate_jw_end(jw);
	}
	gate_jw_end(jw);
}
