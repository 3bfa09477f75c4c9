/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a host's key and certificate are replaced by a new pair (theory in pki.h). The states on disk
 * (old pair K C, new pair K' C'):
 *
 *	key.pem	cert.pem  key.next  cert.next
 *	K	C	  K'			asked for, or nothing came of it
 *	K	C	  K'	    C'		killed before the first rename: asks again
 *	K	C'	  K'			killed between the renames
 *	K'	C		    C'		the same, where the disk kept the later rename only
 *	K'	C'				done
 */
#include "bus/pki.h"

#include "base/file.h"
#include "base/util.h"

#include <errno.h>

struct pair {
	char *ca, *key, *cert, *next_key, *next_cert; /* paths */
};

static void pair_init(struct pair *p, const char *dir)
{
	p->ca = bh_asprintf("%s/ca.pem", dir);
	p->key = bh_asprintf("%s/key.pem", dir);
	p->cert = bh_asprintf("%s/cert.pem", dir);
	p->next_key = bh_asprintf("%s/key.next.pem", dir);
	p->next_cert = bh_asprintf("%s/cert.next.pem", dir);
}

static void pair_done(struct pair *p)
{
	free(p->ca);
	free(p->key);
	free(p->cert);
	free(p->next_key);
	free(p->next_cert);
}
#define PAIR BH_CLEANUP(pair_done) struct pair

int bh_pki_renew_csr(const char *dir, const char *name, char **ret_csr, struct bh_diag *diag)
{
	PAIR p;
	int r;

	pair_init(&p, dir);
	r = bh_pki_csr_make(p.next_key, name, ret_csr, diag);
	if (r == -EBADMSG && !unlink(p.next_key)) { /* damaged: nothing depends on it yet */
		r = bh_pki_csr_make(p.next_key, name, ret_csr, diag);
	}
	return r;
}

/* The certificate first: its key can be found again beside it. */
static int swap(const struct pair *p, struct bh_diag *diag)
{
	int r = bh_file_move(p->next_cert, p->cert, diag);

	return r ? r : bh_file_move(p->next_key, p->key, diag);
}

int bh_pki_renew_install(const char *dir, const char *name, const char *ca, const char *cert,
			 struct bh_diag *diag)
{
	PAIR p;
	int r;

	pair_init(&p, dir);
	if (!bh_pki_same_ca(p.ca, ca)) {
		return bh_diag_set(
			diag, -EBADMSG,
			"the manager's CA has another key than the one this host trusts: "
			"join again with `bulkhead host enroll --force`");
	}
	r = bh_pki_install(ca, cert, p.next_key, name, p.ca, p.next_cert, diag);
	return r ? r : swap(&p, diag);
}

int bh_pki_renew_settle(const char *dir, struct bh_diag *diag)
{
	PAIR p;

	pair_init(&p, dir);
	if (bh_pki_pair_fits(p.cert, p.key)) {
		/* not swapped in, who knows how old it is: the host asks again, same key */
		unlink(p.next_cert);
		return 0;
	}
	if (bh_pki_pair_fits(p.cert, p.next_key)) {
		return bh_file_move(p.next_key, p.key, diag);
	}
	if (bh_pki_pair_fits(p.next_cert, p.key)) {
		return bh_file_move(p.next_cert, p.cert, diag);
	}
	if (access(p.cert, F_OK) || access(p.key, F_OK)) {
		return bh_diag_at(diag, -ENOENT, p.cert, 0, 0,
				  "this host's key or certificate is missing: join again with "
				  "`bulkhead host enroll --force`");
	}
	return bh_diag_at(diag, -EBADMSG, p.cert, 0, 0,
			  "not the certificate of the key beside it: join again with "
			  "`bulkhead host enroll --force`");
}
