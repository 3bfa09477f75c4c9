/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/subject.h"

#include "model/id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *with_token(const char *before, const char *name, const char *after,
			      char buf[BH_SUBJECT_SIZE])
{
	size_t start = strlen(before);

	snprintf(buf, BH_SUBJECT_SIZE, "%s%s%s", before, name, after);
	for (size_t i = 0; name[i] && start + i < BH_SUBJECT_SIZE - 1; i++) {
		if (buf[start + i] == '.') {
			buf[start + i] = '_';
		}
	}
	return buf;
}

const char *bh_subject_req(const char *host, char buf[BH_SUBJECT_SIZE])
{
	return with_token("bh.host.", host, ".req", buf);
}

const char *bh_subject_cmd(const char *host, char buf[BH_SUBJECT_SIZE])
{
	return with_token("bh.host.", host, ".cmd", buf);
}

const char *bh_subject_ev(const char *producer, char buf[BH_SUBJECT_SIZE])
{
	return with_token("bh.ev.", producer, "", buf);
}

const char *bh_subject_inbox(const char *host, char buf[BH_SUBJECT_SIZE])
{
	return with_token("_INBOX.host.", host, "", buf);
}

const char *bh_subject_peer(const char *to, const char *from, char buf[BH_SUBJECT_SIZE])
{
	char before[BH_SUBJECT_SIZE];
	char dot[BH_SUBJECT_SIZE];

	snprintf(dot, sizeof(dot), "%s.", with_token("bh.peer.", to, "", before));
	return with_token(dot, from, "", buf);
}

const char *bh_subject_peers(const char *to, char buf[BH_SUBJECT_SIZE])
{
	return with_token("bh.peer.", to, ".*", buf);
}

/* The part of subject that names somebody; NULL when nothing does. */
static const char *name_token(const char *subject)
{
	const char *token;
	size_t len;

	if (!strncmp(subject, "bh.host.", 8)) {
		token = subject + 8;
		len = strcspn(token, ".");
		return strcmp(token + len, ".req") && strcmp(token + len, ".cmd") ? NULL : token;
	}
	if (!strncmp(subject, "bh.peer.", 8)) {
		token = strchr(subject + 8, '.');
		return token && token > subject + 8 && !strchr(token + 1, '.') ? token + 1 : NULL;
	}
	if (!strncmp(subject, "bh.ev.", 6)) {
		token = subject + 6;
		return strchr(token, '.') ? NULL : token;
	}
	return NULL;
}

int bh_subject_name(const char *subject, char *ret_name, size_t size)
{
	char name[BH_NAME_MAX + 1];
	const char *token = name_token(subject);
	size_t len = token ? strcspn(token, ".") : 0;

	if (!len || len > BH_NAME_MAX || len >= size) {
		return -EINVAL;
	}
	for (size_t i = 0; i < len; i++) {
		name[i] = token[i] == '_' ? '.' : token[i];
	}
	name[len] = '\0';
	if (!bh_name_valid(name)) {
		return -EINVAL;
	}
	memcpy(ret_name, name, len + 1);
	return 0;
}

bool bh_subject_host_valid(const char *name)
{
	return bh_name_valid(name) && strcmp(name, "manager");
}
