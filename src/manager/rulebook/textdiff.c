/* SPDX-License-Identifier: Apache-2.0 */
#include "manager/rulebook/textdiff.h"

#include "base/util.h"

#include <stdint.h>
#include <string.h>

#define CONTEXT	  2
#define CELLS_MAX (1000u * 1000)

struct line {
	const char *text;
	size_t len;
};
struct lines {
	struct line *items;
	size_t count;
	size_t capacity;
};
struct step { /* one line of the result */
	char sign;
	const struct line *line;
};
struct steps {
	struct step *items;
	size_t count;
	size_t capacity;
};

static void split(const char *text, struct lines *ret)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		*bh_vec_push(ret) = (struct line){text, len};
		text += len + (text[len] == '\n');
	}
}

static bool same(const struct line *a, const struct line *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static void push(struct steps *steps, char sign, const struct line *line)
{
	*bh_vec_push(steps) = (struct step){sign, line};
}

/* Longest common subsequence of a[0..n) and b[0..m): the table holds its length from (i, j) on. */
static void compare(const struct line *a, size_t n, const struct line *b, size_t m,
		    struct steps *steps)
{
	bool small = (n + 1) * (m + 1) <= CELLS_MAX;
	BH_FREE uint16_t *lcs = small ? bh_alloc_array((n + 1) * (m + 1), sizeof(*lcs)) : NULL;
	size_t i, j;

	for (i = n; small && i-- > 0;) {
		for (j = m; j-- > 0;) {
			uint16_t down = lcs[(i + 1) * (m + 1) + j],
				 right = lcs[i * (m + 1) + j + 1];

			lcs[i * (m + 1) + j] =
				same(&a[i], &b[j]) ? (uint16_t)(lcs[(i + 1) * (m + 1) + j + 1] + 1)
				: down > right	   ? down
						   : right;
		}
	}
	for (i = j = 0; i < n || j < m;) {
		if (small && i < n && j < m && same(&a[i], &b[j])) {
			push(steps, ' ', &a[i++]);
			j++;
		} else if (i < n && (!small || j == m ||
				     lcs[(i + 1) * (m + 1) + j] >= lcs[i * (m + 1) + j + 1])) {
			push(steps, '-', &a[i++]);
		} else {
			push(steps, '+', &b[j++]);
		}
	}
}

static bool near_change(const struct steps *steps, size_t i)
{
	size_t from = i > CONTEXT ? i - CONTEXT : 0;

	for (size_t k = from; k <= i + CONTEXT && k < steps->count; k++) {
		if (steps->items[k].sign != ' ') {
			return true;
		}
	}
	return false;
}

static void print(const struct steps *steps, size_t max_lines, struct bh_wbuf *w)
{
	size_t shown = 0, left = 0;
	bool gap = false;

	for (size_t i = 0; i < steps->count; i++) {
		const struct step *s = &steps->items[i];

		if (!near_change(steps, i)) {
			gap = shown > 0;
			continue;
		}
		if (shown >= max_lines) {
			left++;
			continue;
		}
		if (gap) {
			bh_wbuf_str(w, "...\n");
		}
		gap = false;
		shown++;
		bh_wbuf_u8(w, (uint8_t)s->sign);
		bh_wbuf_put(w, s->line->text, s->line->len);
		bh_wbuf_u8(w, '\n');
	}
	if (left) {
		bh_wbuf_printf(w, "... %zu more lines\n", left);
	}
}

void manager_text_diff(const char *from, const char *to, size_t max_lines, struct bh_wbuf *w)
{
	struct lines a = {}, b = {};
	struct steps steps = {};
	size_t head = 0, tail = 0;

	split(from, &a);
	split(to, &b);
	while (head < a.count && head < b.count && same(&a.items[head], &b.items[head])) {
		push(&steps, ' ', &a.items[head++]);
	}
	while (tail < a.count - head && tail < b.count - head &&
	       same(&a.items[a.count - 1 - tail], &b.items[b.count - 1 - tail])) {
		tail++;
	}
	compare(a.items + head, a.count - head - tail, b.items + head, b.count - head - tail,
		&steps);
	for (size_t i = a.count - tail; i < a.count; i++) {
		push(&steps, ' ', &a.items[i]);
	}
	print(&steps, max_lines, w);
	bh_vec_done(&a);
	bh_vec_done(&b);
	bh_vec_done(&steps);
}
