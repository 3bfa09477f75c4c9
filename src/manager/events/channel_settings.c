/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a channel: read from the API's body or from what is kept. */
#include "manager/events/channels.h"

#include "base/json.h"

#include <errno.h>

#define PEM_MAX	   65536
#define SECRET_MIN 16

static int word_of(const json_t *json, const char *key, const char *const *words, int dflt,
		   struct bh_diag *diag)
{
	const char *text = bh_json_str_or(json, key, NULL);

	for (int i = 0; text && words[i]; i++) {
		if (strcmp(text, words[i]) == 0) {
			return i;
		}
	}
	return text || dflt < 0 ? bh_diag_set(diag, -EINVAL, "'%s' must be %s%s%s%s%s", key,
					      words[0], words[2] ? ", " : " or ", words[1],
					      words[2] ? " or " : "", words[2] ? words[2] : "")
				: dflt;
}

static int copy_text(const json_t *json, const char *key, char *to, size_t size,
		     struct bh_diag *diag)
{
	const json_t *value = json_object_get(json, key);

	if (value && !json_is_null(value)) {
		if (!json_is_string(value) || json_string_length(value) >= size) {
			return bh_diag_set(diag, -EINVAL,
					   "'%s' must be a text of at most %zu bytes", key,
					   size - 1);
		}
		snprintf(to, size, "%s", json_string_value(value));
	}
	return 0;
}

/* Absent: as it was. null or "": none. */
static int take_pem(const json_t *json, const char *key, const char *old, char **ret,
		    struct bh_diag *diag)
{
	const json_t *value = json_object_get(json, key);

	if (!value) {
		*ret = old ? bh_strdup(old) : NULL;
		return 0;
	}
	if (json_is_null(value) || (json_is_string(value) && !json_string_length(value))) {
		return 0;
	}
	if (!json_is_string(value) || json_string_length(value) > PEM_MAX ||
	    !strstr(json_string_value(value), "-----BEGIN ")) {
		return bh_diag_set(diag, -EINVAL, "'%s' must be PEM", key);
	}
	*ret = bh_strdup(json_string_value(value));
	return 0;
}

static int take_url(const json_t *json, struct manager_channel_settings *s, struct bh_diag *diag)
{
	const char *scheme = s->kind == MANAGER_CHANNEL_SYSLOG ? "tls://" : "https://";
	int r = copy_text(json, "url", s->url, sizeof(s->url), diag);

	if (r < 0) {
		return r;
	}
	if (strncmp(s->url, scheme, strlen(scheme)) != 0 || !s->url[strlen(scheme)] ||
	    strpbrk(s->url, " \t\r\n\"")) {
		return bh_diag_set(diag, -EINVAL, "'url' must begin with %s", scheme);
	}
	return 0;
}

static int take_filter(const json_t *json, struct manager_channel_settings *s, struct bh_diag *diag)
{
	static const char *const known[] = {"type", "severity", "q", NULL};
	const json_t *filter = json_object_get(json, "filter");
	enum bh_severity severity = BH_SEVERITY_INFO;
	struct manager_query query;
	int r;

	if (!filter || json_is_null(filter)) {
		return 0;
	}
	if (!json_is_object(filter)) {
		return bh_diag_set(diag, -EINVAL, "'filter' must be an object");
	}
	r = bh_json_known(filter, known, diag);
	if (r == 0) {
		r = copy_text(filter, "type", s->type, sizeof(s->type), diag);
	}
	if (r == 0) {
		r = copy_text(filter, "q", s->query, sizeof(s->query), diag);
	}
	if (r == 0) {
		r = manager_query_parse(s->query, &query, diag);
	}
	if (r == 0 && json_object_get(filter, "severity") &&
	    bh_severity_parse(bh_json_str_or(filter, "severity", ""), &severity) < 0) {
		r = bh_diag_set(diag, -EINVAL,
				"'severity' must be info, notice, warning or critical");
	}
	s->severity = (int)severity;
	return r;
}

static int take_secret(const json_t *json, const struct manager_channel_settings *old,
		       struct manager_channel_settings *s, struct bh_diag *diag)
{
	if (!json_object_get(json, "secret")) {
		snprintf(s->secret, sizeof(s->secret), "%s", old ? old->secret : "");
		return 0;
	}
	if (copy_text(json, "secret", s->secret, sizeof(s->secret), diag) < 0) {
		return -EINVAL;
	}
	return *s->secret && strlen(s->secret) < SECRET_MIN
		       ? bh_diag_set(diag, -EINVAL, "'secret' must have at least %d bytes",
				     SECRET_MIN)
		       : 0;
}

int manager_channel_read(const json_t *json, const char *name,
			 const struct manager_channel_settings *old,
			 struct manager_channel_settings *ret, struct bh_diag *diag)
{
	static const char *const kinds[] = {"syslog", "webhook", NULL, NULL};
	static const char *const formats[] = {"ecs", "cef", "raw", NULL};
	const json_t *enabled = json_object_get(json, "enabled");
	int kind, format, r;

	memset(ret, 0, sizeof(*ret));
	if (!bh_name_valid(name)) {
		return bh_diag_set(diag, -EINVAL, "'%.80s' can't be a name", name);
	}
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	kind = word_of(json, "kind", kinds, -1, diag);
	format = kind < 0 ? kind : word_of(json, "format", formats, MANAGER_FORMAT_ECS, diag);
	if (kind < 0 || format < 0) {
		return -EINVAL;
	}
	if (enabled && !json_is_boolean(enabled)) {
		return bh_diag_set(diag, -EINVAL, "'enabled' must be true or false");
	}
	ret->kind = (enum manager_channel_kind)kind;
	ret->format = (enum manager_channel_format)format;
	ret->enabled = !enabled || json_is_true(enabled);
	r = take_url(json, ret, diag);
	if (r == 0) {
		r = take_filter(json, ret, diag);
	}
	if (r == 0) {
		r = take_secret(json, old, ret, diag);
	}
	if (r == 0) {
		r = take_pem(json, "ca", old ? old->ca : NULL, &ret->ca, diag);
	}
	if (r == 0) {
		r = take_pem(json, "certificate", old ? old->cert : NULL, &ret->cert, diag);
	}
	if (r == 0) {
		r = take_pem(json, "key", old ? old->key : NULL, &ret->key, diag);
	}
	if (r < 0) {
		manager_channel_settings_done(ret);
	}
	return r;
}

void manager_channel_settings_done(struct manager_channel_settings *s)
{
	free(bh_steal(&s->ca));
	free(bh_steal(&s->cert));
	free(bh_steal(&s->key));
}

json_t *manager_channel_dump(const struct manager_channel_settings *s, bool secrets)
{
	static const char *const kinds[] = {"syslog", "webhook"};
	static const char *const formats[] = {"ecs", "cef", "raw"};
	json_t *obj = json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s, s:s}}", "kind", kinds[s->kind],
				"format", formats[s->format], "enabled", s->enabled, "url", s->url,
				"filter", "type", s->type, "severity",
				bh_severity_name((enum bh_severity)s->severity), "q", s->query);

	if (secrets) {
		json_object_set_new(obj, "secret", json_string(s->secret));
		json_object_set_new(obj, "ca", json_string(s->ca ? s->ca : ""));
		json_object_set_new(obj, "certificate", json_string(s->cert ? s->cert : ""));
		json_object_set_new(obj, "key", json_string(s->key ? s->key : ""));
	} else {
		json_object_set_new(obj, "name", json_string(s->name));
		json_object_set_new(obj, "signed", json_boolean(*s->secret));
		json_object_set_new(obj, "own_ca", json_boolean(s->ca != NULL));
		json_object_set_new(obj, "own_certificate", json_boolean(s->cert && s->key));
	}
	return obj;
}
