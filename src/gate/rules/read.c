/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule files from the first to the last line: each rule is read by itself, and one that can't be
 * loaded leaves a refusal with its place. See reading.h for how the files of this room work
 * together.
 */
#include "base/file.h"
#include "gate/config.h"
#include "gate/rules/reading.h"

#include <stdarg.h>

void gate_refuse_put(struct gate_reading *r, size_t at, const char *fmt, ...)
{
	va_list ap;

	if (!*r->reason) {
		va_start(ap, fmt);
		vsnprintf(r->reason, sizeof(r->reason), fmt, ap);
		va_end(ap);
		r->reason_at = at;
	}
}

struct gate_rule_files *gate_rules_new(void)
{
	struct gate_rule_files *files = bh_alloc(sizeof(*files));

	files->own = gate_own_new();
	return files;
}

void gate_rules_free(struct gate_rule_files *files)
{
	if (!files) {
		return;
	}
	gate_shared_drop_rules(files->shared, files->rules.items, files->rules.count);
	bh_vec_foreach (refusal, &files->refusals) {
		free(refusal->file);
		free(refusal->reason);
	}
	bh_vec_done(&files->rules);
	bh_vec_done(&files->refusals);
	bh_vec_done(&files->limits);
	gate_own_free(files->own);
	gate_shared_release(files->shared);
	free(files);
}

static void reading_done(struct gate_reading *r)
{
	bh_vec_foreach (transform, &r->transforms) {
		gate_transform_done(transform);
	}
	bh_vec_foreach (var, &r->vars) {
		free(*var);
	}
	bh_vec_done(&r->transforms);
	bh_vec_done(&r->vars);
	bh_vec_done(&r->list_at);
	bh_vec_done(&r->once);
	if (r->rule) {
		gate_shared_drop_rules(r->shared, &r->rule, 1);
	}
}

/* The number of a rule that was not read so far. */
static uint32_t sid_in(const char *text)
{
	const char *at = text ? strstr(text, "sid:") : NULL;
	unsigned long sid = at ? strtoul(at + 4, NULL, 10) : 0;

	return sid <= UINT32_MAX ? (uint32_t)sid : 0;
}

static void refuse_rule(struct gate_reading *r)
{
	struct gate_rule_refusal *refusal = bh_vec_push(&r->files->refusals);

	refusal->file = bh_strdup(r->file);
	gate_rule_text_place(r->text, r->reason_at, &refusal->line, &refusal->column);
	refusal->sid = r->rule->sid ? r->rule->sid : sid_in(r->text->text);
	refusal->reason = bh_strdup(r->reason);
}

/* A number that is there already: the higher revision stays, in the place of the first. */
static int keep_rule(struct gate_reading *r)
{
	struct gate_rule *rule = r->rule;
	size_t index = gate_own_sid(r->files->own, rule->gid, rule->sid);

	if (!index) {
		*bh_vec_push(&r->files->rules) = bh_steal(&r->rule);
		gate_own_keep_sid(r->files->own, rule->gid, rule->sid, r->files->rules.count);
		return 0;
	}
	struct gate_rule **old = &r->files->rules.items[index - 1];

	if ((*old)->rev >= rule->rev) {
		return gate_refuse_at(r, 0, "sid %u is taken by a rule of line %u", rule->sid,
				      (*old)->line);
	}
	gate_shared_drop_rules(r->shared, old, 1);
	*old = bh_steal(&r->rule);
	return 0;
}

/* A rule stays as it is now: what its arrays have in reserve goes. */
#define SHRINK(v)                                                                                  \
	do {                                                                                       \
		if ((v)->count < (v)->capacity) {                                                  \
			(v)->items =                                                               \
				bh_realloc_array((v)->items, (v)->count, sizeof(*(v)->items));     \
			(v)->capacity = (v)->count ? (v)->count : 1;                               \
		}                                                                                  \
	} while (0)

static void shrink(struct gate_rule *rule)
{
	SHRINK(&rule->lists);
	bh_vec_foreach (list, &rule->lists) {
		SHRINK(&list->transforms);
		SHRINK(&list->matches);
	}
	SHRINK(&rule->packet);
	SHRINK(&rule->tx);
	SHRINK(&rule->post);
	SHRINK(&rule->base64_data);
	SHRINK(&rule->references);
	SHRINK(&rule->metadata);
}

static int read_parts(struct gate_reading *r, const struct gate_rule_text *text)
{
	BH_FREE char *buf = bh_strdup(text->text);
	size_t options = 0;
	int err;

	if (text->size > GATE_RULE_SIZE_MAX) {
		return gate_refuse_at(r, 0, "the rule is longer than %u bytes", GATE_RULE_SIZE_MAX);
	}
	if (strlen(text->text) != text->size) {
		return gate_refuse_at(r, strlen(text->text), "a NUL byte");
	}
	err = gate_read_header(r, buf, &options);
	err = err ? err : gate_read_options(r, buf, options);
	return err ? err : gate_rule_validate(r);
}

/* From its text; false: it is refused. */
static bool parse_rule(struct gate_reading *r, struct gate_rule_text *text)
{
	r->rule = bh_alloc(sizeof(*r->rule));
	r->rule->gid = 1;
	r->rule->priority = 3;
	r->rule->file = r->file;
	r->rule->line = text->line;
	if (read_parts(r, text)) {
		return false;
	}
	r->rule->text = bh_steal(&text->text);
	shrink(r->rule);
	if (!r->alone) {
		gate_shared_keep_rule(r->shared, r->rule);
	}
	return true;
}

static void read_rule(struct gate_rule_files *files, const struct gate_config *config,
		      struct gate_names *names, const char *file, struct gate_rule_text *text)
{
	static const struct gate_match_ref none = {.list = GATE_LIST_NONE};
	struct gate_reading r = {
		.files = files,
		.shared = files->shared,
		.config = config,
		.names = names,
		.file = file,
		.text = text,
		.rule = gate_shared_rule(files->shared, file, text->line, text->text),
		.list = GATE_LIST_PAYLOAD,
		.payload = GATE_LIST_NONE,
		.last_content = none,
		.last_match = none,
		.last_anchor = none,
	};

	if ((!r.rule && !parse_rule(&r, text)) || keep_rule(&r)) {
		refuse_rule(&r);
	}
	reading_done(&r);
}

/* Those that are refused count too: each leaves its reason. */
static bool has_room(struct gate_rule_files *files, const struct gate_config *config,
		     const char *file, uint32_t line)
{
	struct gate_rule_refusal *refusal;
	uint64_t most = config ? config->rules_max : 0;

	if (!most || files->rules.count + files->refusals.count < most) {
		return true;
	}
	refusal = bh_vec_push(&files->refusals);
	refusal->file = bh_strdup(file);
	refusal->line = line;
	refusal->column = 1;
	refusal->reason = bh_asprintf("from here on nothing is read: detect.max-rules lets a rule "
				      "set have %llu",
				      (unsigned long long)most);
	return false;
}

int gate_rules_read_text(struct gate_rule_files *files, const struct gate_config *config,
			 struct gate_names *names, const char *file, struct gate_view text,
			 struct bh_diag *diag)
{
	struct gate_rule_text rule;
	const char *kept;
	uint32_t line = 0;
	size_t pos = 0;
	bool more = true;
	int err = 0;

	if (!files->shared) {
		err = gate_shared_take(gate_names_pool(names), config, &files->shared, diag);
	}
	if (err) {
		return err;
	}
	gate_own_digest(files->own, gate_shared_key(files->shared), 32);
	gate_own_digest(files->own, text.data, text.size);
	files->config = config;
	gate_shared_read_begin(files->shared);
	kept = gate_shared_text(files->shared, file);
	while (more && gate_lex_next((const char *)text.data, text.size, &pos, &line,
				     &files->disabled, &rule)) {
		more = has_room(files, config, kept, rule.line);
		if (more) {
			read_rule(files, config, names, kept, &rule);
		}
		gate_rule_text_done(&rule);
	}
	gate_shared_read_end(files->shared);
	gate_own_digest_get(files->own, files->hash);
	return 0;
}

int gate_rules_read(struct gate_rule_files *files, const struct gate_config *config,
		    struct gate_names *names, const char *path, struct bh_diag *diag)
{
	BH_FREE char *data = NULL;
	struct gate_view text;
	size_t size = 0;
	int err;

	err = bh_file_read(path, GATE_RULE_FILE_MAX, &data, &size, diag);
	text = (struct gate_view){(const uint8_t *)data, (uint32_t)size};
	return err ? err : gate_rules_read_text(files, config, names, path, text, diag);
}
