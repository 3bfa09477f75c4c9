/* SPDX-License-Identifier: Apache-2.0 */
/* Transforms one after the other on foreign bytes: the first byte says how many, then kind and
 * arguments of each, then the value. What comes out lies in the input or in the memory. */
#include "gate/config.h"
#include "gate/detect/transform.h"

#define KINDS (GATE_XF_SUBSLICE + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t memory[2 << 20];
	struct gate_config config = {};
	struct gate_inspect in;
	struct gate_xf_memory xf = {.data = memory, .size = sizeof(memory)};
	struct gate_buffer_view view;
	unsigned int count = size ? data[0] % 5 : 0;
	uint32_t sum = 0;

	if (size < 1 + count * 5) {
		return 0;
	}
	gate_inspect_init(&in, &config);
	view = (struct gate_buffer_view){.data = data + 1 + count * 5,
					 .size = (uint32_t)(size - 1 - count * 5)};
	for (unsigned int i = 0; i < count; i++) {
		const uint8_t *how = data + 1 + i * 5;
		char text[] = "(a+)(b)?";
		struct gate_transform t = {
			.kind = (enum gate_transform_kind)(how[0] % KINDS),
			.text = text,
			.text_size = sizeof(text) - 1,
			.args = {(int8_t)how[1], (int8_t)how[2], (int8_t)how[3]}};
		void *compiled = NULL;

		if (t.kind == GATE_XF_FROM_BASE64) {
			t.args[2] = how[3] % 3;
		}
		if (!gate_xf_compile(&t, &compiled, NULL)) {
			gate_xf_apply(&t, compiled, &in, &xf, &view);
			gate_xf_done(&t, compiled);
		}
	}
	for (uint32_t i = 0; i < view.size; i++) {
		sum += view.data[i];
	}
	gate_inspect_done(&in);
	return sum == UINT32_MAX;
}
