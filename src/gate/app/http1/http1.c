/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 as app.c sees it: how it is told, its state, what goes with a transaction. */
#include "gate/app/http1/http1.h"

static const char *const request_states[] = {"request_started",
					     "request_line",
					     "request_headers",
					     "request_body",
					     "request_trailer",
					     "request_complete",
					     NULL};
static const char *const response_states[] = {"response_started",
					      "response_line",
					      "response_headers",
					      "response_body",
					      "response_trailer",
					      "response_complete",
					      NULL};

#define EVENT(id, label, sentence) [HTTP_EV_##id] = {.name = (label), .text = (sentence)},
static const struct gate_app_event events[HTTP_EVENTS] = {
#include "gate/app/http1/events.def"
};
#undef EVENT

#define METHOD(name) name "\\x20", name "\\x09"
static const char *const request_patterns[] = {METHOD("GET"),
					       METHOD("PUT"),
					       METHOD("POST"),
					       METHOD("HEAD"),
					       METHOD("TRACE"),
					       METHOD("OPTIONS"),
					       METHOD("CONNECT"),
					       METHOD("DELETE"),
					       METHOD("PATCH"),
					       METHOD("PROPFIND"),
					       METHOD("PROPPATCH"),
					       METHOD("MKCOL"),
					       METHOD("COPY"),
					       METHOD("MOVE"),
					       METHOD("LOCK"),
					       METHOD("UNLOCK"),
					       METHOD("CHECKOUT"),
					       METHOD("UNCHECKOUT"),
					       METHOD("CHECKIN"),
					       METHOD("UPDATE"),
					       METHOD("LABEL"),
					       METHOD("REPORT"),
					       METHOD("MKWORKSPACE"),
					       METHOD("MKACTIVITY"),
					       METHOD("MERGE"),
					       METHOD("INVALID"),
					       METHOD("VERSION-CONTROL"),
					       METHOD("BASELINE-CONTROL"),
					       NULL};
static const char *const response_patterns[] = {"HTTP/0.9", "HTTP/1.0", "HTTP/1.1", NULL};
static const uint16_t ports[] = {80, 8080, 3128, 8000, 0};

static void *conn_new(struct gate_session *session)
{
	struct http_conn *conn = gate_session_alloc(session, sizeof(*conn));
	if (conn) {
		conn->session = session;
		conn->config = gate_session_config(session);
	}
	return conn;
}

static void conn_free(struct gate_session *session, void *state)
{
	gate_session_release(session, state, sizeof(struct http_conn));
}

static int64_t parse(struct gate_session *session, void *state, enum gate_dir dir,
		     const struct gate_app_input *in)
{
	(void)session;
	return dir == GATE_TO_SERVER ? gate_http1_request(state, in)
				     : gate_http1_response(state, in);
}

static void tx_free(struct gate_session *session, struct gate_tx *gate_tx)
{
	struct http_tx *tx = BH_CONTAINER_OF(gate_tx, struct http_tx, tx);
	for (unsigned int dir = 0; dir < GATE_DIRS; dir++) {
		struct http_side *side = &tx->side[dir];
		if (tx->conn && tx->conn->side[dir].tx == tx) {
			tx->conn->side[dir].tx = NULL;
		}
		gate_http1_body_free(tx, (enum gate_dir)dir);
		gate_http1_text_free(tx, &side->raw);
		gate_http1_text_free(tx, &side->made);
		gate_session_release(session, side->headers,
				     side->capacity * sizeof(*side->headers));
		gate_http1_slots_free(session, side);
		for (unsigned int i = 0; i < HTTP_BUILTS; i++) {
			gate_http1_text_free(tx, &side->built[i].text);
		}
	}
	gate_http1_text_free(tx, &tx->normal);
	if (tx->conn && tx->conn->last_response == gate_tx) {
		tx->conn->last_response = NULL;
	}
}

const struct gate_app_ops gate_http1_ops = {
	.app = GATE_APP_HTTP1,
	.name = "http",
	.log = "http",
	.transports = 1,
	.states = {request_states, response_states},
	.events = events,
	.event_count = HTTP_EVENTS,
	.too_many = HTTP_EV_TOO_MANY_TXS + 1,
	.ports = ports,
	.patterns = {request_patterns, response_patterns},
	.new = conn_new,
	.free = conn_free,
	.parse = parse,
	.tx_free = tx_free,
	.buffer = gate_http1_buffer,
	.log_tx = gate_http1_log,
};
