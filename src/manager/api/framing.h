/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request ends must be the same for us and for whatever stands before us, else what one
 * takes for a body is a request for the other. libmicrohttpd takes what is doubtful in some way or
 * other; this refuses it, and the connection ends: two lengths, a length and an encoding, encodings
 * other than "chunked", names with a space before the colon, control characters, no host or two.
 */
#ifndef BH_MANAGER_API_FRAMING_H
#define BH_MANAGER_API_FRAMING_H

#include <microhttpd.h>

/* What is doubtful about the headers of a request, as words; NULL: nothing. */
const char *manager_framing_doubt(struct MHD_Connection *connection, const char *version);

#endif
