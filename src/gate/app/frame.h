/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames: pieces of a stream that a protocol gives a name ("tls.pdu", "smb1.data"), for rules with
 * `frame`. A parser that meets one hands it over, whole or piece by piece; it is kept until
 * detection has looked at it with the next packet of that side, once, when it is whole or no more
 * of it comes. Only frames that a rule asks for are kept, GATE_FRAME_MAX bytes of each and
 * GATE_FRAMES_MAX of a side; what goes beyond is counted. The names stand in buffers.def. One
 * worker.
 */
#ifndef BH_GATE_APP_FRAME_H
#define BH_GATE_APP_FRAME_H

#include "gate/app/buffers.h"

#define GATE_FRAME_MAX	(64u << 10)
#define GATE_FRAMES_MAX 64

struct gate_apps;
struct gate_session;

struct gate_frame {
	enum gate_buffer kind;
	uint8_t *data; /* of the session's memory */
	uint32_t size, capacity;
	bool whole; /* no more of it comes */
	bool cut;   /* there was more than is kept */
	struct gate_frame *next;
};
struct gate_frame_list {
	struct gate_frame *first, *last;
	uint32_t count;
};

/* ---- for parsers ---- */
/* A rule asks for that kind. */
bool gate_frame_wanted(const struct gate_session *session, enum gate_buffer kind);
/* All of it. */
void gate_frame_put(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind,
		    const void *data, uint32_t size);
/* More of the one of that kind that is not whole yet, or the beginning of one. */
void gate_frame_add(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind,
		    const void *data, uint32_t size);
/* There is no more of it. */
void gate_frame_end(struct gate_session *session, enum gate_dir dir, enum gate_buffer kind);

/* ---- for detection and the worker ---- */
/* Bits: kind less GATE_BUF_FRAME_FIRST. */
void gate_frames_want(struct gate_apps *apps, uint64_t kinds);
/* The first one of that side that can be looked at; NULL: none. */
struct gate_frame *gate_frame_next(struct gate_session *session, enum gate_dir dir);
/* It has been: the one that gate_frame_next has returned. */
void gate_frame_seen(struct gate_session *session, enum gate_dir dir, struct gate_frame *frame);
/* All of that side: nothing follows; nobody looks. */
void gate_frames_end(struct gate_session *session, enum gate_dir dir);
void gate_frames_drop(struct gate_session *session, enum gate_dir dir);

#endif
