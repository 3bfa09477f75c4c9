/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/documents.h"

#include "base/file.h"

#include <errno.h>

#define DOCUMENTS_MAX (10u << 20)
#define SEPARATOR     "\n---\n"

static unsigned int count_lines(const char *text, size_t size)
{
	unsigned int lines = 0;

	for (size_t i = 0; i < size; i++) {
		lines += text[i] == '\n';
	}
	return lines;
}

int cli_documents_read(struct cli_documents *documents, char *const *files, unsigned int count,
		       struct bh_diag *diag)
{
	struct bh_wbuf name;

	*documents = (struct cli_documents){};
	bh_wbuf_init(&documents->text, DOCUMENTS_MAX);
	bh_wbuf_init(&name, 0);
	for (unsigned int i = 0; i < count; i++) {
		struct cli_document_file *file = bh_vec_push(&documents->files);
		BH_FREE char *text = NULL;
		size_t size = 0;
		int r = bh_file_read(files[i], DOCUMENTS_MAX, &text, &size, diag);

		if (r) {
			bh_wbuf_done(&name);
			return r;
		}
		if (i > 0) {
			bh_wbuf_str(&documents->text, SEPARATOR);
		}
		file->name = !strcmp(files[i], "-") ? "<stdin>" : files[i];
		file->first_line =
			1 + count_lines((const char *)documents->text.data, documents->text.size);
		bh_wbuf_put(&documents->text, text, size);
		bh_wbuf_printf(&name, "%s%s", i ? "+" : "", file->name);
	}
	documents->name = bh_strdup(bh_wbuf_cstr(&name));
	bh_wbuf_done(&name);
	if (documents->text.err) {
		return bh_diag_set(diag, -EMSGSIZE, "the files are over %u MiB together",
				   DOCUMENTS_MAX >> 20);
	}
	return 0;
}

void cli_documents_done(struct cli_documents *documents)
{
	bh_wbuf_done(&documents->text);
	free(documents->name);
	bh_vec_done(&documents->files);
}

const char *cli_documents_place(const struct cli_documents *documents, unsigned int line,
				unsigned int *ret_line)
{
	const struct cli_document_file *found = NULL;

	*ret_line = line;
	bh_vec_foreach (file, &documents->files) {
		if (!found || file->first_line <= line) {
			found = file;
		}
	}
	if (found && line) {
		*ret_line = line - found->first_line + 1;
	}
	return found ? found->name : "";
}
