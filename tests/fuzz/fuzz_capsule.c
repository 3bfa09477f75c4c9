/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of capsules come from other hosts, and a lost one may sign what it likes: the signature is
 * taken as good here. What is told can be written again, and is then told as the same. */
#include "base/util.h"
#include "model/capsule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct again {
	struct bh_capsule_writer *w;
	struct bh_hash sum; /* of all connections */
	struct bh_hasher *hasher;
	size_t records;
};

static int verify(const struct bh_capsule_head *head, const struct bh_capsule_signed *what,
		  void *arg, struct bh_diag *diag)
{
	struct again *a = arg;

	a->w = bh_capsule_writer_new(head);
	return 0;
}

static int sign(const void *data, size_t size, uint8_t *sig, size_t *ret_size, void *arg,
		struct bh_diag *diag)
{
	sig[0] = 0;
	*ret_size = 1;
	return 0;
}

static void told(struct again *a, bool put)
{
	/* shorter than what came, but for the signature: a part that was full may not hold it */
	a->records += put;
}

static void on_nic(const struct bh_capsule_nic *nic, void *arg)
{
	told(arg, bh_capsule_put_nic(((struct again *)arg)->w, nic));
}

static void on_segment(const struct bh_capsule_segment *segment, void *arg)
{
	told(arg, bh_capsule_put_segment(((struct again *)arg)->w, segment));
}

static void on_conn(const struct bh_capsule_conn *conn, void *arg)
{
	struct again *a = arg;
	struct bh_hash h;

	if (conn->state > BH_CAPSULE_STATE_MAX || conn->idle_ms > BH_CAPSULE_MS_MAX ||
	    (!conn->nic[0] && !conn->nic[1]) || memcmp(conn->tuple.lo, conn->tuple.hi, 16) > 0) {
		abort();
	}
	if (bh_capsule_put_conn(a->w, conn)) {
		bh_capsule_conn_hash(a->hasher, conn, &h);
		bh_hash_add(&a->sum, &h);
		told(a, true);
	}
}

static void on_gone(const struct bh_capsule_tuple *tuple, void *arg)
{
	told(arg, bh_capsule_put_gone(((struct again *)arg)->w, tuple));
}

static void on_mark(const struct bh_capsule_mark *mark, void *arg)
{
	told(arg, bh_capsule_put_mark(((struct again *)arg)->w, mark));
}

static int read_part(const void *data, size_t size, struct again *a)
{
	struct bh_capsule_handlers h = {.verify = verify,
					.nic = on_nic,
					.segment = on_segment,
					.conn = on_conn,
					.gone = on_gone,
					.mark = on_mark,
					.arg = a};

	return bh_capsule_read(data, size, &h, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bh_hasher *hasher = bh_hasher_new();
	struct again first = {.hasher = hasher};
	struct again second = {.hasher = hasher};
	const void *part;
	size_t part_size;

	if (!read_part(data, size, &first)) {
		if (bh_capsule_finish(first.w, sign, NULL, &part, &part_size, NULL) ||
		    read_part(part, part_size, &second) || first.records != second.records ||
		    !bh_hash_equal(&first.sum, &second.sum)) {
			abort();
		}
	}
	bh_capsule_writer_free(first.w);
	bh_capsule_writer_free(second.w);
	bh_hasher_free(hasher);
	return 0;
}
