/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/change/drafts.h"

#include "base/json.h"
#include "base/util.h"

#include <errno.h>

static int take(const struct manager_store_draft *row, void *arg)
{
	struct manager_draft *d = arg;

	*d = (struct manager_draft){.id = row->id,
				    .tenant = bh_strdup(row->tenant),
				    .title = bh_strdup(row->title),
				    .note = bh_strdup(row->note),
				    .author = bh_strdup(row->author),
				    .updated_by = bh_strdup(row->updated_by),
				    .documents = bh_strdup(row->documents),
				    .removes = json_loads(row->removes, 0, NULL),
				    .version = row->version,
				    .base = row->base,
				    .committed = row->committed,
				    .created_ns = row->created_ns,
				    .updated_ns = row->updated_ns};
	return 0;
}

int manager_draft_load(struct manager_db *db, int64_t id, struct manager_draft *ret,
		       struct bh_diag *diag)
{
	memset(ret, 0, sizeof(*ret));
	return manager_store_draft(db, id, take, ret, diag);
}

void manager_draft_done(struct manager_draft *d)
{
	free(d->tenant);
	free(d->title);
	free(d->note);
	free(d->author);
	free(d->updated_by);
	free(d->documents);
	json_decref(d->removes);
	memset(d, 0, sizeof(*d));
}

int manager_draft_save(struct manager_db *db, const struct manager_draft *d, struct bh_diag *diag)
{
	BH_FREE char *removes = json_dumps(d->removes, JSON_COMPACT);
	struct manager_store_draft row = {.id = d->id,
					  .title = d->title,
					  .note = d->note,
					  .version = d->version,
					  .base = d->base,
					  .updated_ns = d->updated_ns,
					  .updated_by = d->updated_by,
					  .committed = d->committed,
					  .documents = d->documents,
					  .removes = removes};

	return manager_store_put_draft(db, &row, diag);
}

static int check_tenants(const struct manager_draft *d, const struct bh_policy_set *set,
			 struct bh_diag *diag)
{
	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		const struct bh_policy *p = bh_policy_set_at(set, i);

		if (strcmp(bh_policy_tenant(p), d->tenant) != 0) {
			return bh_diag_at(diag, -EINVAL, "draft", bh_policy_line(p), 1,
					  "policy %s/%s is not of tenant %s, whose draft this is",
					  bh_policy_tenant(p), bh_policy_name(p), d->tenant);
		}
	}
	for (size_t i = 0; i < bh_policy_set_tenant_count(set); i++) {
		const struct bh_policy_tenant_doc *t = bh_policy_set_tenant_at(set, i);

		if (strcmp(t->name, d->tenant) != 0) {
			return bh_diag_at(diag, -EINVAL, "draft", t->line, 1,
					  "a draft of tenant %s can't make tenant %s", d->tenant,
					  t->name);
		}
	}
	return 0;
}

int manager_draft_parse(const struct manager_draft *d, struct bh_policy_set **ret,
			struct bh_diag *diag)
{
	struct bh_policy_parse_options options = {.file = "draft", .default_tenant = d->tenant};
	int r;

	/* Nothing but removals is fine. */
	if (d->documents[strspn(d->documents, " \t\r\n")] == '\0') {
		*ret = bh_policy_set_new();
		return 0;
	}
	r = bh_policy_parse(d->documents, strlen(d->documents), &options, ret, diag);
	if (r < 0) {
		return r;
	}
	r = check_tenants(d, *ret, diag);
	if (r < 0) {
		bh_policy_set_free(*ret);
		*ret = NULL;
	}
	return r;
}

struct bh_policy_set *manager_draft_merge(const struct manager_draft *d,
					  const struct bh_policy_set *documents,
					  const struct bh_policy_set *current)
{
	struct bh_policy_set *set = bh_policy_set_copy(current);
	json_t *name;
	size_t i;

	json_array_foreach (d->removes, i, name) {
		bh_policy_set_drop(set, d->tenant, json_string_value(name));
	}
	for (size_t k = 0; k < bh_policy_set_count(documents); k++) {
		bh_policy_set_put(set, bh_policy_set_at(documents, k));
	}
	return set;
}

static void look(struct manager_db *db, const struct manager_draft *d, const char *name,
		 json_t *conflicts)
{
	uint32_t touched = manager_store_policy_touched(db, d->tenant, name);

	if (touched > d->base) {
		json_array_append_new(conflicts, json_pack("{s:s, s:I}", "policy", name, "revision",
							   (json_int_t)touched));
	}
}

json_t *manager_draft_conflicts(struct manager_db *db, const struct manager_draft *d,
				const struct bh_policy_set *documents)
{
	json_t *conflicts = json_array();
	json_t *name;
	size_t i;

	for (size_t k = 0; k < bh_policy_set_count(documents); k++) {
		look(db, d, bh_policy_name(bh_policy_set_at(documents, k)), conflicts);
	}
	json_array_foreach (d->removes, i, name) {
		if (!bh_policy_set_get(documents, d->tenant, json_string_value(name))) {
			look(db, d, json_string_value(name), conflicts);
		}
	}
	return conflicts;
}
