/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on a transaction that are no buffers: numbers, events, files, calls of DCE/RPC. */
#include "gate/app/dcerpc/dcerpc.h"
#include "gate/detect/txmatch.h"

static bool hash_in(const struct gate_file_match *m, const uint8_t *hash, size_t size)
{
	size_t low = 0, high = m->hash_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = memcmp(m->hashes + mid * size, hash, size);

		if (!order) {
			return true;
		}
		if (order < 0) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return false;
}

static enum gate_list_result file_size(const struct gate_file_match *m,
				       const struct gate_file *file)
{
	bool open = file->state == GATE_FILE_OPEN;
	bool grows = m->size.op == GATE_GT || m->size.op == GATE_GE;

	/* It may yet grow: only what stays true can be said. */
	if (open && !(grows && !m->negated)) {
		return GATE_LIST_NOT_YET;
	}
	if (gate_test_holds(&m->size, file->size) != m->negated) {
		return GATE_LIST_HOLDS;
	}
	return open ? GATE_LIST_NOT_YET : GATE_LIST_NEVER;
}

static enum gate_list_result file_hash(const struct gate_file_match *m,
				       const struct gate_file *file)
{
	const uint8_t *hash = file->md5;
	size_t size = sizeof(file->md5);
	uint16_t flag = GATE_FILE_MD5;

	if (m->what == GATE_FM_SHA1) {
		hash = file->sha1;
		size = sizeof(file->sha1);
		flag = GATE_FILE_SHA1;
	} else if (m->what == GATE_FM_SHA256) {
		hash = file->sha256;
		size = sizeof(file->sha256);
		flag = GATE_FILE_SHA256;
	}
	if (file->state == GATE_FILE_OPEN) {
		return GATE_LIST_NOT_YET;
	}
	if (file->state != GATE_FILE_CLOSED || !(file->flags & flag)) {
		return GATE_LIST_NEVER;
	}
	return hash_in(m, hash, size) != m->negated ? GATE_LIST_HOLDS : GATE_LIST_NEVER;
}

static enum gate_list_result file_holds(const struct gate_file_match *m,
					const struct gate_file *file)
{
	switch (m->what) {
	case GATE_FM_ANY:
		return GATE_LIST_HOLDS;
	case GATE_FM_SIZE:
		return file_size(m, file);
	default:
		return file_hash(m, file);
	}
}

enum gate_list_result gate_list_files(struct gate_detector *d, const struct gate_match *m)
{
	const struct gate_file_match *fm = &m->file;
	enum gate_list_result result = d->side_over ? GATE_LIST_NEVER : GATE_LIST_NOT_YET;

	for (const struct gate_file *f = d->tx->files[d->dir].first; f; f = f->next) {
		enum gate_list_result r = file_holds(fm, f);

		if (r == GATE_LIST_HOLDS) {
			return r;
		}
		result = r == GATE_LIST_NOT_YET && !d->side_over ? r : result;
	}
	return result;
}

static bool number_at(struct gate_detector *d, const struct gate_match *m, uint32_t index,
		      uint64_t *ret)
{
	const struct gate_app_ops *ops = gate_session_ops(d->session);

	return ops && ops->number && index < UINT16_MAX &&
	       ops->number(d->tx, (enum gate_dir)d->dir, (enum gate_number)m->num.number, index,
			   ret);
}

static bool number_holds(const struct gate_match *m, uint64_t value)
{
	return gate_test_holds(&m->num.test, value) != m->num.negated;
}

/* The part that is asked about: an end that is outside leaves nothing. */
static void slice_of(const struct gate_multi *multi, uint32_t *from, uint32_t *to)
{
	int64_t count = *to, first = multi->from, last = multi->to;

	if (multi->slice) {
		first += first < 0 ? count : 0;
		last += last < 0 ? count : 0;
		*from = first < 0 || last > count || first > last ? 0 : (uint32_t)first;
		*to = first < 0 || last > count || first > last ? 0 : (uint32_t)last;
	}
}

bool gate_multi_holds(const struct gate_multi *multi, uint32_t count, gate_multi_fn *holds,
		      void *arg)
{
	uint32_t from = 0, to = count, hold = 0;
	int64_t at;

	slice_of(multi, &from, &to);
	for (uint32_t i = from; i < to; i++) {
		hold += holds(arg, i);
	}
	at = multi->at < 0 ? (int64_t)to + multi->at : (int64_t)from + multi->at;
	switch (multi->mode) {
	case GATE_MULTI_ALL:
		return to > from && hold == to - from;
	case GATE_MULTI_ALL_OR_ABSENT:
		return hold == to - from;
	case GATE_MULTI_OR_ABSENT:
		return hold || to == from;
	case GATE_MULTI_TIMES:
		return gate_test_holds(&multi->count, hold);
	case GATE_MULTI_COUNT:
		return gate_test_holds(&multi->count, to - from);
	case GATE_MULTI_AT:
	case GATE_MULTI_AT_OR_OUT:
		if (at < from || at >= to) {
			return multi->mode == GATE_MULTI_AT_OR_OUT;
		}
		return holds(arg, (uint32_t)at);
	default:
		return hold > 0;
	}
}

struct numbers {
	struct gate_detector *d;
	const struct gate_match *m;
};

static bool holds_at(void *arg, uint32_t index)
{
	const struct numbers *n = arg;
	uint64_t value;

	return number_at(n->d, n->m, index, &value) && number_holds(n->m, value);
}

/* All of them are there. */
static bool numbers_hold(struct gate_detector *d, const struct gate_match *m)
{
	struct numbers n = {d, m};
	uint32_t count = 0;
	uint64_t value;

	while (number_at(d, m, count, &value)) {
		count++;
	}
	return gate_multi_holds(&m->num.multi, count, holds_at, &n);
}

enum gate_list_result gate_list_number(struct gate_detector *d, const struct gate_match *m)
{
	const struct gate_multi *multi = &m->num.multi;
	bool any = multi->mode == GATE_MULTI_ANY && !multi->slice;
	uint64_t value;

	for (uint32_t i = 0; any && number_at(d, m, i, &value); i++) {
		if (number_holds(m, value)) {
			return GATE_LIST_HOLDS;
		}
	}
	if (!d->side_over) {
		return GATE_LIST_NOT_YET;
	}
	return !any && numbers_hold(d, m) ? GATE_LIST_HOLDS : GATE_LIST_NEVER;
}

enum gate_list_result gate_list_event(struct gate_detector *d, const struct gate_match *m)
{
	if (m->event.app == GATE_APP_UNKNOWN) {
		return gate_session_events(d->session) & (1u << m->event.event) ? GATE_LIST_HOLDS
										: GATE_LIST_NOT_YET;
	}
	for (uint8_t i = 0; m->event.app == d->p->flow->app && i < d->tx->event_count; i++) {
		if (d->tx->events[i] == m->event.event) {
			return GATE_LIST_HOLDS;
		}
	}
	return d->side_over ? GATE_LIST_NEVER : GATE_LIST_NOT_YET;
}

static bool iface_holds(struct gate_detector *d, const struct gate_match *m)
{
	const struct gate_dcerpc_iface *f;
	enum gate_app app = (enum gate_app)d->p->flow->app;

	for (uint32_t i = 0; (f = gate_dcerpc_iface(d->tx, app, i)); i++) {
		if (!memcmp(f->uuid, m->dce_iface.uuid, sizeof(f->uuid)) &&
		    (m->dce_iface.any_frag || f->first_frag) &&
		    (!m->dce_iface.has_version ||
		     gate_test_holds(&m->dce_iface.version, f->major))) {
			return true;
		}
	}
	return false;
}

static bool opnum_holds(struct gate_detector *d, const struct gate_match *m)
{
	uint16_t opnum = 0;

	if (!gate_dcerpc_opnum(d->tx, (enum gate_app)d->p->flow->app, &opnum)) {
		return false;
	}
	bh_vec_foreach (range, &m->dce_opnum.in) {
		if (opnum >= range->first && opnum <= range->last) {
			return true;
		}
	}
	return false;
}

enum gate_list_result gate_list_dcerpc(struct gate_detector *d, const struct gate_match *m)
{
	if (m->kind == GATE_M_DCE_IFACE	  ? iface_holds(d, m)
	    : m->kind == GATE_M_DCE_OPNUM ? opnum_holds(d, m)
					  : false) {
		return GATE_LIST_HOLDS;
	}
	return d->side_over ? GATE_LIST_NEVER : GATE_LIST_NOT_YET;
}
