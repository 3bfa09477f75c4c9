/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share while they read one rule; nobody else includes it.
 *
 * Theory of operation: lex.c finds the rules of a file and cuts each into header and options
 * (keyword, value, place). read.c goes through the options in order; keywords.c finds the keyword,
 * whose function fills the rule by way of struct gate_reading: which list is open (sticky buffer),
 * which match was last (what modifiers and relative keywords speak of), which variables exist. At
 * the end validate.c asks whether the whole can be true and derives directions and protocols. A
 * function that does not like what it reads calls gate_refuse and returns its value; the rule is
 * then dropped.
 */
#ifndef BH_GATE_RULES_READING_H
#define BH_GATE_RULES_READING_H

#include "gate/rules/read.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>

#define GATE_RULE_SIZE_MAX	 (64u << 10)
#define GATE_RULE_MATCHES_MAX	 256
#define GATE_RULE_TRANSFORMS_MAX 64
#define GATE_RULE_LISTS_MAX	 64
#define GATE_RULE_VARS_MAX	 32
#define GATE_RULE_FILE_MAX	 (512u << 20)
#define GATE_RULE_REASON_MAX	 512

/* ---- lex.c ---- */

/* A rule in one line, with what is needed to say where a byte of it stands. */
struct gate_rule_text {
	char *text;
	size_t size;
	uint32_t line; /* its first */
	BH_VEC(struct gate_rule_join {
		size_t offset; /* where in text a new line of the file begins */
		uint32_t line;
	})
	joins;
};
void gate_rule_text_done(struct gate_rule_text *text);
void gate_rule_text_place(const struct gate_rule_text *text, size_t offset, uint32_t *ret_line,
			  uint32_t *ret_column);
/* The next rule at or behind *pos (and its line); false at the end. `disabled` counts rules that
 * are comments. */
bool gate_lex_next(const char *data, size_t size, size_t *pos, uint32_t *line, uint64_t *disabled,
		   struct gate_rule_text *ret);

struct gate_keyword_entry;
struct gate_option {
	char *name;	     /* NUL behind it */
	char *value;	     /* NULL: none; without quotes and negation */
	size_t at, value_at; /* offsets in the rule */
	bool negated, quoted;
	const struct gate_keyword_entry *keyword;
};

/* ---- shared.c: what lives as long as gate_rule_files ---- */

struct gate_class {
	const char *name, *text;
	uint8_t priority;
};
struct gate_reference_key {
	const char *key, *prefix;
};
struct gate_rule_shared;
/* names.c: where those are found; locks itself. */
struct gate_shared_pool {
	pthread_mutex_t lock;
	BH_VEC(struct gate_rule_shared *) all;
};
struct gate_shared_pool *gate_names_pool(struct gate_names *names);
/* That of the settings: classification, reference and reputation files (the built-in ones without),
 * variables, order of actions. Released once for each. */
[[nodiscard]] int gate_shared_take(struct gate_shared_pool *pool, const struct gate_config *config,
				   struct gate_rule_shared **ret, struct bh_diag *diag);
void gate_shared_release(struct gate_rule_shared *shared);
const uint8_t *gate_shared_key(const struct gate_rule_shared *shared); /* 32 bytes */
/* One reads at a time; all that follows up to the rules is for who does. */
void gate_shared_read_begin(struct gate_rule_shared *shared);
void gate_shared_read_end(struct gate_rule_shared *shared);
/* Borrowed, one for equal texts. */
const char *gate_shared_text(struct gate_rule_shared *shared, const char *text);
struct gate_addr_set *gate_shared_addrs(struct gate_rule_shared *shared, const char *text);
struct gate_port_set *gate_shared_ports(struct gate_rule_shared *shared, const char *text);
/* Takes the set over. */
void gate_shared_keep_addrs(struct gate_rule_shared *shared, const char *text,
			    struct gate_addr_set *set);
void gate_shared_keep_ports(struct gate_rule_shared *shared, const char *text,
			    struct gate_port_set *set);
/* The rule that stands there with that text, one more time; NULL: it is to be read. `file` is one
 * of gate_shared_text. */
struct gate_rule *gate_shared_rule(struct gate_rule_shared *shared, const char *file, uint32_t line,
				   const char *text);
/* It may be found from now on, and nobody changes it any more. */
void gate_shared_keep_rule(struct gate_rule_shared *shared, struct gate_rule *rule);
/* Once for each that was found, kept or read; those that nobody has go. Changes the array. Takes a
 * moment's lock only: for whoever frees a rule set. */
void gate_shared_drop_rules(struct gate_rule_shared *shared, struct gate_rule **rules,
			    size_t count);
const struct gate_class *gate_shared_class(struct gate_rule_shared *shared, const char *name);
const struct gate_reference_key *gate_shared_reference(struct gate_rule_shared *shared,
						       const char *key);
/* libmagic has its data base: files can be asked for their type. */
bool gate_shared_magic(struct gate_rule_shared *shared);
int gate_shared_category(struct gate_rule_shared *shared, const char *name); /* < 0 none */

/* ---- own.c: of the files of one set ---- */
struct gate_rule_own *gate_own_new(void);
void gate_own_free(struct gate_rule_own *own);
/* Index + 1 of a rule among the files' rules by gid and sid, 0 none. */
size_t gate_own_sid(const struct gate_rule_own *own, uint32_t gid, uint32_t sid);
void gate_own_keep_sid(struct gate_rule_own *own, uint32_t gid, uint32_t sid, size_t index);
/* Goes into gate_rule_files.hash. */
void gate_own_digest(struct gate_rule_own *own, const void *data, size_t size);
void gate_own_digest_get(const struct gate_rule_own *own, uint8_t ret[32]);
/* A SHA-256 over pieces, each with its size. */
EVP_MD_CTX *gate_digest_new(void);
void gate_digest_add(EVP_MD_CTX *digest, const void *data, size_t size);
void gate_digest_get(const EVP_MD_CTX *digest, uint8_t ret[32]);

/* ---- read.c ---- */

enum { GATE_LIST_PAYLOAD = -1, GATE_LIST_BASE64 = -2, GATE_LIST_NONE = -3 };
struct gate_match_ref {
	int32_t list; /* index in rule->lists, or GATE_LIST_BASE64, GATE_LIST_NONE */
	uint32_t index;
};

struct gate_reading {
	struct gate_rule_files *files;
	struct gate_rule_shared *shared;
	const struct gate_config *config;
	struct gate_names *names;
	const char *file;
	const struct gate_rule_text *text;
	struct gate_rule *rule;
	const struct gate_option *option; /* that is being read */

	BH_VEC(size_t) list_at; /* where each of rule->lists is named */
	size_t fast_at;		/* the last fast_pattern */
	int32_t list;	 /* where matches go: an index, GATE_LIST_PAYLOAD, GATE_LIST_BASE64 */
	int32_t payload; /* index of the payload's list or GATE_LIST_NONE */
	struct gate_match_ref last_content, last_match, last_anchor;
	BH_VEC(struct gate_transform) transforms; /* that no match has used yet */
	BH_VEC(char *) vars;
	BH_VEC(const struct gate_keyword_entry *) once; /* that stand already */
	unsigned int match_count, transform_count;
	bool base64_decode, has_sid, has_priority, has_dsize, has_flow;
	bool alone;		/* what it means depends on other files: it is not shared */
	size_t needs_packet_at; /* a keyword that speaks of one packet; 0 none */
	const char *needs_packet;
	uint32_t apps_wanted; /* by keywords that are no buffers; 0 any */

	size_t reason_at;
	char reason[GATE_RULE_REASON_MAX];
};

/* Says why the rule is not loaded, at an offset of the rule; -EINVAL. Only the first counts. */
void gate_refuse_put(struct gate_reading *r, size_t at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
#define gate_refuse_at(r, at, ...)                                                                 \
	({                                                                                         \
		gate_refuse_put(r, at, __VA_ARGS__);                                               \
		-EINVAL;                                                                           \
	})
/* At the value of the keyword that is read. */
#define gate_refuse(r, ...)                                                                        \
	gate_refuse_at(r, (r)->option->value ? (r)->option->value_at : (r)->option->at, __VA_ARGS__)

/* ---- header.c, address.c ---- */
/* Cuts the text; options point into the copy `buf` of it. */
[[nodiscard]] int gate_read_header(struct gate_reading *r, char *buf, size_t *ret_options);
[[nodiscard]] int gate_read_options(struct gate_reading *r, char *buf, size_t begin);
/* The protocols that a name in rules stands for; 0 unknown. */
uint32_t gate_apps_named(const char *name, enum gate_app *ret_app);
[[nodiscard]] int gate_read_addrs(struct gate_reading *r, const char *text, size_t at,
				  struct gate_addr_set **ret);
[[nodiscard]] int gate_read_ports(struct gate_reading *r, const char *text, size_t at,
				  struct gate_port_set **ret);
[[nodiscard]] int gate_read_addr_range(const char *text, struct gate_addr_range *ret);

/* ---- keywords.c ---- */
enum gate_keyword_flag {
	GATE_KW_NO_VALUE = 1 << 0,
	GATE_KW_VALUE_OPTIONAL = 1 << 1,
	GATE_KW_NEGATABLE = 1 << 2, /* ! before the value is taken off */
	GATE_KW_QUOTES = 1 << 3,    /* "value": the quotes are taken off */
	GATE_KW_ONCE = 1 << 4,	    /* a second one is refused */
	GATE_KW_MUST_QUOTE = 1 << 5,
};
struct gate_keyword_entry {
	const char *name, *alias;
	int (*setup)(struct gate_reading *r, const struct gate_option *o);
	uint8_t flags;
	const char *reason; /* setup NULL: why it is refused */
	uint16_t number;    /* of a buffer, a number, a kind of match */
};
const struct gate_keyword_entry *gate_keyword_entries(size_t *ret_count);
const struct gate_keyword_entry *gate_shared_keyword(struct gate_rule_shared *shared,
						     const char *name);
/* The keyword is about transactions of these protocols. */
[[nodiscard]] int gate_apps_restrict(struct gate_reading *r, uint32_t apps);
/* The keyword is about one packet. */
void gate_needs_packet(struct gate_reading *r);

/* ---- lists.c: where matches go ---- */
/* Opens the list of a buffer (sticky). */
[[nodiscard]] int gate_list_open(struct gate_reading *r, enum gate_buffer buffer);
/* The list of a buffer for one match, without changing what is open; its index. */
[[nodiscard]] int gate_list_of(struct gate_reading *r, enum gate_buffer buffer, int32_t *ret_list);
/* Where the next match of bytes belongs: what is open, or for a relative one without sticky buffer
 * the list of the match before it. */
[[nodiscard]] int gate_list_target(struct gate_reading *r, bool relative, int32_t *ret_list);
/* A new match at the end of a list; NULL when the rule has too many. */
struct gate_match *gate_list_add(struct gate_reading *r, int32_t list, enum gate_match_kind kind);
struct gate_match *gate_match_at(struct gate_reading *r, struct gate_match_ref ref);
/* Of packet, flow, transaction, or what is done after all. */
struct gate_match *gate_packet_match(struct gate_reading *r, enum gate_match_kind kind);
struct gate_match *gate_tx_match(struct gate_reading *r, enum gate_match_kind kind);
struct gate_match *gate_post_match(struct gate_reading *r, enum gate_match_kind kind);
/* The last content goes from the payload to that buffer (http_uri and its like). */
[[nodiscard]] int gate_list_move_last(struct gate_reading *r, enum gate_buffer buffer);
/* Before anything is added: transforms that wait make the list theirs. */
[[nodiscard]] int gate_list_settle(struct gate_reading *r);
[[nodiscard]] int gate_list_transform(struct gate_reading *r, struct gate_transform *transform);
void gate_transform_done(struct gate_transform *transform);
void gate_match_done(struct gate_match *match);
void gate_lists_compact(struct gate_reading *r);

/* ---- values.c: small readers that keywords share ---- */
char *gate_trim(char *s);
/* Cuts at a comma: the next part, trimmed, or NULL. */
char *gate_part(char **rest);
/* The next word and what is behind it. */
char *gate_word(char **rest);
[[nodiscard]] int gate_number_read(const char *s, uint64_t max,
				   uint64_t *ret); /* 10, 0x0a, 012 is 12 */
[[nodiscard]] int gate_signed_read(const char *s, int64_t min, int64_t max, int64_t *ret);
/* "value[,index[,slice]]" or "count >5" of a number that there may be several of, in option->value;
 * *ret_value is NULL when they are only counted. Changes text. */
[[nodiscard]] int gate_multi_read(struct gate_reading *r, char *text, struct gate_multi *multi,
				  char **ret_value);
/* 5, =5, !5, !=5, <5, >=5, 3<>7, 3-7, !3-7, &0xf0=0x10; kb, mb, gb behind numbers. */
[[nodiscard]] int gate_test_read(const char *s, uint64_t max, struct gate_test *ret);
[[nodiscard]] int gate_operand_read(struct gate_reading *r, const char *s, int64_t min, int64_t max,
				    struct gate_operand *ret);
[[nodiscard]] int gate_var_add(struct gate_reading *r, const char *name, uint16_t *ret);
/* text|0a 0b|text with \ before " ; : \. */
[[nodiscard]] int gate_bytes_read(struct gate_reading *r, const char *s, uint8_t **ret_bytes,
				  size_t *ret_size);
/* The index of a word in a list that NULL ends, or -1. */
int gate_word_index(const char *word, const char *const *list);
/* Path of a data file: as it is, in the folder of rules, or beside the rule file; owned. */
char *gate_data_path(struct gate_reading *r, const char *name);
/* It is in one of these folders, or rules may name any (datasets.rules.allow-absolute-filenames).
 * False also when it is not there. */
bool gate_data_allowed(const struct gate_reading *r, const char *path);
/* Path of a dataset that is saved: in datasets.dir, or beside the rule file; owned. */
[[nodiscard]] int gate_state_path(struct gate_reading *r, const char *name, char **ret);

/* ---- hooks.c: behind the protocol of a header ---- */
[[nodiscard]] int gate_read_app_hook(struct gate_reading *r, const char *name, size_t at);
[[nodiscard]] int gate_read_packet_hook(struct gate_reading *r, const char *name, size_t at);

/* ---- validate.c ---- */
[[nodiscard]] int gate_rule_validate(struct gate_reading *r);

/* ---- keyword functions by subject; number is in the entry ---- */
#define GATE_KEYWORD_FN(name) int name(struct gate_reading *, const struct gate_option *)

#define KEYWORD(id, alias, fn, flags, number, help) GATE_KEYWORD_FN(gate_kw_##fn);
#define REFUSED(id, reason)
#include "gate/rules/keywords.def"
#undef KEYWORD
#undef REFUSED
GATE_KEYWORD_FN(gate_kw_sticky);
GATE_KEYWORD_FN(gate_kw_number);

/* Letters behind a pattern that are options of pcre2_compile; ends with letter 0. */
struct gate_pcre_letter {
	char letter;
	uint32_t option;
};
extern const struct gate_pcre_letter gate_pcre_letters[];

#endif
