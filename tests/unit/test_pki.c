/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/pki.h"

#include "base/file.h"
#include "base/util.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static char dir[64];
static struct bh_pki_ca *ca;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/var/tmp/bh-test-pki-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return bh_pki_ca_open(dir, &ca, NULL);
}

static int tree_remove(const char *path)
{
	return nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int teardown(void **state)
{
	bh_pki_ca_free(ca);
	return tree_remove(dir);
}

static char *path_of(const char *file)
{
	return bh_asprintf("%s/%s", dir, file);
}

static mode_t mode_of(const char *file)
{
	BH_FREE char *path = path_of(file);
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void test_ca(void **state)
{
	BH_FREE char *cert = path_of("ca.crt");
	BH_FREE char *key = path_of("ca.key");
	BH_FREE char *away = path_of("away");
	struct bh_pki_ca *again;
	struct bh_pki_info info;
	struct bh_diag diag;

	assert_int_equal(mode_of("ca.key"), 0600);
	assert_int_equal(mode_of("ca.crt"), 0644);
	assert_int_equal(strlen(bh_pki_ca_fingerprint(ca)), 64);
	assert_int_equal(bh_pki_info_file(cert, &info, &diag), 0);
	assert_string_equal(info.fingerprint, bh_pki_ca_fingerprint(ca));
	assert_in_range(info.not_after_s - time(NULL), 3649ll * 86400, 3651ll * 86400);
	/* the same one again */
	assert_int_equal(bh_pki_ca_open(dir, &again, &diag), 0);
	assert_string_equal(bh_pki_ca_fingerprint(again), bh_pki_ca_fingerprint(ca));
	bh_pki_ca_free(again);
	/* never silently another one */
	assert_int_equal(rename(key, away), 0);
	assert_int_equal(bh_pki_ca_open(dir, &again, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "join again"));
	assert_int_equal(rename(away, key), 0);
}

/* A certificate that was lost is made again from the key: what it issued stays valid. */
static void test_ca_cert_lost(void **state)
{
	BH_FREE char *other = path_of("other");
	BH_FREE char *ca_file = path_of("other/ca.crt");
	BH_FREE char *key_file = path_of("other/x.key");
	BH_FREE char *out_ca = path_of("other/x-ca.crt");
	BH_FREE char *out_cert = path_of("other/x.crt");
	BH_FREE char *csr = NULL;
	BH_FREE char *cert = NULL;
	struct bh_pki_subject subject = {.name = "host.x", .usage = BH_PKI_CLIENT};
	struct bh_pki_ca *c;
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_ca_open(other, &c, &diag), 0);
	assert_int_equal(bh_pki_csr_make(key_file, "host.x", &csr, &diag), 0);
	assert_int_equal(bh_pki_csr_sign(c, csr, strlen(csr), &subject, &cert, &diag), 0);
	bh_pki_ca_free(c);
	assert_int_equal(unlink(ca_file), 0);
	assert_int_equal(bh_pki_ca_open(other, &c, &diag), 0);
	assert_int_equal(
		bh_pki_install(bh_pki_ca_pem(c), cert, key_file, "host.x", out_ca, out_cert, &diag),
		0);
	bh_pki_ca_free(c);
}

static X509 *load(const char *file)
{
	BH_FREE char *path = path_of(file);
	FILE *f = fopen(path, "r");
	X509 *cert;

	assert_non_null(f);
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	assert_non_null(cert);
	return cert;
}

static void test_ensure(void **state)
{
	static const char *const alts[] = {"127.0.0.1", "::1", "manager.example.org"};
	struct bh_pki_subject subject = {
		.name = "bus.bulkhead", .alts = alts, .alt_count = 3, .usage = BH_PKI_SERVER};
	struct bh_diag diag = {};
	bool changed;
	X509 *cert;

	assert_int_equal(bh_pki_ensure(ca, dir, "bus", &subject, &changed, &diag), 0);
	assert_true(changed);
	assert_int_equal(mode_of("bus.key"), 0600);
	assert_int_equal(mode_of("bus.crt"), 0644);
	cert = load("bus.crt");
	assert_int_equal(X509_check_host(cert, "bus.bulkhead", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "manager.example.org", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(cert, "manager", 0, 0, NULL), 0);
	assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
	assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_check_purpose(cert, X509_PURPOSE_SSL_CLIENT, 0), 0);
	assert_int_equal(X509_check_ca(cert), 0);
	X509_free(cert);
	/* kept while it is good, renewed when a name is added or its time runs out */
	assert_int_equal(bh_pki_ensure(ca, dir, "bus", &subject, &changed, &diag), 0);
	assert_false(changed);
	subject.alt_count = 2;
	assert_int_equal(bh_pki_ensure(ca, dir, "bus", &subject, &changed, &diag), 0);
	assert_false(changed);
	subject.name = "bus.other";
	assert_int_equal(bh_pki_ensure(ca, dir, "bus", &subject, &changed, &diag), 0);
	assert_true(changed);
}

static void test_due(void **state)
{
	struct bh_pki_info info = {.not_before_s = 1000, .not_after_s = 4000};

	assert_false(bh_pki_due(&info, 2999));
	assert_true(bh_pki_due(&info, 3000));
	assert_true(bh_pki_due(&info, 5000));
}

/* The names in a request don't count. */
static void test_csr_names_ignored(void **state)
{
	BH_FREE char *key_file = path_of("h1.key");
	BH_FREE char *ca_file = path_of("h1-ca.crt");
	BH_FREE char *cert_file = path_of("h1.crt");
	BH_FREE char *csr = NULL;
	BH_FREE char *again = NULL;
	BH_FREE char *cert = NULL;
	struct bh_pki_subject subject = {.name = "host.h1", .usage = BH_PKI_CLIENT};
	struct bh_pki_info info;
	struct bh_diag diag = {};
	X509 *x;

	assert_int_equal(bh_pki_csr_make(key_file, "manager", &csr, &diag), 0);
	assert_int_equal(mode_of("h1.key"), 0600);
	assert_int_equal(bh_pki_csr_sign(ca, csr, strlen(csr), &subject, &cert, &diag), 0);
	assert_int_equal(bh_pki_info_pem(cert, strlen(cert), &info, &diag), 0);
	assert_string_equal(info.name, "host.h1");
	assert_int_equal(bh_pki_install(bh_pki_ca_pem(ca), cert, key_file, "host.h2", ca_file,
					cert_file, &diag),
			 -EBADMSG);
	assert_int_equal(access(cert_file, F_OK), -1);
	assert_int_equal(bh_pki_install(bh_pki_ca_pem(ca), cert, key_file, "host.h1", ca_file,
					cert_file, &diag),
			 0);
	x = load("h1.crt");
	assert_int_equal(X509_check_host(x, "manager", 0, 0, NULL), 0);
	assert_int_equal(X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0), 0);
	X509_free(x);
	/* the key is kept */
	assert_int_equal(bh_pki_csr_make(key_file, "host.h1", &again, &diag), 0);
	free(bh_steal(&cert));
	assert_int_equal(bh_pki_csr_sign(ca, again, strlen(again), &subject, &cert, &diag), 0);
	assert_int_equal(bh_pki_install(bh_pki_ca_pem(ca), cert, key_file, "host.h1", ca_file,
					cert_file, &diag),
			 0);
}

static void test_install_refuses(void **state)
{
	BH_FREE char *other_dir = path_of("foreign");
	BH_FREE char *key_file = path_of("i.key");
	BH_FREE char *other_key = path_of("j.key");
	BH_FREE char *out_ca = path_of("i-ca.crt");
	BH_FREE char *out = path_of("i.crt");
	BH_FREE char *csr = NULL;
	BH_FREE char *other_csr = NULL;
	BH_FREE char *cert = NULL;
	struct bh_pki_subject subject = {.name = "host.i", .usage = BH_PKI_CLIENT};
	struct bh_pki_ca *other;
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_ca_open(other_dir, &other, &diag), 0);
	assert_int_equal(bh_pki_csr_make(key_file, "host.i", &csr, &diag), 0);
	assert_int_equal(bh_pki_csr_make(other_key, "host.i", &other_csr, &diag), 0);
	assert_int_equal(bh_pki_csr_sign(ca, csr, strlen(csr), &subject, &cert, &diag), 0);
	/* another CA, another key, no certificate */
	assert_int_equal(
		bh_pki_install(bh_pki_ca_pem(other), cert, key_file, "host.i", out_ca, out, &diag),
		-EBADMSG);
	assert_int_equal(
		bh_pki_install(bh_pki_ca_pem(ca), cert, other_key, "host.i", out_ca, out, &diag),
		-EBADMSG);
	assert_int_equal(
		bh_pki_install(bh_pki_ca_pem(ca), csr, key_file, "host.i", out_ca, out, &diag),
		-EBADMSG);
	assert_int_equal(access(out_ca, F_OK), -1);
	bh_pki_ca_free(other);
}

static int sign(const char *csr, size_t size)
{
	struct bh_pki_subject subject = {.name = "host.x", .usage = BH_PKI_CLIENT};
	BH_FREE char *cert = NULL;
	struct bh_diag diag = {};

	return bh_pki_csr_sign(ca, csr, size, &subject, &cert, &diag);
}

static char *csr_with(EVP_PKEY *key, EVP_PKEY *signer)
{
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	char *text;
	long n;

	X509_REQ_set_pubkey(req, key);
	X509_REQ_sign(req, signer, EVP_sha256());
	PEM_write_bio_X509_REQ(bio, req);
	n = BIO_get_mem_data(bio, &data);
	text = bh_alloc((size_t)n + 1);
	memcpy(text, data, (size_t)n);
	BIO_free(bio);
	X509_REQ_free(req);
	return text;
}

static void test_bad_csr(void **state)
{
	BH_FREE char *key_file = path_of("b.key");
	BH_FREE char *csr = NULL;
	BH_FREE char *rsa_csr = NULL;
	BH_FREE char *p384_csr = NULL;
	BH_FREE char *stolen_csr = NULL;
	EVP_PKEY *rsa = EVP_RSA_gen(2048);
	EVP_PKEY *p384 = EVP_EC_gen("P-384");
	EVP_PKEY *a = EVP_EC_gen("P-256");
	EVP_PKEY *b = EVP_EC_gen("P-256");

	assert_int_equal(bh_pki_csr_make(key_file, "x", &csr, NULL), 0);
	assert_int_equal(sign(csr, strlen(csr)), 0);
	for (size_t n = 0; n + 30 < strlen(csr); n += 7) {
		assert_int_equal(sign(csr, n), -EBADMSG);
	}
	assert_int_equal(sign("", 0), -EBADMSG);
	assert_int_equal(sign(bh_pki_ca_pem(ca), strlen(bh_pki_ca_pem(ca))), -EBADMSG);
	assert_int_equal(sign(csr, BH_PKI_PEM_MAX + 1), -EBADMSG);
	rsa_csr = csr_with(rsa, rsa);
	assert_int_equal(sign(rsa_csr, strlen(rsa_csr)), -EBADMSG);
	p384_csr = csr_with(p384, p384);
	assert_int_equal(sign(p384_csr, strlen(p384_csr)), -EBADMSG);
	stolen_csr = csr_with(a, b); /* somebody else's key */
	assert_int_equal(sign(stolen_csr, strlen(stolen_csr)), -EBADMSG);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
}

/* ---- renewal ---- */
/* dir/<name> as a host that has joined; its folder, owned. */
static char *host_new(const char *name, unsigned int life_s)
{
	char *host = path_of(name);
	BH_FREE char *key = bh_asprintf("%s/key.pem", host);
	BH_FREE char *cert_file = bh_asprintf("%s/cert.pem", host);
	BH_FREE char *ca_file = bh_asprintf("%s/ca.pem", host);
	struct bh_pki_subject subject = {
		.name = "host.r", .usage = BH_PKI_CLIENT, .life_s = life_s};
	BH_FREE char *csr = NULL;
	BH_FREE char *cert = NULL;

	assert_int_equal(bh_mkdirs(host, 0700, NULL), 0);
	assert_int_equal(bh_pki_csr_make(key, "host.r", &csr, NULL), 0);
	assert_int_equal(bh_pki_csr_sign(ca, csr, strlen(csr), &subject, &cert, NULL), 0);
	assert_int_equal(
		bh_pki_install(bh_pki_ca_pem(ca), cert, key, "host.r", ca_file, cert_file, NULL),
		0);
	return host;
}

/* What the manager answers to the host's request. */
static char *answer_for(const char *host)
{
	struct bh_pki_subject subject = {.name = "host.r", .usage = BH_PKI_CLIENT};
	BH_FREE char *csr = NULL;
	char *cert = NULL;

	assert_int_equal(bh_pki_renew_csr(host, "host.r", &csr, NULL), 0);
	assert_int_equal(bh_pki_csr_sign(ca, csr, strlen(csr), &subject, &cert, NULL), 0);
	return cert;
}

static bool fits(const char *host)
{
	BH_FREE char *cert = bh_asprintf("%s/cert.pem", host);
	BH_FREE char *key = bh_asprintf("%s/key.pem", host);

	return bh_pki_pair_fits(cert, key);
}

static void info_of(const char *host, struct bh_pki_info *ret)
{
	BH_FREE char *cert = bh_asprintf("%s/cert.pem", host);

	assert_int_equal(bh_pki_info_file(cert, ret, NULL), 0);
}

static void move(const char *host, const char *from, const char *to)
{
	BH_FREE char *a = bh_asprintf("%s/%s", host, from);
	BH_FREE char *b = bh_asprintf("%s/%s", host, to);

	assert_int_equal(rename(a, b), 0);
}

static bool there(const char *host, const char *file)
{
	BH_FREE char *path = bh_asprintf("%s/%s", host, file);

	return !access(path, F_OK);
}

static void test_renew(void **state)
{
	BH_FREE char *host = host_new("renew", 60);
	BH_FREE char *first = answer_for(host);
	BH_FREE char *second = NULL;
	BH_FREE char *csr = NULL;
	struct bh_pki_info old, new;
	struct bh_diag diag = {};
	char name[80];

	info_of(host, &old);
	assert_in_range(old.not_after_s - time(NULL), 50, 60);
	assert_true(bh_pki_due(&old, (int64_t)time(NULL)));
	/* a repeat asks for the same key: either answer will do */
	second = answer_for(host);
	assert_int_equal(bh_pki_renew_install(host, "host.r", bh_pki_ca_pem(ca), first, &diag), 0);
	assert_true(fits(host));
	info_of(host, &new);
	assert_string_not_equal(old.fingerprint, new.fingerprint);
	assert_false(bh_pki_due(&new, (int64_t)time(NULL)));
	assert_false(there(host, "key.next.pem"));
	assert_false(there(host, "cert.next.pem"));
	assert_int_equal(mode_of("renew/key.pem"), 0600);
	/* the late one has no key any more */
	assert_true(bh_pki_renew_install(host, "host.r", bh_pki_ca_pem(ca), second, &diag) < 0);
	assert_true(fits(host));
	/* a damaged new key is made again */
	assert_int_equal(bh_pki_renew_csr(host, "host.r", &csr, &diag), 0);
	free(bh_steal(&second));
	second = bh_asprintf("%s/key.next.pem", host);
	assert_int_equal(bh_file_replace(second, "x", 1, 0600, NULL), 0);
	free(bh_steal(&csr));
	assert_int_equal(bh_pki_renew_csr(host, "host.r", &csr, &diag), 0);
	assert_int_equal(bh_pki_csr_name(csr, strlen(csr), name, sizeof(name), &diag), 0);
	assert_string_equal(name, "host.r");
	assert_int_equal(bh_pki_csr_name("x", 1, name, sizeof(name), &diag), -EBADMSG);
}

/* Every state that a kill -9 between two steps can leave. */
static void test_renew_settle(void **state)
{
	BH_FREE char *host = host_new("settle", 0);
	BH_FREE char *cert = answer_for(host);
	BH_FREE char *next = bh_asprintf("%s/cert.next.pem", host);
	struct bh_pki_info info;
	struct bh_pki_info want;
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_info_pem(cert, strlen(cert), &want, NULL), 0);
	/* only asked */
	assert_int_equal(bh_pki_renew_settle(host, &diag), 0);
	assert_true(there(host, "key.next.pem"));
	/* staged */
	assert_int_equal(bh_file_replace(next, cert, strlen(cert), 0644, NULL), 0);
	assert_int_equal(bh_pki_renew_settle(host, &diag), 0);
	assert_true(fits(host));
	assert_false(there(host, "cert.next.pem"));
	/* between the renames */
	assert_int_equal(bh_file_replace(next, cert, strlen(cert), 0644, NULL), 0);
	move(host, "cert.next.pem", "cert.pem");
	assert_false(fits(host));
	assert_int_equal(bh_pki_renew_settle(host, &diag), 0);
	assert_true(fits(host));
	info_of(host, &info);
	assert_string_equal(info.fingerprint, want.fingerprint);
	/* the later rename only */
	free(bh_steal(&cert));
	cert = answer_for(host);
	assert_int_equal(bh_file_replace(next, cert, strlen(cert), 0644, NULL), 0);
	move(host, "key.next.pem", "key.pem");
	assert_int_equal(bh_pki_renew_settle(host, &diag), 0);
	assert_true(fits(host));
	/* beyond mending: said so */
	free(bh_steal(&cert));
	cert = answer_for(host);
	assert_int_equal(bh_file_replace(next, cert, strlen(cert), 0644, NULL), 0);
	move(host, "cert.next.pem", "cert.pem");
	move(host, "key.next.pem", "lost");
	assert_int_equal(bh_pki_renew_settle(host, &diag), -EBADMSG);
	assert_non_null(strstr(diag.text, "enroll --force"));
	move(host, "cert.pem", "lost");
	assert_int_equal(bh_pki_renew_settle(host, &diag), -ENOENT);
}

/* kill -9 somewhere in it, again and again. */
static void test_renew_killed(void **state)
{
	enum { ROUNDS = 40 };
	BH_FREE char *host = host_new("killed", 0);
	unsigned int mended = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			for (;;) {
				BH_FREE char *cert = answer_for(host);

				if (bh_pki_renew_install(host, "host.r", bh_pki_ca_pem(ca), cert,
							 NULL)) {
					_exit(1);
				}
			}
		}
		usleep(2000 + i * 977 % 9000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		mended += !fits(host);
		assert_int_equal(bh_pki_renew_settle(host, NULL), 0);
		assert_true(fits(host));
	}
	print_message("%u of %d kills hit between the two files\n", mended, ROUNDS);
}

/* The CA's certificate is made anew with the same key: hosts take it with their renewal. Another
 * CA's is refused, however well it comes. */
static void test_renew_ca(void **state)
{
	BH_FREE char *host = host_new("rolled", 0);
	BH_FREE char *ca_copy = path_of("rolled/ca.pem");
	BH_FREE char *other_dir = path_of("other-ca");
	BH_FREE char *key = path_of("ca.key");
	BH_FREE char *other_key = path_of("other-ca/ca.key");
	BH_FREE char *cert = answer_for(host);
	BH_FREE char *text = NULL;
	struct bh_pki_ca *other;
	struct bh_pki_info info;
	struct bh_diag diag = {};
	size_t size;

	assert_int_equal(bh_pki_ca_open(other_dir, &other, &diag), 0);
	assert_int_equal(bh_pki_renew_install(host, "host.r", bh_pki_ca_pem(other), cert, &diag),
			 -EBADMSG);
	assert_non_null(strstr(diag.text, "another key"));
	bh_pki_ca_free(other);
	tree_remove(other_dir);
	/* a new certificate for the old key */
	assert_int_equal(bh_mkdirs(other_dir, 0700, NULL), 0);
	assert_int_equal(bh_file_read(key, 65536, &text, &size, NULL), 0);
	assert_int_equal(bh_file_replace(other_key, text, size, 0600, NULL), 0);
	assert_int_equal(bh_pki_ca_open(other_dir, &other, &diag), 0);
	assert_string_not_equal(bh_pki_ca_fingerprint(other), bh_pki_ca_fingerprint(ca));
	assert_int_equal(bh_pki_renew_install(host, "host.r", bh_pki_ca_pem(other), cert, &diag),
			 0);
	assert_int_equal(bh_pki_info_file(ca_copy, &info, NULL), 0);
	assert_string_equal(info.fingerprint, bh_pki_ca_fingerprint(other));
	bh_pki_ca_free(other);
}

static void test_bad_names(void **state)
{
	char name[300];
	struct bh_pki_subject subject = {.name = name, .usage = BH_PKI_CLIENT};
	struct bh_diag diag = {};

	memset(name, 'a', sizeof(name));
	name[254] = '\0';
	assert_int_equal(bh_pki_ensure(ca, dir, "n", &subject, NULL, &diag), -EINVAL);
	name[0] = '\0';
	assert_int_equal(bh_pki_ensure(ca, dir, "n", &subject, NULL, &diag), -EINVAL);
	memset(name, 'a', 68); /* the longest host name: too long for a CN, not for a SAN */
	name[68] = '\0';
	assert_int_equal(bh_pki_ensure(ca, dir, "n", &subject, NULL, &diag), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ca),
		cmocka_unit_test(test_ca_cert_lost),
		cmocka_unit_test(test_ensure),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_csr_names_ignored),
		cmocka_unit_test(test_install_refuses),
		cmocka_unit_test(test_bad_csr),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_renew),
		cmocka_unit_test(test_renew_settle),
		cmocka_unit_test(test_renew_killed),
		cmocka_unit_test(test_renew_ca),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
