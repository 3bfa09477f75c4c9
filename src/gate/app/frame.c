/* SPDX-License-Identifier: Apache-2.0 */
/* See frame.h. */
#include "gate/app/frame.h"
#include "base/counter.h"
#include "gate/app/session.h"

#include <string.h>

BH_COUNTER(gate_frames_lost, "frames that rules ask for and there was no room for");
BH_COUNTER(gate_frames_cut, "frames of which rules saw the beginning only");

_Static_assert(GATE_BUF_FRAMES <= 64, "frames_wanted has a bit for each");

bool gate_frame_wanted(const struct gate_session *session, enum gate_buffer kind)
{
	return session->apps->frames_wanted >> (kind - GATE_BUF_FRAME_FIRST) & 1;
}

static struct gate_frame *frame_new(struct gate_session *session, enum gate_dir dir,
				    enum gate_buffer kind)
{
	struct gate_frame_list *list = &session->frames[dir];
	struct gate_frame *frame = NULL;
	if (list->count < GATE_FRAMES_MAX) {
		frame = gate_session_alloc(session, sizeof(*frame));
	}
	if (!frame) {
		bh_counter_add(&gate_frames_lost, 1);
		return NULL;
	}
	frame->kind = kind;
	if (list->last) {
		list->last->next = frame;
	} else {
		list->first = frame;
	}
	list->last = frame;
	list->count++;
	return frame;
}

static void grow(struct gate_session *session, struct gate_frame *frame, const void *data,
		 uint32_t size)
{
	uint32_t room = GATE_FRAME_MAX - frame->size, capacity;
	if (size > room) {
		bh_counter_add(&gate_frames_cut, !frame->cut);
		frame->cut = true;
		size = room;
	}
	if (frame->size + size > frame->capacity) {
		capacity = frame->capacity ? frame->capacity : 256;
		while (capacity < frame->size + size) {
			capacity *= 2;
		}
		uint8_t *grown =
			gate_session_grow_raw(session, frame->data, frame->capacity, capacity);
		if (!grown) {
			bh_counter_add(&gate_frames_cut, !frame->cut);
			frame->cut = true;
			return;
		}
		frame->data = grown;
		frame->capacity = capacity;
	}
	if (size) {
		memcpy(frame->data + frame->size, data, size);
		frame->size += size;
	}
}

static struct gate_frame *open_one(const struct gate_session *session, enum gate_dir dir,
				   enum gate_buffer kind)
{
	for (struct gate_frame *f = session->frames[dir].first; f; f = f->next) {
		if (f->kind == kind && !f->whole) {
			return f;
		}
	}
	return NULL;
}

void gate_frame_put(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind,
		    const void *data, uint32_t size)
{
	struct gate_frame *frame =
		gate_frame_wanted(session, kind) ? frame_new(session, dir, kind) : NULL;
	if (frame) {
		grow(session, frame, data, size);
		frame->whole = true;
	}
}

void gate_frame_add(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind,
		    const void *data, uint32_t size)
{
	struct gate_frame *frame;
	if (!gate_frame_wanted(session, kind)) {
		return;
	}
	frame = open_one(session, dir, kind);
	frame = frame ? frame : frame_new(session, dir, kind);
	if (frame) {
		grow(session, frame, data, size);
	}
}

void gate_frame_end(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind)
{
	struct gate_frame *frame = open_one(session, dir, kind);
	if (frame) {
		frame->whole = true;
	}
}

void gate_frames_want(struct gate_apps *apps, uint64_t kinds)
{
	apps->frames_wanted = kinds;
}

struct gate_frame *gate_frame_next(struct gate_session *session, enum gate_dir dir)
{
	struct gate_frame *f = session->frames[dir].first;
	while (f && !f->whole) {
		f = f->next;
	}
	return f;
}

void gate_frame_seen(struct gate_session *session, enum gate_dir dir, struct gate_frame *frame)
{
	struct gate_frame_list *list = &session->frames[dir];
	struct gate_frame *before = NULL;
	for (struct gate_frame *f = list->first; f != frame; f = f->next) {
		before = f;
	}
	if (before) {
		before->next = frame->next;
	} else {
		list->first = frame->next;
	}
	if (list->last == frame) {
		list->last = before;
	}
	list->count--;
	gate_session_release(session, frame->data, frame->capacity);
	gate_session_release(session, frame, sizeof(*frame));
}

void gate_frames_end(struct gate_session *session, enum gate_dir dir)
{
	for (struct gate_frame *f = session->frames[dir].first; f; f = f->next) {
		f->whole = true;
	}
}

void gate_frames_drop(struct gate_session *session, enum gate_dir dir)
{
	while (session->frames[dir].first) {
		gate_frame_seen(session, dir, session->frames[dir].first);
	}
}
