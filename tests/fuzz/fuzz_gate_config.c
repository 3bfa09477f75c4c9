/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: the bytes as a YAML file; then, over the defaults, each line as one `--set`. What is
 * accepted lies in its bounds. */
#include "fuzz_file.h"
#include "gate/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_sound(const struct gate_config *c)
{
	if (!c->log_dir || !c->flow_count || !c->tx_max || !c->workers || !c->pcre_match_limit ||
	    !c->eve_queue || !c->session_memcap || !c->urgent_policy) {
		abort();
	}
	bh_vec_foreach (group, &c->groups) {
		if (!group->name || !group->value || strlen(group->name) > GATE_GROUP_NAME_MAX) {
			abort();
		}
	}
}

static void as_file(const uint8_t *data, size_t size)
{
	struct fuzz_file file = fuzz_file_new(data, size);
	struct gate_config config;
	struct bh_diag diag = {};

	if (!gate_config_load(file.path, &config, &diag)) {
		must_be_sound(&config);
	} else if (!diag.text[0]) {
		abort();
	}
	gate_config_done(&config);
	fuzz_file_done(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	BH_FREE char *text = bh_alloc(size + 1);
	struct gate_config config;
	struct bh_diag diag = {};
	char *rest = text;

	as_file(data, size);
	if (size) {
		memcpy(text, data, size);
	}
	if (gate_config_load(NULL, &config, &diag)) {
		abort();
	}
	while (rest) {
		diag.text[0] = '\0';
		if (gate_config_set(&config, strsep(&rest, "\n"), &diag) && !diag.text[0]) {
			abort();
		}
	}
	must_be_sound(&config);
	gate_config_done(&config);
	return 0;
}
