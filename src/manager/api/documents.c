/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/documents.h"

#include "base/json.h"

#include <errno.h>

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
					       .author = req->who,
					       .summary = summary,
					       .preview = preview};
}

void manager_commit_refuse(struct manager_request *req, int r, const struct bh_diag *diag,
			   struct manager_commit_result *result)
{
	if (r == MANAGER_COMMIT_CAPACITY) {
		json_t *error = json_pack("{s:s, s:s, s:O}", "code", "capacity", "message",
					  diag->text, "hosts", result->overflow);

		manager_reply(req, 409, json_pack("{s:o}", "error", error));
	} else if (r == -E2BIG) {
		manager_reply_error(req, 409, "capacity", diag);
	} else {
		manager_reply_failed(req, r, diag);
	}
}
