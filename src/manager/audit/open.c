/* SPDX-License-Identifier: Apache-2.0 */
/* Acts that were begun when the manager died: nobody knows what became of them, and that is on
 * record. */
#include "manager/audit/internal.h"

#include "base/counter.h"
#include "base/jtext.h"

BH_COUNTER(audit_unknown, "acts whose end is unknown because the manager died");

struct open_acts {
	BH_VEC(struct audit_late *) items;
	uint64_t wall_ns;
};

static int take(sqlite3_stmt *row, void *arg)
{
	struct open_acts *acts = arg;
	const char *line = manager_db_text(row, 2);
	BH_FREE struct bh_jtext *j = bh_alloc(sizeof(*j));
	struct {
		const char *key;
		char text[BH_AUDIT_TEXT_MAX + 1];
	} texts[] = {{"name", ""}, {"user", ""}, {"role", ""},	 {"factor", ""},  {"from", ""},
		     {"via", ""},  {"act", ""},	 {"object", ""}, {"request", ""}, {"approval", ""}};
	struct manager_audit_note note = {
		.tenant = (uint32_t)sqlite3_column_int64(row, 1),
		.tenant_name = texts[0].text,
		.user = texts[1].text,
		.role = texts[2].text,
		.factor = texts[3].text,
		.from = texts[4].text,
		.via = texts[5].text,
		.act = texts[6].text,
		.object = texts[7].text,
		.request = texts[8].text,
		.approval = texts[9].text,
		.state = "unknown",
		.result = "unknown",
		.reason = "the manager ended between the beginning and the end of this act",
	};

	if (bh_jtext_parse(line, strlen(line), j, NULL) == 0) {
		for (size_t i = 0; i < BH_ARRAY_SIZE(texts); i++) {
			(void)bh_jtext_str(j, texts[i].key, texts[i].text, sizeof(texts[i].text));
		}
	}
	*bh_vec_push(&acts->items) = audit_late_new(&note, acts->wall_ns);
	acts->items.items[acts->items.count - 1]->open = sqlite3_column_int64(row, 0);
	return 0;
}

int audit_end_open(struct manager_audit *audit, uint64_t wall_ns, struct bh_diag *diag)
{
	struct open_acts acts = {.wall_ns = wall_ns};
	int r = manager_db_each(audit->db, (struct manager_db_each){take, &acts}, diag,
				"SELECT seq, tenant, line FROM entries WHERE seq IN"
				" (SELECT seq FROM open) ORDER BY seq",
				"");

	bh_vec_foreach (late, &acts.items) {
		if (r >= 0) {
			manager_audit_end(audit, (*late)->open, &(*late)->note, 1, wall_ns);
			bh_counter_add(&audit_unknown, 1);
		}
		audit_late_free(*late);
	}
	bh_vec_done(&acts.items);
	return r < 0 ? r : 0;
}
