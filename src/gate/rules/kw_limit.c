/* SPDX-License-Identifier: Apache-2.0 */
/* How often a rule alerts: threshold and detection_filter in the rule, and threshold.config. */
#include "base/file.h"
#include "gate/rules/reading.h"

#define THRESHOLD_FILE_MAX (4u << 20)
#define LIMITS_MAX	   (1u << 20) /* of all rules */
#define WIDE_LINES_MAX	   4096	      /* that every rule is held against */

static const char *const types[] = {"", "limit", "threshold", "both", "", "", "backoff", NULL};
static const char *const tracks[] = {"",	"by_src",  "by_dst",	"by_both",
				     "by_rule", "by_flow", "by_either", NULL};

/* One word and its value. 0, or -EINVAL. */
static int limit_word(const char *word, char *value, struct gate_threshold *t)
{
	static const char *const ports[] = {"", "src_port", "dst_port", NULL};
	uint32_t *number = NULL;
	int which;
	uint64_t v;

	if (!*value) {
		return -EINVAL;
	}
	if (!strcmp(word, "track")) {
		which = gate_word_index(value, tracks);
		t->track = which < 0 ? t->track : (typeof(t->track))which;
		return which < 0 ? -EINVAL : 0;
	}
	if (!strcmp(word, "type")) {
		which = gate_word_index(value, types);
		t->type = which < 0 ? t->type : (typeof(t->type))which;
		return which < 0 ? -EINVAL : 0;
	}
	if (!strcmp(word, "unique_on")) {
		t->unique = gate_word_index(value, ports);
		return t->unique < 0 ? -EINVAL : 0;
	}
	number = !strcmp(word, "count")	       ? &t->count
		 : !strcmp(word, "seconds")    ? &t->seconds
		 : !strcmp(word, "multiplier") ? &t->multiplier
		 : !strcmp(word, "timeout")    ? &t->timeout
					       : NULL;
	if (!number || gate_number_read(value, UINT32_MAX, &v) || (!v && number != &t->timeout)) {
		return -EINVAL;
	}
	*number = (uint32_t)v;
	return 0;
}

/* "type limit, track by_src, count 1, seconds 60"; what is wrong, or NULL. */
static const char *limit_words(char *rest, struct gate_threshold *t)
{
	char *part;

	while ((part = gate_part(&rest))) {
		const char *word = gate_word(&part);

		if (limit_word(word, gate_trim(part), t)) {
			return word;
		}
	}
	return NULL;
}

/* What is missing, or NULL. */
static const char *limit_missing(const struct gate_threshold *t)
{
	if (t->type == GATE_TH_NONE) {
		return "type";
	}
	if (t->track == GATE_TRACK_NONE || t->track == GATE_TRACK_EITHER) {
		return "track";
	}
	if (!t->count) {
		return "count";
	}
	if (t->type == GATE_TH_BACKOFF) {
		return t->track != GATE_TRACK_FLOW ? "track by_flow"
		       : t->multiplier		   ? NULL
						   : "multiplier";
	}
	return t->seconds ? NULL : "seconds";
}

static int limit_set(struct gate_reading *r, struct gate_threshold *t)
{
	const char *missing = limit_missing(t);

	if (missing) {
		return gate_refuse(r, "%s: %s is expected", r->option->name, missing);
	}
	if (r->rule->threshold.type != GATE_TH_NONE) {
		return gate_refuse_at(r, r->option->at,
				      "%s: there is one threshold or detection_filter in a rule",
				      r->option->name);
	}
	r->rule->threshold = *t;
	return 0;
}

/* Suricata reads no further when it has all it needs: "track by_src reference:url,x;" loads. */
static const char *threshold_words(char *rest, struct gate_threshold *t)
{
	const char *wrong = NULL;
	char *part;

	while (!wrong && limit_missing(t) && (part = gate_part(&rest))) {
		char *word = gate_word(&part);

		wrong = limit_word(word, gate_word(&part), t) ? word : NULL;
	}
	return wrong;
}

int gate_kw_threshold(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_threshold t = {};
	const char *wrong = threshold_words(o->value, &t);

	if (wrong || t.unique || t.timeout) {
		return gate_refuse(r, "threshold: %s is not understood", wrong ? wrong : "a word");
	}
	return limit_set(r, &t);
}

static bool has_ports(const struct gate_rule *rule)
{
	switch (rule->proto) {
	case GATE_RULE_TCP:
	case GATE_RULE_TCP_PKT:
	case GATE_RULE_TCP_STREAM:
	case GATE_RULE_UDP:
	case GATE_RULE_SCTP:
	case GATE_RULE_APP:
		return true;
	default:
		return false;
	}
}

int gate_kw_detection_filter(struct gate_reading *r, const struct gate_option *o)
{
	struct gate_threshold t = {};
	const char *wrong = limit_words(o->value, &t);

	if (wrong || t.type != GATE_TH_NONE || t.timeout || t.multiplier) {
		return gate_refuse(r, "detection_filter: %s is not understood",
				   wrong ? wrong : "a word");
	}
	if (t.unique && !has_ports(r->rule)) {
		return gate_refuse(r, "detection_filter: unique_on is for TCP, UDP and SCTP");
	}
	t.type = GATE_TH_DETECTION;
	return limit_set(r, &t);
}

/* ---- threshold.config ---- */

struct line {
	struct gate_rule_files *files;
	struct gate_rule_shared *shared;
	const char *path;
	unsigned int number;
	struct gate_threshold t;
	uint64_t gid, sid;
	unsigned int *wide_lines;
	struct bh_diag *diag;
};

static int line_wrong(const struct line *l, const char *what)
{
	return bh_diag_at(l->diag, -EINVAL, l->path, l->number, 1, "%s is not understood", what);
}

/* Addresses of a suppression; shared by their text. */
static int line_addrs(struct line *l, const char *text)
{
	struct gate_option option = {.name = (char *)"suppress"};
	struct gate_reading r = {
		.shared = l->shared, .config = l->files->config, .option = &option};

	if (gate_read_addrs(&r, text, 0, &l->t.addrs)) {
		return bh_diag_at(l->diag, -EINVAL, l->path, l->number, 1, "%s", r.reason);
	}
	return 0;
}

static int new_action(const char *value, uint8_t *ret)
{
	static const char *const names[] = {"alert", "drop", "pass", "reject", NULL};
	static const uint8_t actions[] = {GATE_ALERT, GATE_DROP, GATE_PASS, GATE_REJECT};
	int which = gate_word_index(value, names);

	if (which < 0) {
		return -EINVAL;
	}
	*ret = actions[which];
	return 0;
}

/* A comma that is not inside brackets ends a part. */
static char *line_part(char **rest)
{
	char *part = *rest;
	int depth = 0;

	if (!part) {
		return NULL;
	}
	for (char *p = part; *p; p++) {
		depth += *p == '[';
		depth -= *p == ']';
		if (*p == ',' && !depth) {
			*p = '\0';
			*rest = p + 1;
			return gate_trim(part);
		}
	}
	*rest = NULL;
	return gate_trim(part);
}

static int line_word(struct line *l, const char *word, char *value)
{
	if (!strcmp(word, "gen_id") || !strcmp(word, "sig_id")) {
		uint64_t *to = *word == 'g' ? &l->gid : &l->sid;

		return gate_number_read(value, UINT32_MAX, to) ? line_wrong(l, value) : 0;
	}
	if (!strcmp(word, "ip")) {
		return line_addrs(l, value);
	}
	if (!strcmp(word, "new_action")) {
		return new_action(value, &l->t.new_action) ? line_wrong(l, value) : 0;
	}
	return limit_word(word, value, &l->t) ? line_wrong(l, word) : 0;
}

static int line_push(const struct line *l, const struct gate_rule *rule)
{
	if (l->files->limits.count == LIMITS_MAX) {
		return bh_diag_at(l->diag, -E2BIG, l->path, l->number, 1,
				  "more than %u thresholds of rules: a line for all rules counts "
				  "for each",
				  LIMITS_MAX);
	}
	*bh_vec_push(&l->files->limits) = (struct gate_rule_limit){
		.rule = rule, .number = (uint32_t)l->files->limits.count, .t = l->t};
	return 0;
}

/* Gives it to the rules that it names; 0 stands for all. */
static int line_apply(const struct line *l)
{
	int err = 0;

	if (l->gid && l->sid) {
		size_t index = gate_own_sid(l->files->own, (uint32_t)l->gid, (uint32_t)l->sid);

		return index ? line_push(l, l->files->rules.items[index - 1]) : 0;
	}
	if (++*l->wide_lines > WIDE_LINES_MAX) {
		return bh_diag_at(l->diag, -E2BIG, l->path, l->number, 1,
				  "more than %u lines that do not name their rule by both numbers",
				  WIDE_LINES_MAX);
	}
	bh_vec_foreach (rule, &l->files->rules) {
		bool same =
			(!l->gid || (*rule)->gid == l->gid) && (!l->sid || (*rule)->sid == l->sid);

		/* for all rules: those with a threshold of their own keep it */
		if (!same || (!l->sid && l->t.type != GATE_TH_SUPPRESS &&
			      (*rule)->threshold.type != GATE_TH_NONE)) {
			continue;
		}
		err = err ? err : line_push(l, *rule);
	}
	return err;
}

static int limit_compare(const void *pa, const void *pb)
{
	const struct gate_rule_limit *a = pa, *b = pb;

	if (a->rule != b->rule) {
		return (uintptr_t)a->rule < (uintptr_t)b->rule ? -1 : 1;
	}
	return a->number < b->number ? -1 : a->number > b->number;
}

const struct gate_rule_limit *gate_rule_limits(const struct gate_rule_files *files,
					       const struct gate_rule *rule, size_t *ret_count)
{
	const struct gate_rule_limit first = {.rule = rule};
	size_t low = 0, high = files->limits.count, end;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (limit_compare(&files->limits.items[mid], &first) < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	for (end = low; end < files->limits.count && files->limits.items[end].rule == rule; end++) {
	}
	*ret_count = end - low;
	return *ret_count ? files->limits.items + low : NULL;
}

static int line_read(struct line *l, char *text)
{
	char *kind = gate_word(&text), *part;
	int err = 0;

	if (!strcmp(kind, "suppress")) {
		l->t.type = GATE_TH_SUPPRESS;
	} else if (!strcmp(kind, "rate_filter")) {
		l->t.type = GATE_TH_RATE;
	} else if (strcmp(kind, "threshold") != 0 && strcmp(kind, "event_filter") != 0) {
		return line_wrong(l, kind);
	}
	while (!err && (part = line_part(&text))) {
		const char *word = gate_word(&part);

		err = line_word(l, word, gate_trim(part));
	}
	if (err) {
		return err;
	}
	if (l->t.type == GATE_TH_SUPPRESS) {
		if ((l->t.track == GATE_TRACK_NONE) != (l->t.addrs == NULL)) {
			return line_wrong(l, "track without ip, or ip without track");
		}
	} else if (limit_missing(&l->t) || (l->t.type == GATE_TH_RATE && !l->t.new_action)) {
		return line_wrong(l, "a line without type, track, count or seconds");
	}
	return line_apply(l);
}

static int lines_read(struct gate_rule_files *files, const char *path, const char *data,
		      size_t size, struct bh_diag *diag)
{
	size_t pos = 0;
	uint32_t line = 0;
	uint64_t disabled = 0;
	unsigned int wide_lines = 0;
	int err = 0;

	while (!err) {
		struct gate_rule_text text;
		struct line l = {.files = files,
				 .shared = files->shared,
				 .path = path,
				 .wide_lines = &wide_lines,
				 .diag = diag};

		if (!gate_lex_next(data, size, &pos, &line, &disabled, &text)) {
			break;
		}
		l.number = text.line;
		err = line_read(&l, gate_trim(text.text));
		gate_rule_text_done(&text);
	}
	return err;
}

int gate_rules_read_thresholds(struct gate_rule_files *files, const char *path,
			       struct bh_diag *diag)
{
	BH_FREE char *data = NULL;
	size_t size;
	int err;

	if (!files->shared) {
		return 0;
	}
	err = bh_file_read(path, THRESHOLD_FILE_MAX, &data, &size, diag);
	if (err) {
		return err;
	}
	gate_own_digest(files->own, data, size);
	gate_own_digest_get(files->own, files->hash);
	gate_shared_read_begin(files->shared);
	err = lines_read(files, path, data, size, diag);
	gate_shared_read_end(files->shared);
	if (files->limits.count) {
		qsort(files->limits.items, files->limits.count, sizeof(*files->limits.items),
		      limit_compare);
	}
	return err;
}
