/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/api/console.h"

#include "base/counter.h"
#include "base/file.h"
#include "base/log.h"
#include "base/util.h"

#include <dirent.h>
#include <errno.h>
#include <sodium.h>
#include <strings.h>
#include <sys/stat.h>
#include <uthash.h>

#define NONCE_BYTES 18
#define NONCE_TEXT  (sodium_base64_ENCODED_LEN(NONCE_BYTES, sodium_base64_VARIANT_URLSAFE) + 1)

BH_COUNTER(console_answers, "files of the web console that were asked for");
BH_COUNTER(console_unchanged, "of these, those that the browser had already");

struct entry {
	char *path; /* "/assets/x.js" */
	struct manager_console_file file;
	UT_hash_handle hh;
};

struct manager_console {
	struct entry *entries;
	const struct entry *index;
	size_t files, bytes;
};

/* ---- reading the folder ---- */

static const struct {
	const char *ending, *type;
} types[] = {
	{".html", "text/html; charset=utf-8"},
	{".js", "text/javascript; charset=utf-8"},
	{".css", "text/css; charset=utf-8"},
	{".json", "application/json"},
	{".svg", "image/svg+xml"},
	{".png", "image/png"},
	{".ico", "image/x-icon"},
	{".woff2", "font/woff2"},
	{".txt", "text/plain; charset=utf-8"},
};

static bool ends_with(const char *s, const char *ending)
{
	size_t len = strlen(s), n = strlen(ending);

	return len > n && strcmp(s + len - n, ending) == 0;
}

static const char *type_of(const char *path)
{
	for (size_t i = 0; i < BH_ARRAY_SIZE(types); i++) {
		if (ends_with(path, types[i].ending)) {
			return types[i].type;
		}
	}
	return NULL;
}

static struct entry *entry_get(struct manager_console *console, const char *path)
{
	struct entry *e;

	HASH_FIND_STR(console->entries, path, e);
	if (!e) {
		e = bh_alloc(sizeof(*e));
		e->path = bh_strdup(path);
		e->file.type = type_of(path);
		e->file.immutable = strncmp(path, "/assets/", 8) == 0;
		e->file.page = strcmp(path, "/index.html") == 0;
		HASH_ADD_KEYPTR(hh, console->entries, e->path, strlen(e->path), e);
	}
	return e;
}

static int read_file(struct manager_console *console, const char *disk, const char *path,
		     struct bh_diag *diag)
{
	static const char *const endings[CONSOLE_CODINGS] = {"", ".gz", ".br"};
	static const char letters[CONSOLE_CODINGS] = {'i', 'g', 'b'};
	enum manager_console_coding coding = ends_with(path, ".br")   ? CONSOLE_BROTLI
					     : ends_with(path, ".gz") ? CONSOLE_GZIP
								      : CONSOLE_IDENTITY;
	BH_FREE char *name = bh_strdup(path);
	struct manager_console_bytes *bytes;
	uint8_t hash[16];
	char hex[2 * sizeof(hash) + 1];
	int r;

	name[strlen(name) - strlen(endings[coding])] = '\0';
	if (!type_of(name)) {
		return 0; /* nothing that a browser asks for */
	}
	bytes = &entry_get(console, name)->file.as[coding];
	r = bh_file_read(disk, CONSOLE_BYTES_MAX, &bytes->data, &bytes->size, diag);
	if (r < 0) {
		return r;
	}
	console->bytes += bytes->size;
	if (++console->files > CONSOLE_FILES_MAX || console->bytes > CONSOLE_BYTES_MAX) {
		return bh_diag_set(diag, -E2BIG, "%s: more than %d files or %u MiB", disk,
				   CONSOLE_FILES_MAX, CONSOLE_BYTES_MAX >> 20);
	}
	crypto_generichash(hash, sizeof(hash), (const uint8_t *)bytes->data, bytes->size, NULL, 0);
	bh_hex_format(hash, sizeof(hash), hex);
	snprintf(bytes->etag, sizeof(bytes->etag), "\"%s%c\"", hex, letters[coding]);
	return 0;
}

static int read_dir(struct manager_console *console, const char *disk, const char *path,
		    unsigned int depth, struct bh_diag *diag)
{
	DIR *dir = opendir(disk);
	struct dirent *d;
	int r = 0;

	if (!dir) {
		return bh_diag_set(diag, -errno, "%s: %s", disk, strerror(errno));
	}
	while (r == 0 && (d = readdir(dir))) {
		BH_FREE char *below = bh_asprintf("%s/%s", disk, d->d_name);
		BH_FREE char *name = bh_asprintf("%s/%s", path, d->d_name);
		struct stat st;

		if (d->d_name[0] == '.' || lstat(below, &st) < 0) {
			continue;
		}
		if (S_ISREG(st.st_mode)) {
			r = read_file(console, below, name, diag);
		} else if (S_ISDIR(st.st_mode) && depth < CONSOLE_DEPTH_MAX) {
			r = read_dir(console, below, name, depth + 1, diag);
		}
	}
	closedir(dir);
	return r;
}

/* A twin without the file itself would have no answer for who takes no coding. */
static void drop_orphans(struct manager_console *console)
{
	struct entry *e, *tmp;

	HASH_ITER (hh, console->entries, e, tmp) {
		if (!e->file.as[CONSOLE_IDENTITY].data) {
			HASH_DEL(console->entries, e);
			for (size_t i = 0; i < CONSOLE_CODINGS; i++) {
				free(e->file.as[i].data);
			}
			free(e->path);
			free(e);
		}
	}
}

int manager_console_open(const char *dir, struct manager_console **ret, struct bh_diag *diag)
{
	struct manager_console *console = bh_alloc(sizeof(*console));
	struct entry *index = NULL;
	int r = read_dir(console, dir, "", 0, diag);

	drop_orphans(console);
	HASH_FIND_STR(console->entries, "/index.html", index);
	if (r == 0 && !index) {
		r = bh_diag_set(diag, -EINVAL, "%s has no index.html", dir);
	}
	if (r < 0) {
		manager_console_free(console);
		return r;
	}
	console->index = index;
	*ret = console;
	return 0;
}

struct manager_console *manager_console_load(const char *dir)
{
	struct manager_console *console = NULL;
	struct bh_diag diag = {};
	int r = dir && *dir ? manager_console_open(dir, &console, &diag) : 0;

	if (r == -ENOENT) {
		bh_log(BH_LOG_INFO, "console", "%s: no web console is installed", dir);
	} else if (r < 0) {
		bh_log(BH_LOG_ERROR, "console", "no web console: %s", diag.text);
	}
	return console;
}

void manager_console_free(struct manager_console *console)
{
	struct entry *e, *tmp;

	if (!console) {
		return;
	}
	HASH_ITER (hh, console->entries, e, tmp) {
		HASH_DEL(console->entries, e);
		for (size_t i = 0; i < CONSOLE_CODINGS; i++) {
			free(e->file.as[i].data);
		}
		free(e->path);
		free(e);
	}
	free(console);
}

/* ---- what is asked for ---- */

bool manager_console_owns(const char *path)
{
	static const char *const others[] = {"/v1", "/api", "/metrics", "/healthz"};

	for (size_t i = 0; i < BH_ARRAY_SIZE(others); i++) {
		size_t len = strlen(others[i]);

		if (strncmp(path, others[i], len) == 0 && strchr("/:", path[len])) {
			return false; /* strchr finds the end of the path, too */
		}
	}
	return path[0] == '/';
}

const struct manager_console_file *manager_console_find(const struct manager_console *console,
							const char *path)
{
	const char *last = strrchr(path, '/');
	struct entry *e;

	HASH_FIND_STR(console->entries, path, e);
	if (e) {
		return &e->file;
	}
	return last && !strchr(last, '.') ? &console->index->file : NULL;
}

/* RFC 9110, 12.5.3: does the list take this coding? One that it does not name it takes by "*". */
static bool takes(const char *list, const char *coding)
{
	size_t len = strlen(coding);
	bool star = false;

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
		size_t name;
		const char *q;
		bool zero;

		p += strspn(p, " \t");
		name = strcspn(p, " \t;,");
		q = p + name + strspn(p + name, " \t;");
		zero = strncasecmp(q, "q=0", 3) == 0 &&
		       strspn(q + 3, ".0") == strcspn(q + 3, " \t,");
		if (name == len && strncasecmp(p, coding, len) == 0) {
			return !zero;
		}
		star = star || (name == 1 && *p == '*' && !zero);
	}
	return star;
}

enum manager_console_coding manager_console_coding(const struct manager_console_file *file,
						   const char *accept_encoding)
{
	if (!accept_encoding || file->page) {
		return CONSOLE_IDENTITY;
	}
	if (file->as[CONSOLE_BROTLI].data && takes(accept_encoding, "br")) {
		return CONSOLE_BROTLI;
	}
	if (file->as[CONSOLE_GZIP].data && takes(accept_encoding, "gzip")) {
		return CONSOLE_GZIP;
	}
	return CONSOLE_IDENTITY;
}

bool manager_console_known(const char *if_none_match, const char *etag)
{
	const char *p = if_none_match;

	if (!p) {
		return false;
	}
	if (strcmp(p, "*") == 0) {
		return true;
	}
	p = strstr(p, etag); /* quotation marks and all; a leading W/ is no matter */
	return p && (p[strlen(etag)] == '\0' || strchr(", \t", p[strlen(etag)]));
}

/* ---- answers ---- */

static void add_headers(struct MHD_Response *response, const char *nonce, bool tls)
{
	char policy[512];

	snprintf(policy, sizeof(policy),
		 "default-src 'self'; style-src 'self'%s%s%s; img-src 'self' data:; "
		 "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
		 nonce ? " 'nonce-" : "", nonce ? nonce : "", nonce ? "'" : "");
	MHD_add_response_header(response, "Content-Security-Policy", policy);
	MHD_add_response_header(response, "X-Frame-Options", "DENY");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
	MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(response, "Permissions-Policy",
				"camera=(), microphone=(), geolocation=(), payment=(), usb=()");
	if (tls) {
		MHD_add_response_header(response, "Strict-Transport-Security", "max-age=31536000");
	}
}

/* The page with its nonce; owned. */
static char *fill_in(const struct manager_console_bytes *page, const char *nonce, size_t *ret_size)
{
	size_t mark = strlen(CONSOLE_NONCE_MARK), len = strlen(nonce), count = 0;
	char *out, *to;

	for (const char *p = page->data; (p = strstr(p, CONSOLE_NONCE_MARK)); p += mark) {
		count++;
	}
	out = to = bh_alloc(page->size + count * len + 1);
	for (const char *p = page->data, *next;; p = next + mark) {
		next = strstr(p, CONSOLE_NONCE_MARK);
		if (!next) {
			size_t rest = page->size - (size_t)(p - page->data);

			memcpy(to, p, rest);
			*ret_size = (size_t)(to - out) + rest;
			return out;
		}
		memcpy(to, p, (size_t)(next - p));
		to += next - p;
		memcpy(to, nonce, len);
		to += len;
	}
}

static struct MHD_Response *answer_page(const struct manager_console_file *file, bool tls)
{
	uint8_t random[NONCE_BYTES];
	char nonce[NONCE_TEXT];
	struct MHD_Response *response;
	size_t size;
	char *text;

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(nonce, sizeof(nonce), random, sizeof(random),
			  sodium_base64_VARIANT_URLSAFE);
	text = fill_in(&file->as[CONSOLE_IDENTITY], nonce, &size);
	response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return NULL;
	}
	add_headers(response, nonce, tls);
	MHD_add_response_header(response, "Content-Type", file->type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	return response;
}

static struct MHD_Response *answer_file(const struct manager_console_file *file,
					struct MHD_Connection *connection, bool tls,
					unsigned int *ret_status)
{
	static const char *const codings[CONSOLE_CODINGS] = {NULL, "gzip", "br"};
	enum manager_console_coding coding = manager_console_coding(
		file, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding"));
	const struct manager_console_bytes *bytes = &file->as[coding];
	bool known = manager_console_known(
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match"),
		bytes->etag);
	struct MHD_Response *response = MHD_create_response_from_buffer(
		known ? 0 : bytes->size, known ? NULL : bytes->data, MHD_RESPMEM_PERSISTENT);

	if (!response) {
		return NULL;
	}
	add_headers(response, NULL, tls);
	MHD_add_response_header(response, "Content-Type", file->type);
	MHD_add_response_header(response, "Cache-Control",
				file->immutable ? "public, max-age=31536000, immutable"
						: "no-cache");
	MHD_add_response_header(response, "ETag", bytes->etag);
	MHD_add_response_header(response, "Vary", "Accept-Encoding");
	if (codings[coding]) {
		MHD_add_response_header(response, "Content-Encoding", codings[coding]);
	}
	bh_counter_add(&console_unchanged, known);
	*ret_status = known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK;
	return response;
}

static struct MHD_Response *answer_words(const char *words, const char *allow, bool tls)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(words), (void *)words, MHD_RESPMEM_PERSISTENT);

	if (response) {
		add_headers(response, NULL, tls);
		MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
		MHD_add_response_header(response, "Cache-Control", "no-store");
		if (allow) {
			MHD_add_response_header(response, "Allow", allow);
		}
	}
	return response;
}

struct MHD_Response *manager_console_answer(const struct manager_console *console,
					    struct MHD_Connection *connection, const char *method,
					    const char *path, bool tls, unsigned int *ret_status)
{
	const struct manager_console_file *file = manager_console_find(console, path);
	struct MHD_Response *response;

	bh_counter_add(&console_answers, 1);
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		*ret_status = MHD_HTTP_METHOD_NOT_ALLOWED;
		return answer_words("the console's files can only be read\n", "GET, HEAD", tls);
	}
	if (!file) {
		*ret_status = MHD_HTTP_NOT_FOUND;
		return answer_words("the console has no such file\n", NULL, tls);
	}
	*ret_status = MHD_HTTP_OK;
	response = file->page ? answer_page(file, tls)
			      : answer_file(file, connection, tls, ret_status);
	if (!response) {
		*ret_status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
	return response;
}
