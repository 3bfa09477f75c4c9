/* SPDX-License-Identifier: Apache-2.0 */
/* Who signed: a name that the CA gave, at a time when it holds, with that key and no other. */
#include "base/file.h"
#include "base/util.h"
#include "bus/pki.h"
#include "bus/pki_sign.h"
#include "model/capsule.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

/* What a capsule's writer wants is what the signer is. */
static bh_capsule_sign_fn *const sign_fn = bh_pki_sign;
_Static_assert(BH_PKI_SIG_MAX <= BH_CAPSULE_SIG_MAX, "a signature fits into a capsule");

static char dir[64];
static struct bh_pki_ca *ca;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/var/tmp/bh-test-sign-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return bh_pki_ca_open(dir, &ca, NULL);
}

static int teardown(void **state)
{
	bh_pki_ca_free(ca);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* dir/<file>.crt and .key for `name`, that live so long. */
static void issue(const char *file, const char *name, unsigned int life_s)
{
	struct bh_pki_subject subject = {.name = name, .usage = BH_PKI_CLIENT, .life_s = life_s};
	struct bh_diag diag = {};

	if (bh_pki_ensure(ca, dir, file, &subject, NULL, &diag)) {
		fail_msg("%s", diag.text);
	}
}

static struct bh_pki_signer *signer_of(const char *file)
{
	BH_FREE char *key = bh_asprintf("%s/%s.key", dir, file);
	struct bh_pki_signer *signer = NULL;

	assert_int_equal(bh_pki_signer_open(key, &signer, NULL), 0);
	return signer;
}

static int verifier_of(const char *file, const char *name, struct bh_pki_verifier **ret,
		       struct bh_diag *diag)
{
	BH_FREE char *ca_file = bh_asprintf("%s/ca.crt", dir);
	BH_FREE char *cert_file = bh_asprintf("%s/%s.crt", dir, file);
	BH_FREE char *cert = NULL;
	size_t size;

	assert_int_equal(bh_file_read(cert_file, BH_PKI_PEM_MAX, &cert, &size, NULL), 0);
	return bh_pki_verifier_open(ca_file, cert, size, name, ret, diag);
}

static void test_signed(void **state)
{
	struct bh_pki_verifier *verifier = NULL;
	struct bh_pki_signer *signer;
	uint8_t sig[BH_PKI_SIG_MAX];
	uint8_t data[100] = {1, 2, 3};
	size_t size = 0;
	struct bh_diag diag = {};

	issue("h1", "host.h1", 0);
	signer = signer_of("h1");
	assert_int_equal(verifier_of("h1", "host.h1", &verifier, &diag), 0);
	for (int i = 0; i < 3; i++) { /* the objects are used many times */
		data[7] = (uint8_t)i;
		assert_int_equal(sign_fn(data, sizeof(data), sig, &size, signer, &diag), 0);
		assert_in_range(size, 60, 72);
		assert_int_equal(bh_pki_verify(verifier, data, sizeof(data), sig, size, &diag), 0);
	}
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] ^= 0x10;
		assert_int_equal(bh_pki_verify(verifier, data, sizeof(data), sig, size, &diag),
				 -EKEYREJECTED);
		data[i] ^= 0x10;
	}
	for (size_t i = 0; i < size; i++) {
		sig[i] ^= 1;
		assert_int_equal(bh_pki_verify(verifier, data, sizeof(data), sig, size, &diag),
				 -EKEYREJECTED);
		sig[i] ^= 1;
		assert_int_equal(bh_pki_verify(verifier, data, sizeof(data), sig, i, &diag),
				 -EKEYREJECTED);
	}
	assert_int_equal(bh_pki_verify(verifier, data, sizeof(data) - 1, sig, size, &diag),
			 -EKEYREJECTED);
	assert_int_equal(bh_pki_verify(verifier, data, sizeof(data), sig, size, &diag), 0);
	bh_pki_signer_free(signer);
	bh_pki_verifier_free(verifier);
}

static void test_another_host(void **state)
{
	struct bh_pki_verifier *verifier = NULL;
	struct bh_pki_signer *signer;
	uint8_t sig[BH_PKI_SIG_MAX];
	size_t size = 0;
	struct bh_diag diag = {};

	issue("h1", "host.h1", 0);
	issue("h2", "host.h2", 0);
	signer = signer_of("h2");
	assert_int_equal(verifier_of("h1", "host.h1", &verifier, &diag), 0);
	assert_int_equal(bh_pki_sign("x", 1, sig, &size, signer, &diag), 0);
	assert_int_equal(bh_pki_verify(verifier, "x", 1, sig, size, &diag), -EKEYREJECTED);
	bh_pki_signer_free(signer);
	bh_pki_verifier_free(verifier);
	/* its certificate is not that of another name, longer or shorter ones included */
	assert_int_equal(verifier_of("h2", "host.h1", &verifier, &diag), -EBADMSG);
	assert_string_equal(diag.text, "the certificate is not for \"host.h1\"");
	assert_int_equal(verifier_of("h2", "host.h", &verifier, &diag), -EBADMSG);
	assert_int_equal(verifier_of("h2", "host.h22", &verifier, &diag), -EBADMSG);
	assert_int_equal(verifier_of("h2", "manager", &verifier, &diag), -EBADMSG);
}

static void test_bad_certificates(void **state)
{
	BH_FREE char *ca_file = bh_asprintf("%s/ca.crt", dir);
	BH_FREE char *other_dir = bh_asprintf("%s/other", dir);
	BH_FREE char *other_ca = bh_asprintf("%s/other/ca.crt", dir);
	BH_FREE char *cert_file = bh_asprintf("%s/h1.crt", dir);
	BH_FREE char *cert = NULL;
	struct bh_pki_verifier *verifier = NULL;
	struct bh_pki_ca *other;
	struct bh_diag diag = {};
	size_t size;

	issue("h1", "host.h1", 0);
	assert_int_equal(bh_file_read(cert_file, BH_PKI_PEM_MAX, &cert, &size, NULL), 0);
	for (size_t n = 0; n + 2 < size; n += 5) {
		assert_int_equal(
			bh_pki_verifier_open(ca_file, cert, n, "host.h1", &verifier, &diag),
			-EBADMSG);
		assert_true(*diag.text);
	}
	assert_int_equal(bh_pki_ca_open(other_dir, &other, &diag), 0);
	bh_pki_ca_free(other);
	assert_int_equal(bh_pki_verifier_open(other_ca, cert, size, "host.h1", &verifier, &diag),
			 -EBADMSG);
	assert_int_equal(
		bh_pki_verifier_open("/nonexistent", cert, size, "host.h1", &verifier, &diag),
		-ENOENT);
	/* the CA itself signs no capsules */
	assert_int_equal(bh_pki_verifier_open(ca_file, bh_pki_ca_pem(ca), strlen(bh_pki_ca_pem(ca)),
					      "host.h1", &verifier, &diag),
			 -EBADMSG);
}

static void test_runs_out(void **state)
{
	struct bh_pki_verifier *verifier = NULL;
	struct bh_pki_signer *signer;
	uint8_t sig[BH_PKI_SIG_MAX];
	size_t size = 0;
	struct bh_diag diag = {};

	issue("short", "host.short", 2);
	signer = signer_of("short");
	assert_int_equal(verifier_of("short", "host.short", &verifier, &diag), 0);
	assert_int_equal(bh_pki_sign("x", 1, sig, &size, signer, &diag), 0);
	for (int i = 0; i < 100 && !bh_pki_verify(verifier, "x", 1, sig, size, &diag); i++) {
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	assert_string_equal(diag.text, "the signer's certificate has run out");
	bh_pki_verifier_free(verifier);
	assert_int_equal(verifier_of("short", "host.short", &verifier, &diag), -EBADMSG);
	bh_pki_signer_free(signer);
}

static void test_bad_keys(void **state)
{
	BH_FREE char *path = bh_asprintf("%s/bad.key", dir);
	struct bh_pki_signer *signer = NULL;
	struct bh_diag diag = {};

	assert_int_equal(bh_pki_signer_open(path, &signer, &diag), -ENOENT);
	assert_int_equal(bh_file_replace(path, "no key", 6, 0600, &diag), 0);
	assert_int_equal(bh_pki_signer_open(path, &signer, &diag), -EBADMSG);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_signed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_certificates, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runs_out, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_keys, setup, teardown),
	};

	if (argc > 1) {
		cmocka_set_test_filter(argv[1]);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
