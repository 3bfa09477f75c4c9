/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers do with a request: answer it, read its body and its arguments. */
#include "manager/api/batch.h"
#include "manager/api/record.h"
#include "manager/api/request.h"

#include "base/counter.h"
#include "base/json.h"
#include "base/jtext.h"
#include "base/time.h"

#include <errno.h>
#include <stdarg.h>

#define WAIT_MAX_S   60
#define PAGE_DEFAULT 1000
#define PAGE_MAX     10000

BH_COUNTER(api_bad_requests, "requests to the API answered with an error of the client");

/* ---- answers ---- */

static void audit(struct manager_request *req, unsigned int status)
{
	json_t *body;
	BH_FREE char *type = NULL;

	if (!req->route || !(req->route->flags & (API_AUDIT | API_AUDIT_AFTER))) {
		return;
	}
	type = bh_asprintf("audit.%s", req->route->audit);
	body = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "who", req->who, "from", req->from,
			 "method", req->method, "path", req->path, "status", (int)status, "result",
			 status < 300 ? "done" : "refused");
	if (req->audit_detail) {
		json_object_set_new(body, "detail", json_string(req->audit_detail));
	}
	manager_events_own(req->parts->events, type,
			   status < 300 ? BH_SEVERITY_NOTICE : BH_SEVERITY_WARNING, body);
}

void manager_request_suspend(struct manager_request *req)
{
	if (!req->suspended) {
		req->suspended = true;
		MHD_suspend_connection(req->connection);
	}
}

void manager_request_resume(struct manager_request *req)
{
	req->suspended = false;
	MHD_resume_connection(req->connection);
	manager_api_poke(req->api);
}

/* The answer of a request that sleeps is there. */
static void wake(struct manager_request *req)
{
	if (req->suspended && !manager_batch_holds(req)) {
		manager_request_resume(req);
	}
}

void manager_reply_text(struct manager_request *req, unsigned int status, const char *type,
			char *text, size_t size)
{
	if (req->answered) {
		free(text);
		return;
	}
	if (status < 300 && manager_request_unasked(req)) {
		free(text);
		manager_reply_errorf(req, 500, "internal", "this answer is not fit to be shown");
		return;
	}
	req->answered = true;
	req->status = status;
	req->content_type = type;
	req->out = text;
	req->out_size = size;
	bh_counter_add(&api_bad_requests, status >= 400 && status < 500);
	manager_record_end(req, status, req->error);
	audit(req, status);
	wake(req);
}

static void reply_json(struct manager_request *req, unsigned int status, struct bh_wbuf *text)
{
	manager_reply_text(req, status, "application/json", (char *)text->data, text->size);
}

void manager_reply(struct manager_request *req, unsigned int status, json_t *body)
{
	struct bh_wbuf text;

	bh_wbuf_init(&text, 0);
	if (body) {
		bh_json_put(&text, body);
	} else {
		bh_wbuf_str(&text, "{}");
	}
	json_decref(body);
	reply_json(req, status, &text);
}

void manager_reply_ready(struct manager_request *req, unsigned int status,
			 struct MHD_Response *response)
{
	if (req->answered) {
		MHD_destroy_response(response);
		return;
	}
	req->answered = true;
	req->status = status;
	req->ready = response;
	manager_record_end(req, status, NULL);
	audit(req, status);
	wake(req);
}

void manager_reply_nothing(struct manager_request *req)
{
	manager_reply_text(req, 204, NULL, bh_strdup(""), 0);
}

void manager_reply_error(struct manager_request *req, unsigned int status, const char *code,
			 const struct bh_diag *diag)
{
	json_t *error = json_pack("{s:s, s:s}", "code", code, "message", diag->text);

	free(req->error);
	req->error = bh_asprintf("%s: %s", code, diag->text);

	if (!error) { /* text that is not UTF-8 */
		error = json_pack("{s:s, s:s}", "code", code, "message", "(not readable as text)");
	}
	if (*diag->file) {
		json_object_set_new(error, "file", json_string(diag->file));
	}
	if (diag->line) {
		json_object_set_new(error, "line", json_integer(diag->line));
		json_object_set_new(error, "column", json_integer(diag->column));
	}
	manager_reply(req, status, json_pack("{s:o}", "error", error));
}

void manager_reply_errorf(struct manager_request *req, unsigned int status, const char *code,
			  const char *fmt, ...)
{
	struct bh_diag diag = {};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(diag.text, sizeof(diag.text), fmt, ap);
	va_end(ap);
	manager_reply_error(req, status, code, &diag);
}

void manager_reply_failed(struct manager_request *req, int err, const struct bh_diag *diag)
{
	switch (err) {
	case -ENOENT:
		manager_reply_error(req, 404, "not_found", diag);
		break;
	case -EINVAL:
	case -EBADMSG:
	case -EMSGSIZE:
		manager_reply_error(req, 400, "bad_request", diag);
		break;
	case -ENOSPC:
	case -EIO:
		manager_reply_error(req, 507, "store", diag);
		break;
	default:
		manager_reply_error(req, 500, "internal", diag);
	}
}

/* ---- what the caller has already ---- */

#define ETAG_BYTES 16

void manager_request_etag_begin(const struct manager_request *req, crypto_generichash_state *ret)
{
	crypto_generichash_init(ret, manager_api_etag_key(req->api), crypto_generichash_KEYBYTES,
				ETAG_BYTES);
	crypto_generichash_update(ret, (const uint8_t *)req->who, strlen(req->who) + 1);
}

void manager_request_etag_end(struct manager_request *req, crypto_generichash_state *hash)
{
	char hex[2 * ETAG_BYTES + 1];
	uint8_t bytes[ETAG_BYTES];

	crypto_generichash_final(hash, bytes, sizeof(bytes));
	sodium_bin2hex(hex, sizeof(hex), bytes, sizeof(bytes));
	snprintf(req->etag, sizeof(req->etag), "\"%s\"", hex);
}

void manager_request_later(struct manager_request *req)
{
	manager_request_suspend(req);
}

void manager_request_detail(struct manager_request *req, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	free(req->audit_detail);
	req->audit_detail = bh_strdup(text);
}

/* ---- what a request holds ---- */

json_t *manager_request_json(struct manager_request *req, const char *const *known, bool empty)
{
	json_t *json = NULL;
	struct bh_diag diag = {};

	if (empty && req->body.size == 0) {
		return json_object();
	}
	if (bh_json_load((const char *)req->body.data, req->body.size, API_BODY_MAX, &json, &diag) <
	    0) {
		manager_reply_error(req, 400, "bad_request", &diag);
		return NULL;
	}
	if (!json_is_object(json)) {
		bh_diag_set(&diag, -EINVAL, "the body must be a JSON object");
	} else if (bh_json_known(json, known, &diag) == 0) {
		return json;
	}
	manager_reply_error(req, 400, "bad_request", &diag);
	json_decref(json);
	return NULL;
}

const char *manager_request_query(const struct manager_request *req, const char *name)
{
	return MHD_lookup_connection_value(req->connection, MHD_GET_ARGUMENT_KIND, name);
}

int manager_request_wait(struct manager_request *req, uint64_t *ret_ms)
{
	const char *s = manager_request_query(req, "wait");
	char *end = NULL;
	double v;

	*ret_ms = 0;
	if (!s) {
		return 0;
	}
	v = strtod(s, &end);
	if (!*s || *end || !(v >= 0 && v <= WAIT_MAX_S)) {
		manager_reply_errorf(req, 400, "bad_request", "'wait' must be seconds from 0 to %d",
				     WAIT_MAX_S);
		return -EINVAL;
	}
	*ret_ms = (uint64_t)(v * 1000);
	return 0;
}

int manager_request_flag(struct manager_request *req, const char *name, bool *ret)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {{"true", true},   {"1", true},  {"yes", true},
		     {"false", false}, {"0", false}, {"no", false}};
	const char *s = manager_request_query(req, name);

	*ret = false;
	if (!s) {
		return 0;
	}
	for (size_t i = 0; i < BH_ARRAY_SIZE(words); i++) {
		if (strcmp(s, words[i].text) == 0) {
			*ret = words[i].value;
			return 0;
		}
	}
	manager_reply_errorf(req, 400, "bad_request", "'%s' must be true or false", name);
	return -EINVAL;
}

int manager_request_number(struct manager_request *req, const char *name, uint64_t min,
			   uint64_t max, uint64_t *ret)
{
	const char *s = manager_request_query(req, name);

	if (!s) {
		return 0;
	}
	if (bh_parse_u64(s, min, max, ret) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'%s' must be a number from %llu to %llu", name,
				     (unsigned long long)min, (unsigned long long)max);
		return -EINVAL;
	}
	return 1;
}

/* "90s", "5m", "2h", "1d". */
static int parse_duration(const char *s, uint64_t *ret_s)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	size_t len = strlen(s);
	char number[24];

	for (size_t i = 0; len > 1 && len < sizeof(number) && i < BH_ARRAY_SIZE(units); i++) {
		if (s[len - 1] == units[i].unit) {
			memcpy(number, s, len - 1);
			number[len - 1] = '\0';
			if (bh_parse_u64(number, 0, 86400 * 3650ull, ret_s) < 0) {
				return -EINVAL;
			}
			*ret_s *= units[i].seconds;
			return 0;
		}
	}
	return -EINVAL;
}

int manager_request_duration(struct manager_request *req, const char *name, uint64_t max_s,
			     uint64_t *ret_s)
{
	const char *s = manager_request_query(req, name);
	uint64_t v;

	if (!s) {
		return 0;
	}
	if (parse_duration(s, &v) < 0 || v < 1 || v > max_s) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'%s' must be a time like 90s, 5m, 2h, 1d, at most %llud",
				     name, (unsigned long long)max_s / 86400);
		return -EINVAL;
	}
	*ret_s = v;
	return 0;
}

static int parse_since(const char *s, uint64_t *ret_ns)
{
	uint64_t now = bh_time_wall_ns(), seconds;

	if (parse_duration(s, &seconds) == 0) {
		*ret_ns = seconds * BH_NS_PER_S < now ? now - seconds * BH_NS_PER_S : 0;
		return 0;
	}
	return bh_time_parse(s, strlen(s), ret_ns);
}

int manager_request_time(struct manager_request *req, const char *name, uint64_t *ret_ns)
{
	const char *text = manager_request_query(req, name);

	if (text && parse_since(text, ret_ns) < 0) {
		manager_reply_errorf(req, 400, "bad_request",
				     "'%s' must be a time like 2026-11-21T23:00:00Z or seconds "
				     "ago like 90s, 5m, 2h, 1d",
				     name);
		return -EINVAL;
	}
	return 0;
}

int manager_request_since(struct manager_request *req, uint64_t *ret_ns)
{
	return manager_request_time(req, "since", ret_ns);
}

int manager_page_begin(struct manager_request *req, struct manager_page *ret)
{
	*ret = (struct manager_page){.limit = PAGE_DEFAULT};
	if (manager_request_number(req, "limit", 1, PAGE_MAX, &ret->limit) < 0 ||
	    manager_request_number(req, "offset", 0, UINT32_MAX, &ret->offset) < 0) {
		return -EINVAL;
	}
	bh_wbuf_init(&ret->text, 0);
	bh_wbuf_str(&ret->text, "{\"items\":[");
	manager_request_etag_begin(req, &ret->hash);
	return 0;
}

bool manager_page_takes(struct manager_page *page)
{
	uint64_t i = page->total++;

	return i >= page->offset && i - page->offset < page->limit;
}

void manager_page_put(struct manager_page *page, json_t *item)
{
	struct bh_wbuf *w = &page->text;
	size_t begin = w->size;

	if (!item) {
		return;
	}
	if (w->data[w->size - 1] != '[') {
		bh_wbuf_u8(w, ',');
	}
	bh_json_put(w, item);
	crypto_generichash_update(&page->hash, w->data + begin, w->size - begin);
	json_decref(item);
}

void manager_page_put_seen(struct manager_page *page, json_t *item)
{
	BH_JSON json_t *seen = json_incref(json_object_get(item, "last_seen"));
	struct bh_wbuf *w = &page->text;

	json_object_del(item, "last_seen");
	manager_page_put(page, item);
	if (seen) {
		w->size--; /* goes on before its '}' */
		bh_jtext_add_key(w, "last_seen");
		bh_json_put(w, seen);
		bh_wbuf_u8(w, '}');
	}
}

void manager_page_drop(struct manager_page *page)
{
	bh_wbuf_done(&page->text);
}

void manager_page_reply(struct manager_request *req, struct manager_page *page, json_t *more)
{
	struct bh_wbuf *w = &page->text;
	uint64_t end = page->offset + page->limit;
	size_t begin = w->size;
	const char *key;
	json_t *value;

	req->asked |= page->total == 0;
	bh_wbuf_str(w, "]");
	bh_jtext_add_u64(w, "total", page->total);
	if (end < page->total) {
		bh_jtext_add_u64(w, "next", end);
	}
	json_object_foreach (more, key, value) {
		bh_jtext_add_key(w, key);
		bh_json_put(w, value);
	}
	bh_wbuf_str(w, "}");
	json_decref(more);
	crypto_generichash_update(&page->hash, w->data + begin, w->size - begin);
	manager_request_etag_end(req, &page->hash);
	reply_json(req, 200, w);
}

bool manager_request_accepts(const struct manager_request *req, const char *type)
{
	const char *accept =
		MHD_lookup_connection_value(req->connection, MHD_HEADER_KIND, "Accept");

	return accept && strstr(accept, type);
}
