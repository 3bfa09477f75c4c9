/* SPDX-License-Identifier: Apache-2.0 */
/* Domain and network XML, as libvirt and the hook hand it over. */
#include "host/platform/domxml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hostd_vm vm;
	struct hostd_network net;
	struct bh_diag diag = {};
	char *reduced = NULL, *element = NULL;
	uint64_t generation;
	int err;

	err = hostd_domxml_parse((const char *)data, size, &vm, &diag);
	generation = err ? 0 : vm.generation;
	hostd_vm_done(&vm);
	if (err == 0 && hostd_domxml_reduce((const char *)data, size, &reduced, &diag) == 0) {
		/* what the hook sends on must be readable again */
		if (hostd_domxml_parse(reduced, strlen(reduced), &vm, &diag) != 0 ||
		    vm.generation != generation) {
			abort();
		}
		hostd_vm_done(&vm);
	}
	free(reduced);
	if (err == 0 && hostd_domxml_open((const char *)data, size, &element, &diag) == 0 &&
	    element && strpbrk(element, "'\n")) {
		abort(); /* goes between apostrophes, on one line */
	}
	free(element);
	if (hostd_netxml_parse((const char *)data, size, &net, &diag) == 0 && !*net.name) {
		abort();
	}
	hostd_network_done(&net);
	return 0;
}
