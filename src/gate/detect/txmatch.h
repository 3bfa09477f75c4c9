/* SPDX-License-Identifier: Apache-2.0 */
/* What one condition of a rule says about a transaction now. */
#ifndef BH_GATE_DETECT_TXMATCH_H
#define BH_GATE_DETECT_TXMATCH_H

#include "gate/detect/detector.h"

enum gate_list_result {
	GATE_LIST_HOLDS,
	GATE_LIST_NOT_YET, /* more bytes may change it */
	GATE_LIST_NEVER,   /* the transaction can't any more */
};
enum gate_list_result gate_list_files(struct gate_detector *d, const struct gate_match *m);
enum gate_list_result gate_list_number(struct gate_detector *d, const struct gate_match *m);
enum gate_list_result gate_list_event(struct gate_detector *d, const struct gate_match *m);
enum gate_list_result gate_list_dcerpc(struct gate_detector *d, const struct gate_match *m);

#endif
