/* SPDX-License-Identifier: Apache-2.0 */
/* What a host says of a VM, and labels and addresses as the API takes them. What is accepted is
 * within its limits, and reads back from the store as it was. */
#include "base/json.h"
#include "base/util.h"
#include "manager/inventory/report.h"

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void check_report(const json_t *json)
{
	BH_JSON json_t *dump = NULL;
	BH_JSON json_t *again = NULL;
	struct manager_report report = {};
	struct manager_report kept = {};
	struct bh_diag diag = {};

	if (manager_report_parse(json, "h1", &report, &diag)) {
		check(*diag.text);
		return;
	}
	for (size_t i = 0; i < report.nic_count; i++) {
		const struct manager_report_nic *nic = &report.nics[i];

		check(nic->vlan_count <= MANAGER_VLANS_PER_NIC);
		check(strlen(nic->net) <= MANAGER_NETWORK_KEY_MAX);
		check(strncmp(nic->net, "host/", 5) != 0 || !strncmp(nic->net, "host/h1/", 8));
	}
	dump = manager_report_dump(&report);
	check(!manager_report_parse(dump, NULL, &kept, &diag));
	again = manager_report_dump(&kept);
	check(json_equal(dump, again));
	manager_report_done(&report);
	manager_report_done(&kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_JSON json_t *json = NULL;
	struct manager_addrs addrs = {};

	if (bh_json_load((const char *)data, size, 65536, &json, NULL)) {
		return 0;
	}
	check_report(json);
	(void)!manager_labels_check(json_object_get(json, "labels"), true, NULL);
	(void)!manager_addrs_parse(json_object_get(json, "addresses"), &addrs, NULL);
	bh_vec_done(&addrs);
	return 0;
}
