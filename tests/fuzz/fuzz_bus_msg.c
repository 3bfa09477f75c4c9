/* SPDX-License-Identifier: Apache-2.0 */
/* A message of the bus and, as far as its first line goes, a subject. */
#include "bus/client.h"
#include "bus/subject.h"
#include "model/id.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char subject[256];
	char name[BH_NAME_MAX + 1];
	char again[BH_SUBJECT_SIZE];
	struct bh_bus_msg msg = {};
	struct bh_diag diag;
	size_t n = size < sizeof(subject) - 1 ? size : sizeof(subject) - 1;

	if (!bh_bus_msg_parse(data, size, &msg, &diag)) {
		if (msg.size > size || (msg.bytes && !json_is_object(msg.json))) {
			abort();
		}
		json_decref(msg.json);
	}
	memcpy(subject, data, n);
	subject[n] = '\0';
	subject[strcspn(subject, "\n")] = '\0';
	if (!strncmp(subject, "bh.peer.", 8) && !bh_subject_name(subject, name, sizeof(name))) {
		/* the last of exactly two names */
		if (strcmp(strrchr(subject, '.'),
			   strrchr(bh_subject_peer("a", name, again), '.')) ||
		    strchr(subject + 8, '.') != strrchr(subject, '.')) {
			abort();
		}
	} else if (!bh_subject_name(subject, name, sizeof(name))) {
		/* one subject for one name */
		if (strcmp(subject, bh_subject_req(name, again)) &&
		    strcmp(subject, bh_subject_cmd(name, again)) &&
		    strcmp(subject, bh_subject_ev(name, again))) {
			abort();
		}
	}
	return 0;
}
