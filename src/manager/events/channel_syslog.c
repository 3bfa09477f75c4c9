/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syslog over TLS, RFC 5425. The protocol has no answers, so a batch counts as delivered when the
 * other end's kernel has acknowledged its bytes and the connection still stands. Every wait has an
 * end and looks at `stop`.
 */
#include "manager/events/channels.h"

#include "base/time.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define SLICE_MS     100
#define CONNECT_MS   5000
#define SEND_MS	     15000
#define SETTLE_MS    20 /* so long a connection must stand after its last byte was taken */
#define DEFAULT_PORT "6514"

struct connection {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
	uint64_t until_ns;
};

static int ssl_failed(struct bh_diag *diag, const char *what)
{
	char text[256];
	unsigned long code = ERR_get_error();

	ERR_error_string_n(code, text, sizeof(text));
	return bh_diag_set(diag, -EIO, "%s: %s", what, code ? text : "the connection ended");
}

/* 0 ready, or < 0. */
static int wait_for(const struct manager_transport *t, const struct connection *c, short events,
		    struct bh_diag *diag)
{
	struct pollfd p = {.fd = c->fd, .events = events};

	while (bh_time_mono_ns() < c->until_ns) {
		int n = poll(&p, 1, SLICE_MS);

		if (atomic_load(t->stop)) {
			return -ECANCELED;
		}
		if (n > 0) {
			return 0;
		}
	}
	return bh_diag_set(diag, -ETIMEDOUT, "the receiver takes nothing");
}

/* ---- connecting ---- */

/* "tls://host:port" or "tls://[::1]:port". */
static void split(const char *url, char host[256], char port[8])
{
	const char *s = url + strlen("tls://"), *end;

	snprintf(port, 8, "%s", DEFAULT_PORT);
	if (*s == '[') {
		end = strchr(++s, ']');
	} else {
		end = strchr(s, ':');
	}
	snprintf(host, 256, "%.*s", end ? (int)(end - s) : 255, s);
	end += end && *end == ']';
	if (end && *end == ':') {
		snprintf(port, 8, "%.7s", end + 1);
	}
}

static int connect_one(const struct manager_transport *t, struct connection *c,
		       const struct addrinfo *a, struct bh_diag *diag)
{
	socklen_t size = sizeof(int);
	int err = 0, r = 0;

	c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		return bh_diag_set(diag, -errno, "socket: %s", strerror(errno));
	}
	if (connect(c->fd, a->ai_addr, a->ai_addrlen) < 0 && errno == EINPROGRESS) {
		r = wait_for(t, c, POLLOUT, diag);
		getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &size);
	} else if (errno && errno != EINPROGRESS) {
		err = errno;
	}
	if (r == 0 && err) {
		r = bh_diag_set(diag, -err, "connecting: %s", strerror(err));
	}
	if (r < 0) {
		close(c->fd);
		c->fd = -1;
	}
	return r;
}

static int connect_any(const struct manager_transport *t, struct connection *c, const char *host,
		       const char *port, struct bh_diag *diag)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
	int r = getaddrinfo(host, port, &hints, &list);

	if (r) {
		return bh_diag_set(diag, -EHOSTUNREACH, "%s: %s", host, gai_strerror(r));
	}
	r = -EHOSTUNREACH;
	for (const struct addrinfo *a = list; a && r < 0 && r != -ECANCELED; a = a->ai_next) {
		errno = 0;
		r = connect_one(t, c, a, diag);
	}
	freeaddrinfo(list);
	return r;
}

static int trust(SSL_CTX *ctx, const char *pem, struct bh_diag *diag)
{
	BIO *bio;
	X509 *cert;
	int count = 0;

	if (!pem) {
		return SSL_CTX_set_default_verify_paths(ctx) == 1 ? 0 : ssl_failed(diag, "CAs");
	}
	bio = BIO_new_mem_buf(pem, -1);
	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	return count ? 0 : bh_diag_set(diag, -EINVAL, "the CA of the channel is no certificate");
}

static int show(SSL_CTX *ctx, const struct manager_channel_settings *s, struct bh_diag *diag)
{
	BIO *cert_bio, *key_bio;
	X509 *cert;
	EVP_PKEY *key;
	int r = 0;

	if (!s->cert || !s->key) {
		return 0;
	}
	cert_bio = BIO_new_mem_buf(s->cert, -1);
	key_bio = BIO_new_mem_buf(s->key, -1);
	cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
	if (!cert || !key || SSL_CTX_use_certificate(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1) {
		r = ssl_failed(diag, "the channel's certificate or key");
	}
	X509_free(cert);
	EVP_PKEY_free(key);
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return r;
}

static int set_name(SSL *ssl, const char *host)
{
	unsigned char address[16];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	}
	return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

/* r: what an SSL function said. 0: again; < 0. */
static int again(const struct manager_transport *t, const struct connection *c, int r,
		 struct bh_diag *diag)
{
	switch (SSL_get_error(c->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		return wait_for(t, c, POLLIN, diag);
	case SSL_ERROR_WANT_WRITE:
		return wait_for(t, c, POLLOUT, diag);
	default:
		return ssl_failed(diag, "TLS");
	}
}

static int shake_hands(const struct manager_transport *t, struct connection *c, const char *host,
		       struct bh_diag *diag)
{
	int r, s = 0;

	c->ctx = SSL_CTX_new(TLS_client_method());
	if (!c->ctx || SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION) != 1) {
		return ssl_failed(diag, "TLS");
	}
	SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
	r = trust(c->ctx, t->settings->ca, diag);
	if (r == 0) {
		r = show(c->ctx, t->settings, diag);
	}
	if (r < 0) {
		return r;
	}
	c->ssl = SSL_new(c->ctx);
	if (!c->ssl || set_name(c->ssl, host) != 1 || SSL_set_fd(c->ssl, c->fd) != 1) {
		return ssl_failed(diag, "TLS");
	}
	while ((r = SSL_connect(c->ssl)) != 1 && s == 0) {
		s = again(t, c, r, diag);
	}
	return s;
}

void manager_syslog_drop(struct manager_transport *t)
{
	struct connection *c = t->state;

	if (c) {
		SSL_free(c->ssl);
		SSL_CTX_free(c->ctx);
		if (c->fd >= 0) {
			close(c->fd);
		}
		free(c);
		t->state = NULL;
	}
}

static int open_connection(struct manager_transport *t, struct bh_diag *diag)
{
	struct connection *c = bh_alloc(sizeof(*c));
	char host[256], port[8];
	int r;

	t->state = c;
	c->fd = -1;
	c->until_ns = bh_time_mono_ns() + CONNECT_MS * BH_NS_PER_MS;
	split(t->settings->url, host, port);
	r = connect_any(t, c, host, port, diag);
	return r == 0 ? shake_hands(t, c, host, diag) : r;
}

/* ---- sending ---- */

static int write_all(const struct manager_transport *t, struct connection *c,
		     const struct bh_wbuf *batch, struct bh_diag *diag)
{
	size_t at = 0;

	while (at < batch->size) {
		int n = SSL_write(c->ssl, batch->data + at, (int)(batch->size - at));

		if (n > 0) {
			at += (size_t)n;
		} else {
			int r = again(t, c, n, diag);

			if (r < 0) {
				return r;
			}
		}
	}
	return 0;
}

/* Until nothing is on its way any more, and a moment longer without an end. */
static int see_taken(const struct manager_transport *t, struct connection *c, struct bh_diag *diag)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	int waiting = 1;
	char byte;

	while (ioctl(c->fd, SIOCOUTQ, &waiting) == 0 && waiting) {
		if (bh_time_mono_ns() > c->until_ns) {
			return bh_diag_set(diag, -ETIMEDOUT, "the receiver takes nothing");
		}
		if (atomic_load(t->stop)) {
			return -ECANCELED;
		}
		poll(&p, 1, 1);
		if (p.revents & (POLLHUP | POLLERR)) {
			return bh_diag_set(diag, -ECONNRESET, "the receiver closed the connection");
		}
	}
	/* What is to be read is an alert of TLS, or tickets, or its end. */
	if (poll(&p, 1, SETTLE_MS) > 0) {
		int n = SSL_read(c->ssl, &byte, 1);

		if (n <= 0 && SSL_get_error(c->ssl, n) != SSL_ERROR_WANT_READ) {
			return ssl_failed(diag, "the receiver closed the connection");
		}
	}
	return 0;
}

int manager_syslog_send(struct manager_transport *t, const struct bh_wbuf *batch,
			struct bh_diag *diag)
{
	struct connection *c;
	int r = t->state ? 0 : open_connection(t, diag);

	c = t->state;
	ERR_clear_error();
	if (r == 0) {
		c->until_ns = bh_time_mono_ns() + SEND_MS * BH_NS_PER_MS;
		r = write_all(t, c, batch, diag);
	}
	if (r == 0) {
		r = see_taken(t, c, diag);
	}
	if (r < 0) {
		manager_syslog_drop(t);
	}
	return r;
}
