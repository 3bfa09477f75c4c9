/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files as one YAML stream for the API, which takes one: all documents of a commit belong
 * together. Lines of the stream are mapped back to the files for errors.
 */
#ifndef BH_CLI_DOCUMENTS_H
#define BH_CLI_DOCUMENTS_H

#include "base/buf.h"
#include "base/diag.h"
#include "base/util.h"

struct cli_document_file {
	const char *name;	 /* borrowed */
	unsigned int first_line; /* of the stream */
};

struct cli_documents {
	struct bh_wbuf text;
	char *name; /* owned: what the manager calls the stream */
	BH_VEC(struct cli_document_file) files;
};

/* Reads the files; "-" is standard input. -EMSGSIZE when they are over the API's limit together. */
[[nodiscard]] int cli_documents_read(struct cli_documents *documents, char *const *files,
				     unsigned int count, struct bh_diag *diag);
void cli_documents_done(struct cli_documents *documents);
/* The file and its own line behind a line of the stream. */
const char *cli_documents_place(const struct cli_documents *documents, unsigned int line,
				unsigned int *ret_line);

#endif
