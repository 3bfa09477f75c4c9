/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are as long as they are: written to a file or to standard output as they come. A
 * file must not exist, is there whole or said not to be, and is on disk when 0 is returned.
 */
#ifndef BH_CLI_DOWNLOAD_H
#define BH_CLI_DOWNLOAD_H

#include "cli/cli.h"

struct cli_download {
	const char *path; /* below /v1, with query */
	const char *file; /* NULL: standard output */
	/* What a line of it is, "events": how many came is said on standard error, while it goes
	 * on too when that is a terminal. NULL: nothing is. */
	const char *lines;
	uint64_t head_lines; /* of them, those that are none */
};
/* An enum cli_exit; failures have been reported. */
[[nodiscard]] int cli_download(struct cli *cli, const struct cli_download *what);

#endif
