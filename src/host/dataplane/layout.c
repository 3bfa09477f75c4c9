/* SPDX-License-Identifier: Apache-2.0 */
/* What entries of maps look like, in words, from the type information that a BPF object carries:
 * "{gen@0:4 flags@8:4 timeout_s@16[16]:4}". Two maps whose words are the same can be exchanged. */
#include "host/dataplane/internal.h"

#include "base/buf.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define DEPTH_MAX 8
#define TEXT_MAX  8192

static void describe(struct bh_wbuf *w, const struct btf *btf, uint32_t id, unsigned int depth);

static void put(struct bh_wbuf *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct bh_wbuf *w, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bh_wbuf_str(w, text);
}

static void describe_members(struct bh_wbuf *w, const struct btf *btf, const struct btf_type *t,
			     unsigned int depth)
{
	const struct btf_member *m = btf_members(t);

	put(w, "{");
	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		uint32_t bit = btf_member_bit_offset(t, i);

		put(w, "%s%s@%u", i ? " " : "", btf__name_by_offset(btf, m[i].name_off), bit / 8);
		if (btf_member_bitfield_size(t, i)) {
			put(w, ".%u+%u", bit % 8, btf_member_bitfield_size(t, i));
		}
		describe(w, btf, m[i].type, depth + 1);
	}
	put(w, "}");
}

static void describe(struct bh_wbuf *w, const struct btf *btf, uint32_t id, unsigned int depth)
{
	const struct btf_type *t;
	int real = btf__resolve_type(btf, id);

	t = real > 0 ? btf__type_by_id(btf, (uint32_t)real) : NULL;
	if (!t || depth > DEPTH_MAX) {
		put(w, "?");
	} else if (btf_is_array(t)) {
		put(w, "[%u]", btf_array(t)->nelems);
		describe(w, btf, btf_array(t)->type, depth + 1);
	} else if (btf_is_composite(t)) {
		describe_members(w, btf, t, depth);
	} else {
		put(w, ":%lld", (long long)btf__resolve_size(btf, (uint32_t)real));
	}
}

char *dp_layout_text(const struct btf *btf, uint32_t type_id)
{
	struct bh_wbuf w;

	bh_wbuf_init(&w, TEXT_MAX);
	if (type_id) {
		describe(&w, btf, type_id, 0);
	}
	bh_wbuf_u8(&w, 0);
	if (w.err) {
		abort(); /* our own types are not that long */
	}
	return (char *)w.data;
}

static const struct btf_member *member_named(const struct btf *btf, const struct btf_type *t,
					     const char *name)
{
	const struct btf_member *m = btf_members(t);

	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		if (*name && !strcmp(btf__name_by_offset(btf, m[i].name_off), name)) {
			return &m[i];
		}
	}
	return NULL;
}

static void copy_members(const struct btf *from, const struct btf_type *ft, const uint8_t *src,
			 const struct btf *to, const struct btf_type *tt, uint8_t *dst)
{
	const struct btf_member *m = btf_members(tt);

	for (uint32_t i = 0; i < btf_vlen(tt); i++) {
		const char *name = btf__name_by_offset(to, m[i].name_off);
		const struct btf_member *old = member_named(from, ft, name);
		uint32_t at;

		if (old) {
			at = btf_member_bit_offset(ft, (uint32_t)(old - btf_members(ft)));
			dp_layout_copy(from, old->type, src + at / 8, to, m[i].type,
				       dst + btf_member_bit_offset(tt, i) / 8);
		}
	}
}

/* The kernel's own: they begin anew. */
static bool is_special(const struct btf *btf, const struct btf_type *t)
{
	const char *name = btf__name_by_offset(btf, t->name_off);

	return !strcmp(name, "bpf_timer") || !strcmp(name, "bpf_spin_lock");
}

void dp_layout_copy(const struct btf *from, uint32_t from_id, const void *src, const struct btf *to,
		    uint32_t to_id, void *dst)
{
	int fr = btf__resolve_type(from, from_id), tr = btf__resolve_type(to, to_id);
	const struct btf_type *ft = fr > 0 ? btf__type_by_id(from, (uint32_t)fr) : NULL;
	const struct btf_type *tt = tr > 0 ? btf__type_by_id(to, (uint32_t)tr) : NULL;
	int64_t fs, ts;

	if (!ft || !tt) {
		return;
	}
	fs = btf__resolve_size(from, (uint32_t)fr);
	ts = btf__resolve_size(to, (uint32_t)tr);
	if (btf_is_array(ft) && btf_is_array(tt)) {
		int64_t f1 = btf__resolve_size(from, btf_array(ft)->type);
		int64_t t1 = btf__resolve_size(to, btf_array(tt)->type);

		for (int64_t i = 0; f1 > 0 && t1 > 0 && (i + 1) * f1 <= fs && (i + 1) * t1 <= ts;
		     i++) {
			dp_layout_copy(from, btf_array(ft)->type, (const uint8_t *)src + i * f1, to,
				       btf_array(tt)->type, (uint8_t *)dst + i * t1);
		}
	} else if (btf_is_composite(ft) && btf_is_composite(tt)) {
		if (!is_special(to, tt)) {
			copy_members(from, ft, src, to, tt, dst);
		}
	} else if (fs > 0 && ts > 0 && !btf_is_array(ft) && !btf_is_array(tt) &&
		   !btf_is_composite(ft) && !btf_is_composite(tt)) {
		memcpy(dst, src,
		       (size_t)(fs < ts ? fs : ts)); /* little-endian: grows and shrinks */
	}
}

void dp_layout_map(const struct bpf_object *obj, enum dp_map map, struct dp_layout *ret)
{
	const struct dp_map_desc *d = &dp_map_descs[map];
	const struct bpf_map *m = bpf_object__find_map_by_name(obj, d->name);
	const struct btf *btf = bpf_object__btf(obj);

	memset(ret, 0, sizeof(*ret));
	ret->type = bpf_map__type(m);
	ret->flags = bpf_map__map_flags(m);
	ret->max_entries = d->table < 0 ? bpf_map__max_entries(m) : 0;
	ret->key_size = bpf_map__key_size(m);
	ret->value_size = bpf_map__value_size(m);
	ret->key = dp_layout_text(btf, bpf_map__btf_key_type_id(m));
	ret->value = dp_layout_text(btf, bpf_map__btf_value_type_id(m));
}

void dp_layout_done(struct dp_layout *layout)
{
	free(layout->key);
	free(layout->value);
}
