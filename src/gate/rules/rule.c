/* SPDX-License-Identifier: Apache-2.0 */
/* What a rule owns and the comparisons that need nothing else. */
#include "gate/rules/reading.h"

bool gate_test_holds(const struct gate_test *test, uint64_t value)
{
	switch (test->op) {
	case GATE_EQ:
		return value == test->a;
	case GATE_NE:
		return value != test->a;
	case GATE_LT:
		return value < test->a;
	case GATE_LE:
		return value <= test->a;
	case GATE_GT:
		return value > test->a;
	case GATE_GE:
		return value >= test->a;
	case GATE_RANGE:
		return value > test->a && value < test->b;
	case GATE_NOT_RANGE:
		return value <= test->a || value >= test->b;
	case GATE_MASK:
		return (value & test->a) == test->b;
	case GATE_NOT_MASK:
		return (value & test->a) != test->b;
	}
	return false;
}

void gate_transform_done(struct gate_transform *transform)
{
	free(transform->text);
	transform->text = NULL;
}

static void dataset_done(struct gate_dataset *set)
{
	free(set->name);
	free(set->load);
	free(set->state);
	free(set->value_key);
	free(set->array_key);
	free(set->context_key);
}

void gate_match_done(struct gate_match *match)
{
	switch (match->kind) {
	case GATE_M_CONTENT:
		free(match->content.bytes);
		free(match->content.replace);
		break;
	case GATE_M_PCRE:
		free(match->pcre.pattern);
		bh_vec_foreach (capture, &match->pcre.captures) {
			free(capture->name);
		}
		bh_vec_done(&match->pcre.captures);
		break;
	case GATE_M_DATASET:
		dataset_done(&match->dataset);
		break;
	case GATE_M_FLOWBITS:
		bh_vec_done(&match->bits.names);
		break;
	case GATE_M_FLOWVAR:
		free(match->textvar.bytes);
		break;
	case GATE_M_FILE:
		free(match->file.hashes);
		break;
	case GATE_M_DCE_OPNUM:
		bh_vec_done(&match->dce_opnum.in);
		break;
	case GATE_M_IPOPTS:
	case GATE_M_FRAGBITS:
	case GATE_M_ASN1:
	case GATE_M_RPC:
	case GATE_M_HOOK:
	case GATE_M_STATE:
		free(match->other.text);
		break;
	default:
		break;
	}
}

#define FREE_MATCHES(v)                                                                            \
	do {                                                                                       \
		bh_vec_foreach (m_, v) {                                                           \
			gate_match_done(m_);                                                       \
		}                                                                                  \
		bh_vec_done(v);                                                                    \
	} while (0)

static void list_done(struct gate_rule_list *list)
{
	bh_vec_foreach (transform, &list->transforms) {
		gate_transform_done(transform);
	}
	bh_vec_done(&list->transforms);
	FREE_MATCHES(&list->matches);
}

void gate_rule_free(struct gate_rule *rule)
{
	if (!rule) {
		return;
	}
	bh_vec_foreach (list, &rule->lists) {
		list_done(list);
	}
	bh_vec_done(&rule->lists);
	FREE_MATCHES(&rule->packet);
	FREE_MATCHES(&rule->tx);
	FREE_MATCHES(&rule->post);
	FREE_MATCHES(&rule->base64_data);
	bh_vec_foreach (reference, &rule->references) {
		free(reference->value);
	}
	bh_vec_done(&rule->references);
	bh_vec_foreach (metadata, &rule->metadata) {
		free(metadata->key);
		free(metadata->value);
	}
	bh_vec_done(&rule->metadata);
	free(rule->msg);
	free(rule->text);
	free(rule);
}
