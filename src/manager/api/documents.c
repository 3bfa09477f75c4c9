/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/documents.h"

#include "base/json.h"
#include "manager/rulebook/textdiff.h"

#include <errno.h>

#define TEXT_LINES_MAX 200

bool manager_documents_take(struct manager_request *req, struct manager_documents *d)
{
	static const char *const known[] = {"documents", "file", "tenant", "prune", NULL};
	const char *type =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Content-Type");
	struct bh_diag diag = {};

	d->file = manager_request_query(req, "file");
	d->tenant = manager_request_query(req, "tenant");
	if (manager_request_flag(req, "prune", &d->prune) < 0) {
		return false;
	}
	if (type && strncmp(type, "application/json", 16) == 0) {
		d->owner = manager_request_json(req, known, false);
		if (!d->owner) {
			return false;
		}
		if (bh_json_str(d->owner, "documents", &d->text, &diag) < 0) {
			manager_reply_error(req, 400, "bad_request", &diag);
			return false;
		}
		d->size = strlen(d->text);
		d->file = bh_json_str_or(d->owner, "file", "documents");
		d->tenant = json_string_value(json_object_get(d->owner, "tenant"));
		d->prune = json_is_true(json_object_get(d->owner, "prune"));
	} else {
		d->text = req->body.size ? (const char *)req->body.data : "";
		d->size = req->body.size;
	}
	d->file = d->file ? d->file : "documents";
	if (d->tenant && !bh_name_valid(d->tenant)) {
		manager_reply_errorf(req, 400, "bad_request", "'%.80s' can't be a tenant's name",
				     d->tenant);
		return false;
	}
	d->tenant = d->tenant ? d->tenant : req->parts->default_tenant;
	return true;
}

struct bh_policy_set *manager_documents_parse(struct manager_request *req,
					      const struct manager_documents *d)
{
	struct bh_policy_parse_options options = {.file = d->file, .default_tenant = d->tenant};
	struct bh_policy_set *set = NULL;
	struct bh_diag diag = {};
	int r = bh_policy_parse(d->text, d->size, &options, &set, &diag);

	if (r < 0) {
		manager_reply_error(req, r == -EMSGSIZE ? 413 : 422,
				    r == -EMSGSIZE ? "too_large" : "bad_document", &diag);
		return NULL;
	}
	return set;
}

struct manager_commit_request manager_commit_of(struct manager_request *req, const char *summary,
						bool preview)
{
	const struct manager_parts *p = req->parts;

	return (struct manager_commit_request){.db = p->db,
					       .inv = p->inv,
					       .book = p->book,
					       .dist = p->dist,
					       .change = p->change,
					       .author = req->who,
					       .summary = summary,
					       .preview = preview};
}

void manager_commit_refuse(struct manager_request *req, int r, const struct bh_diag *diag,
			   struct manager_commit_result *result)
{
	static const char *const codes[] = {
		[MANAGER_COMMIT_UNCONFIRMED] = "unconfirmed", [MANAGER_COMMIT_QUOTA] = "quota"};

	if (r == MANAGER_COMMIT_CAPACITY) {
		json_t *error = json_pack("{s:s, s:s}", "code", "capacity", "message", diag->text);

		if (manager_sees_hosts(req)) {
			json_object_set(error, "hosts", result->overflow);
		}

		manager_reply(req, 409, json_pack("{s:o}", "error", error));
	} else if (r > 0) {
		manager_reply_error(req, 409, codes[r], diag);
	} else if (r == -E2BIG) {
		manager_reply_error(req, 409, "capacity", diag);
	} else {
		manager_reply_failed(req, r, diag);
	}
}

static const char *canonical(const struct bh_policy_set *set, const json_t *change)
{
	const struct bh_policy *p = bh_policy_set_get(set, bh_json_str_or(change, "tenant", ""),
						      bh_json_str_or(change, "name", ""));

	return p ? bh_policy_canonical(p) : "";
}

void manager_changes_add_texts(json_t *changes, const struct bh_policy_set *from,
			       const struct bh_policy_set *to)
{
	size_t i;
	json_t *change;

	json_array_foreach (changes, i, change) {
		struct bh_wbuf w;

		bh_wbuf_init(&w, 0);
		manager_text_diff(canonical(from, change), canonical(to, change), TEXT_LINES_MAX,
				  &w);
		json_object_set_new(change, "text", json_string(bh_wbuf_cstr(&w)));
		bh_wbuf_done(&w);
	}
}

/* ---- whose policies a caller sees and may change ---- */

bool manager_seen_tenant(struct manager_request *req, const char *tenant)
{
	return manager_request_sees(req, manager_request_tenant(req, tenant)) ||
	       manager_request_holds_all(req, req->route->verb);
}

json_t *manager_changes_seen(struct manager_request *req, const json_t *changes, bool *ret_all)
{
	json_t *seen = json_array();
	json_t *change;
	size_t i;

	req->asked = true;
	json_array_foreach (changes, i, change) {
		if (manager_seen_tenant(req, bh_json_str_or(change, "tenant", ""))) {
			json_array_append(seen, change);
		}
	}
	if (ret_all) {
		*ret_all = json_array_size(seen) == json_array_size(changes);
	}
	return seen;
}

/* Each tenant is asked for once. */
static bool may_once(struct manager_request *req, enum manager_verb verb, const char *tenant,
		     json_t *asked)
{
	if (json_object_get(asked, tenant)) {
		return true;
	}
	json_object_set_new(asked, tenant, json_true());
	return manager_request_may(req, verb, manager_request_tenant(req, tenant), tenant);
}

bool manager_changes_may(struct manager_request *req, enum manager_verb verb, const json_t *changes)
{
	BH_JSON json_t *asked = json_object();
	json_t *change;
	size_t i;

	req->asked = true;
	json_array_foreach (changes, i, change) {
		if (!may_once(req, verb, bh_json_str_or(change, "tenant", ""), asked)) {
			return false;
		}
	}
	return true;
}

bool manager_documents_may(struct manager_request *req, enum manager_verb verb,
			   const struct bh_policy_set *documents)
{
	BH_JSON json_t *asked = json_object();

	req->asked = true;
	for (size_t i = 0; i < bh_policy_set_count(documents); i++) {
		if (!may_once(req, verb, bh_policy_tenant(bh_policy_set_at(documents, i)), asked)) {
			return false;
		}
	}
	for (size_t i = 0; i < bh_policy_set_tenant_count(documents); i++) {
		if (!may_once(req, verb, bh_policy_set_tenant_at(documents, i)->name, asked)) {
			return false;
		}
	}
	return true;
}

struct bh_policy_set *manager_set_seen(struct manager_request *req, const struct bh_policy_set *set)
{
	struct bh_policy_set *seen = bh_policy_set_new();

	for (size_t i = 0; i < bh_policy_set_count(set); i++) {
		struct bh_policy *p = bh_policy_set_at(set, i);

		if (manager_seen_tenant(req, bh_policy_tenant(p))) {
			bh_policy_set_put(seen, p);
		}
	}
	return seen;
}

bool manager_sees_hosts(struct manager_request *req)
{
	return manager_request_holds(req, VERB_HOST_READ, MANAGER_PROVIDER);
}
