/* SPDX-License-Identifier: Apache-2.0 */
/* Files of reputation, asked for the addresses that the same bytes are. */
#include "fuzz_file.h"
#include "gate/config.h"
#include "gate/detect/iprep.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_file file = fuzz_file_new(data, size);
	struct gate_config config = {
		.reputation_files = {.items = (char *[]){file.path}, .count = 1}};
	struct gate_iprep *iprep = gate_iprep_new(&config);

	for (size_t at = 0; at + 16 <= size && at < 1024; at += 5) {
		struct gate_addr addr;

		memcpy(&addr, data + at, sizeof(addr));
		for (unsigned int category = 0; category < 4; category++) {
			int score = gate_iprep_score(iprep, &addr, (uint8_t)category);

			if (score < -1 || score > 127) {
				abort();
			}
		}
	}
	gate_iprep_free(iprep);
	fuzz_file_done(&file);
	return 0;
}
