/* Write plugins for the Odin gateway in C: this header, no library, no libc.
 *
 *     #include "odin_plugin.h"
 *
 *     void odin_on_request(const odin_call *call, odin_result *result) {
 *         odin_set_header(result, ODIN("X-Hello"), odin_text(odin_get(call->input, "method")));
 *     }
 *
 *     clang --target=wasm32 -O3 -mbulk-memory -nostdlib -Wl,--no-entry -Wl,--strip-all \
 *         -o plugin.wasm plugin.c
 *
 * Include it in one source file: it defines the exports. Define the functions of the phases that
 * the plugin is about (odin_on_request, odin_on_response, odin_on_answers); the others do nothing.
 * odin_on_config reads the plugin's config.
 *
 * The input stays the JSON text that the gateway wrote. An odin_json is a range of it; odin_get
 * finds a key by skipping over the others, odin_text decodes a string. Malformed text reads as
 * absent.
 *
 * Memory: odin_allocate is freed by itself when the call is over; static variables live as long as
 * the instance. An instance serves one call at a time; every worker of the gateway has its own
 * instances.
 */
#ifndef ODIN_PLUGIN_H
#define ODIN_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- Types ---------------------------------------------------------------------------------- */

/* Text of a known size, not terminated. */
typedef struct {
    const char *at;
    size_t size;
} odin_str;

/* A literal as text: ODIN("X-Hello"). */
#define ODIN(literal) ((odin_str){(literal), sizeof(literal) - 1})

/* The JSON text of one value; size 0: there is none. */
typedef odin_str odin_json;

/* What a call brings. The objects are those of the ABI: input has method, url, path, headers,
 * query, body, and in the response phase statusCode and request; context has requestId, clientIp,
 * metadata … */
typedef struct {
    odin_json context, input, config;
} odin_call;

typedef struct odin_change {
    odin_str name, value; /* of metadata, value is JSON */
    bool removes;
    struct odin_change *next;
} odin_change;

/* What the gateway shall do. Untouched, it lets the exchange go on unchanged. */
typedef struct {
    bool stops, fails, has_body;
    odin_str error, body, method, url;
    int status;
    odin_change *headers, *metadata;
} odin_result;

/* --- The plugin's part ---------------------------------------------------------------------- */

/* Weak: one that is not defined is NULL. */
#define ODIN_OPTIONAL __attribute__((weak))

/* Reads the plugin's config when an instance starts, before its first call. odin_fail refuses it: the
 * gateway does not take it in a reload, and where it has nothing else, the plugin's failureMode
 * decides every request. The config's text, and what is allocated here, live as long as the
 * instance. */
ODIN_OPTIONAL void odin_on_config(odin_json config, odin_result *result);
ODIN_OPTIONAL void odin_on_request(const odin_call *call, odin_result *result);
ODIN_OPTIONAL void odin_on_response(const odin_call *call, odin_result *result);
ODIN_OPTIONAL void odin_on_answers(const odin_call *call, odin_result *result);
ODIN_OPTIONAL void odin_on_cleanup(void);

/* Bodies that pass piece by piece (body: stream) or event by event (body: events). A plugin defines
 * ODIN_REQUEST_BODIES, ODIN_RESPONSE_BODIES or both before it includes this header, and then the
 * functions of those. What it keeps of one body stands in the body's state, and nowhere else: the
 * exchanges of a worker are interleaved in one instance. A state is odin_body_size bytes, which are
 * all 0 when the body begins:
 *
 *     #define ODIN_RESPONSE_BODIES
 *     #include "odin_plugin.h"
 *
 *     struct counted { size_t bytes; };
 *     const size_t odin_body_size = sizeof(struct counted);
 *
 *     bool odin_on_response_body(const odin_call *call, void *state, odin_result *result) {
 *         return true;
 *     }
 *     odin_passed odin_on_response_chunk(void *state, odin_piece chunk) {
 *         ((struct counted *)state)->bytes += chunk.bytes.size;
 *         return odin_pass();
 *     }
 */

/* A piece of a body; its bytes are valid until the function returns. Of the last piece there may be
 * none. */
typedef struct {
    odin_str bytes;
    bool is_end;   /* nothing comes behind it */
    bool is_event; /* it is one whole server-sent event */
} odin_piece;

/* What becomes of a piece: made by odin_pass and those below it. */
typedef struct {
    int action;
    odin_str output;
} odin_passed;

#if defined(ODIN_REQUEST_BODIES) || defined(ODIN_RESPONSE_BODIES)
extern const size_t odin_body_size;
#endif

/* The body of a message begins to come; false lets it pass as it is. odin_fail: the plugin's
 * failureMode decides. The call is valid until the function returns. */
#ifdef ODIN_REQUEST_BODIES
bool odin_on_request_body(const odin_call *call, void *state, odin_result *result);
odin_passed odin_on_request_chunk(void *state, odin_piece chunk);
#endif
#ifdef ODIN_RESPONSE_BODIES
bool odin_on_response_body(const odin_call *call, void *state, odin_result *result);
odin_passed odin_on_response_chunk(void *state, odin_piece chunk);
#endif
/* The exchange is over, whether the body has passed whole or not. */
ODIN_OPTIONAL void odin_on_body_close(void *state);

/* --- Host functions ------------------------------------------------------------------------- */

enum odin_level { ODIN_TRACE, ODIN_DEBUG, ODIN_INFO, ODIN_WARN, ODIN_ERROR };

#define ODIN_IMPORT(name) __attribute__((import_module("env"), import_name(name)))

ODIN_IMPORT("log") void odin_host_log(int level, const char *text, size_t size);
ODIN_IMPORT("get_time") int64_t odin_now_seconds(void);
ODIN_IMPORT("get_time_ms") int64_t odin_now_millis(void);
ODIN_IMPORT("get_config") uint64_t odin_host_get_config(const char *key, size_t size);
ODIN_IMPORT("read_file") uint64_t odin_host_read_file(const char *path, size_t size);
ODIN_IMPORT("http_call") uint64_t odin_host_http_call(const char *request, size_t size);
ODIN_IMPORT("metric_increment")
void odin_host_metric_increment(const char *name, size_t size, int64_t by);
ODIN_IMPORT("metric_record")
void odin_host_metric_record(const char *name, size_t size, int64_t value);
ODIN_IMPORT("kv_get") uint64_t odin_host_kv_get(const char *key, size_t size);
ODIN_IMPORT("kv_set")
int32_t odin_host_kv_set(const char *key, size_t size, const char *value, size_t value_size,
                         int64_t ttl);
ODIN_IMPORT("kv_incr")
int64_t odin_host_kv_incr(const char *key, size_t size, int64_t by, int64_t ttl);
ODIN_IMPORT("kv_cas")
int32_t odin_host_kv_cas(const char *key, size_t size, const char *expected, size_t expected_size,
                         const char *value, size_t value_size, int64_t ttl);
ODIN_IMPORT("kv_delete") int32_t odin_host_kv_delete(const char *key, size_t size);

/* A host function's packed result as text; size 0 and at NULL: none. It stands in a buffer of the
 * host's until the next host function that returns memory: copy what must stay (odin_copy). */
static inline odin_str odin_unpack(uint64_t packed) {
    return (odin_str){(const char *)(uintptr_t)(uint32_t)packed, (size_t)(packed >> 32)};
}

/* Writes one line to the gateway's log. */
static inline void odin_log(enum odin_level level, odin_str text) {
    odin_host_log(level, text.at, text.size);
}

/* A key of the plugin's config as text; dots reach into nested objects. */
static inline odin_str odin_config(odin_str key) {
    return odin_unpack(odin_host_get_config(key.at, key.size));
}

/* The content of a file whose path stands in the plugin's config. */
static inline odin_str odin_read_file(odin_str path) {
    return odin_unpack(odin_host_read_file(path.at, path.size));
}

/* Makes a call over HTTP: {"method","url","headers","body","timeoutMs"} in,
 * {"statusCode","headers","body","error"} out. The plugin waits, the worker does not. */
static inline odin_json odin_http_call(odin_str request) {
    return odin_unpack(odin_host_http_call(request.at, request.size));
}

/* Adds to a counter of the plugin's own. */
static inline void odin_count(odin_str metric, int64_t by) {
    odin_host_metric_increment(metric.at, metric.size, by);
}

/* Records a value in a histogram of the plugin's own. */
static inline void odin_record(odin_str metric, int64_t value) {
    odin_host_metric_record(metric.at, metric.size, value);
}

/* Shared state: the value of a key. found: 1, 0, or -1 where the state can't be reached. */
static inline odin_str odin_kv_get(odin_str key, int *found) {
    uint64_t packed = odin_host_kv_get(key.at, key.size);
    *found = (int64_t)packed < 0 ? -1 : (uint32_t)packed != 0; /* a size has 31 bits */
    return *found == 1 ? odin_unpack(packed) : (odin_str){0, 0};
}

/* Shared state: sets a key for ttl milliseconds (0: for ever); 0, or less where that failed. */
static inline int odin_kv_set(odin_str key, odin_str value, int64_t ttl) {
    return odin_host_kv_set(key.at, key.size, value.at, value.size, ttl);
}

/* Shared state: adds to a counter and returns what it then is; INT64_MIN where that failed. */
static inline int64_t odin_kv_increment(odin_str key, int64_t by, int64_t ttl) {
    return odin_host_kv_incr(key.at, key.size, by, ttl);
}

/* Shared state: sets a key if it still has the expected value (NULL: if it is not there); 1 if it
 * was set, 0 if not, less where that failed. With odin_kv_get before it, any change of a value
 * becomes atomic: try again until it is set. Copy what odin_kv_get gave (odin_copy) first. */
static inline int odin_kv_compare_and_set(odin_str key, const odin_str *expected, odin_str value,
                                          int64_t ttl) {
    odin_str old = expected ? *expected : (odin_str){0, (size_t)-1};
    return odin_host_kv_cas(key.at, key.size, old.at, old.size, value.at, value.size, ttl);
}

/* Shared state: removes a key; 1 if it was there, 0 if not, less where that failed. */
static inline int odin_kv_delete(odin_str key) { return odin_host_kv_delete(key.at, key.size); }

/* --- Memory --------------------------------------------------------------------------------- */

#define ODIN_PAGE 65536u

extern unsigned char __heap_base;

/* Clang may call these for a loop or an assignment; there is no libc to have them. */
__attribute__((weak)) void *memcpy(void *to, const void *from, size_t size) {
    return __builtin_memcpy(to, from, size);
}
__attribute__((weak)) void *memset(void *to, int byte, size_t size) {
    return __builtin_memset(to, byte, size);
}

/* Memory for good, in steps of 16 bytes; the program ends where there is none. */
static inline void *odin_take(size_t size) {
    static uintptr_t next;
    if (next == 0) next = ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15;
    size_t rounded = (size + 15) & ~(size_t)15;
    uintptr_t limit = __builtin_wasm_memory_size(0) * ODIN_PAGE;
    if (rounded < size || next + rounded < next) __builtin_trap();
    if (next + rounded > limit) {
        size_t pages = (next + rounded - limit + ODIN_PAGE - 1) / ODIN_PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) __builtin_trap();
    }
    void *taken = (void *)next;
    next += rounded;
    return taken;
}

/* Memory of a call comes in chunks, which are used again by the next call. */
typedef struct odin_chunk {
    struct odin_chunk *next;
    size_t size, used;
} odin_chunk;

static odin_chunk *odin_chunks;

/* Memory that is freed by itself when the call is over. */
static inline void *odin_allocate(size_t size) {
    size = (size + 15) & ~(size_t)15;
    for (odin_chunk *chunk = odin_chunks; chunk; chunk = chunk->next) {
        if (chunk->size - chunk->used >= size) {
            char *at = (char *)(chunk + 1) + chunk->used;
            chunk->used += size;
            return at;
        }
    }
    size_t whole = size > ODIN_PAGE / 2 ? size : ODIN_PAGE / 2;
    odin_chunk *chunk = odin_take(sizeof(odin_chunk) + whole);
    *chunk = (odin_chunk){odin_chunks, whole, size};
    odin_chunks = chunk;
    return chunk + 1;
}

/* A copy that lives as long as the call. */
static inline odin_str odin_copy(odin_str text) {
    char *copy = odin_allocate(text.size);
    for (size_t i = 0; i < text.size; i++) copy[i] = text.at[i];
    return (odin_str){copy, text.size};
}

/* --- Text ----------------------------------------------------------------------------------- */

static inline bool odin_equal(odin_str a, odin_str b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        if (a.at[i] != b.at[i]) return false;
    }
    return true;
}

static inline char odin_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static inline bool odin_equal_ignoring_case(odin_str a, odin_str b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        if (odin_lower(a.at[i]) != odin_lower(b.at[i])) return false;
    }
    return true;
}

/* --- JSON in -------------------------------------------------------------------------------- */

/* Nesting beyond this reads as malformed: it would be a way to exhaust the stack. */
#define ODIN_DEPTH_MAX 128

static inline const char *odin_skip_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

#define ODIN_ONES 0x0101010101010101u

/* A word whose lowest set bit is in the first byte of `word` that equals `c`; 0 if none does.
 * (Bytes behind the first may be marked wrongly: the subtraction borrows.) */
static inline uint64_t odin_equal_bytes(uint64_t word, char c) {
    uint64_t different = word ^ ODIN_ONES * (unsigned char)c;
    return (different - ODIN_ONES) & ~different & ODIN_ONES << 7;
}

/* Looks at eight bytes together: most of a string is neither quote nor backslash. */
static inline const char *odin_skip_string(const char *at, const char *end) {
    at++;
    while (end - at >= 8) {
        uint64_t word;
        __builtin_memcpy(&word, at, 8);
        uint64_t found = odin_equal_bytes(word, '"') | odin_equal_bytes(word, '\\');
        if (!found) {
            at += 8;
            continue;
        }
        at += __builtin_ctzll(found) / 8;
        if (*at == '"') return at + 1;
        at += 2;
    }
    for (; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at == '\\') at++;
    }
    return NULL;
}

static const char *odin_skip_value(const char *at, const char *end, int depth);

static const char *odin_skip_container(const char *at, const char *end, int depth) {
    bool is_object = *at == '{';
    char closing = is_object ? '}' : ']';
    at = odin_skip_space(at + 1, end);
    if (at < end && *at == closing) return at + 1;
    while (at < end) {
        if (is_object) {
            if (*at != '"' || !(at = odin_skip_string(at, end))) return NULL;
            at = odin_skip_space(at, end);
            if (at >= end || *at != ':') return NULL;
            at = odin_skip_space(at + 1, end);
        }
        if (!(at = odin_skip_value(at, end, depth + 1))) return NULL;
        at = odin_skip_space(at, end);
        if (at >= end) return NULL;
        if (*at == closing) return at + 1;
        if (*at != ',') return NULL;
        at = odin_skip_space(at + 1, end);
    }
    return NULL;
}

/* The end of the value at `at`; NULL if there is none that is well formed. */
static const char *odin_skip_value(const char *at, const char *end, int depth) {
    if (at >= end || depth > ODIN_DEPTH_MAX) return NULL;
    if (*at == '"') return odin_skip_string(at, end);
    if (*at == '{' || *at == '[') return odin_skip_container(at, end, depth);
    const char *start = at;
    while (at < end && ((*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'z') || *at == 'E' ||
                        *at == '-' || *at == '+' || *at == '.')) {
        at++;
    }
    return at > start ? at : NULL;
}

static inline bool odin_is(odin_json value, char first) {
    return value.size > 0 && value.at[0] == first;
}
static inline bool odin_is_string(odin_json value) { return odin_is(value, '"'); }
static inline bool odin_is_object(odin_json value) { return odin_is(value, '{'); }
static inline bool odin_is_array(odin_json value) { return odin_is(value, '['); }
static inline bool odin_is_true(odin_json value) { return odin_is(value, 't'); }

/* Goes over the entries of an object or the values of an array:
 *     odin_iterator it = odin_iterate(value);
 *     while (odin_next(&it)) … it.name … it.value …
 */
typedef struct {
    odin_str name; /* as it stands between the quotes; odin_decode decodes it */
    odin_json value;
    const char *at, *end;
    bool is_object;
} odin_iterator;

static inline odin_iterator odin_iterate(odin_json value) {
    odin_iterator it = {{0, 0}, {0, 0}, NULL, value.at + value.size, odin_is_object(value)};
    if (it.is_object || odin_is_array(value)) it.at = odin_skip_space(value.at + 1, it.end);
    return it;
}

static inline bool odin_next(odin_iterator *it) {
    const char *at = it->at;
    it->at = NULL;
    if (!at || at >= it->end) return false;
    if (it->is_object) {
        const char *name_end = *at == '"' ? odin_skip_string(at, it->end) : NULL;
        if (!name_end) return false;
        it->name = (odin_str){at + 1, (size_t)(name_end - at) - 2};
        at = odin_skip_space(name_end, it->end);
        if (at >= it->end || *at != ':') return false;
        at = odin_skip_space(at + 1, it->end);
    }
    const char *value_end = odin_skip_value(at, it->end, 0);
    if (!value_end) return false;
    it->value = (odin_json){at, (size_t)(value_end - at)};
    at = odin_skip_space(value_end, it->end);
    if (at < it->end && *at == ',') it->at = odin_skip_space(at + 1, it->end);
    return true;
}

static inline int odin_hex(char c) {
    c = odin_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline uint32_t odin_hex4(const char *at, const char *end) {
    uint32_t code = 0;
    if (end - at < 4) return 0xfffd;
    for (int i = 0; i < 4; i++) {
        int digit = odin_hex(at[i]);
        if (digit < 0) return 0xfffd;
        code = code << 4 | (uint32_t)digit;
    }
    return code;
}

static inline char *odin_put_utf8(char *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xe0 | code >> 12);
        } else {
            *to++ = (char)(0xf0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (code & 0x3f));
    return to;
}

/* Decodes the code point of a \u escape whose digits begin at *at; half a pair becomes U+FFFD. */
static inline uint32_t odin_unicode(const char **at, const char *end) {
    uint32_t code = odin_hex4(*at, end);
    *at = end - *at < 4 ? end : *at + 4;
    if (code >= 0xd800 && code < 0xdc00 && end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u') {
        uint32_t low = odin_hex4(*at + 2, end);
        if (low >= 0xdc00 && low < 0xe000) {
            *at += 6;
            return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return code >= 0xd800 && code < 0xe000 ? 0xfffd : code;
}

/* Decodes the text between a string's quotes. Without an escape in it, it is returned as it is. */
static inline odin_str odin_decode(odin_str text) {
    const char *at = text.at, *end = text.at + text.size;
    while (at < end && *at != '\\') at++;
    if (at == end) return text;
    char *out = odin_allocate(text.size), *to = out; /* never longer than its escaped form */
    for (at = text.at; at < end;) {
        char c = *at++;
        if (c != '\\' || at == end) {
            *to++ = c;
            continue;
        }
        switch (c = *at++) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': to = odin_put_utf8(to, odin_unicode(&at, end)); break;
        default: *to++ = c;
        }
    }
    return (odin_str){out, (size_t)(to - out)};
}

/* A string's text, decoded; empty if it is none. */
static inline odin_str odin_text(odin_json value) {
    if (!odin_is_string(value)) return (odin_str){"", 0};
    return odin_decode((odin_str){value.at + 1, value.size - 2});
}

static inline odin_json odin_get_str(odin_json object, odin_str key) {
    odin_iterator it = odin_iterate(object);
    while (it.is_object && odin_next(&it)) {
        if (odin_equal(it.name, key) || odin_equal(odin_decode(it.name), key)) return it.value;
    }
    return (odin_json){0, 0};
}

/* The value under a key, a literal, of an object; absent if it is none or has no such key. */
#define odin_get(object, key) odin_get_str((object), ODIN(key))

/* A whole number, or fallback where there is none. */
static inline int64_t odin_integer(odin_json value, int64_t fallback) {
    bool is_negative = odin_is(value, '-');
    size_t i = is_negative ? 1 : 0;
    int64_t number = 0;
    if (i >= value.size) return fallback;
    for (; i < value.size; i++) {
        int digit = value.at[i] - '0';
        /* Not by __builtin_mul_overflow, which calls a function of the compiler's library. */
        if (digit < 0 || digit > 9 || number > INT64_MAX / 10 ||
            number * 10 > INT64_MAX - digit) {
            return fallback;
        }
        number = number * 10 + digit;
    }
    return is_negative ? -number : number;
}

/* The first value of a header of a message (call->input, or its request), its name in any case. */
static inline odin_str odin_header(odin_json message, odin_str name) {
    odin_iterator it = odin_iterate(odin_get(message, "headers"));
    while (it.is_object && odin_next(&it)) {
        if (!odin_equal_ignoring_case(odin_decode(it.name), name)) continue;
        if (odin_is_string(it.value)) return odin_text(it.value);
        odin_iterator values = odin_iterate(it.value);
        if (odin_next(&values)) return odin_text(values.value);
    }
    return (odin_str){NULL, 0};
}

/* The head of the request, in every phase: in the response phase the one that was answered. */
static inline odin_json odin_request(const odin_call *call) {
    odin_json request = odin_get(call->input, "request");
    return odin_is_object(request) ? request : call->input;
}

/* The request's normalised path, without the query, in every phase. */
static inline odin_str odin_path(const odin_call *call) {
    return odin_text(odin_get(odin_request(call), "path"));
}

/* The first value of a parameter of the request's query, decoded; at NULL if there is none. */
static inline odin_str odin_query(const odin_call *call, odin_str name) {
    odin_iterator values = odin_iterate(odin_get_str(odin_get(odin_request(call), "query"), name));
    if (!odin_next(&values)) return (odin_str){NULL, 0};
    return odin_text(values.value);
}

/* --- The result ----------------------------------------------------------------------------- */

/* The chain stops and the client gets a refusal, with the reason in it. */
static inline void odin_refuse(odin_result *result, odin_str reason) {
    result->stops = true;
    result->error = reason;
}

/* The chain stops and the client gets a response of this status. */
static inline void odin_respond(odin_result *result, int status) {
    result->stops = true;
    result->status = status;
}

/* The plugin could not decide; its failureMode does. */
static inline void odin_fail(odin_result *result, odin_str error) {
    result->fails = true;
    result->error = error;
}

static inline void odin_set_body(odin_result *result, odin_str body) {
    result->has_body = true;
    result->body = body;
}

static inline odin_change *odin_append(odin_change **list, odin_str name, odin_str value) {
    odin_change *change = odin_allocate(sizeof(odin_change));
    *change = (odin_change){name, value, false, NULL};
    while (*list) list = &(*list)->next;
    return *list = change;
}

/* Forgets what was said of a header: the last word counts. */
static inline void odin_forget_header(odin_result *result, odin_str name) {
    for (odin_change **at = &result->headers; *at;) {
        if (odin_equal_ignoring_case((*at)->name, name)) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
}

/* Adds a value to what this result sets a header to. */
static inline void odin_add_header(odin_result *result, odin_str name, odin_str value) {
    odin_append(&result->headers, name, value);
}

/* Sets a header to one value in the place of all it had. */
static inline void odin_set_header(odin_result *result, odin_str name, odin_str value) {
    odin_forget_header(result, name);
    odin_add_header(result, name, value);
}

/* Removes a header, with all its values. */
static inline void odin_remove_header(odin_result *result, odin_str name) {
    odin_forget_header(result, name);
    odin_append(&result->headers, name, (odin_str){0, 0})->removes = true;
}

/* Leaves a value, as JSON, for the later plugins of this exchange. */
static inline void odin_set_metadata(odin_result *result, odin_str key, odin_json value) {
    odin_append(&result->metadata, key, value);
}

/* --- JSON out ------------------------------------------------------------------------------- */

/* The output grows by doubling and is used again by the next call. */
static struct {
    char *at;
    size_t size, capacity;
} odin_out;

static inline void odin_put(odin_str text) {
    if (odin_out.capacity - odin_out.size < text.size) {
        size_t capacity = odin_out.capacity ? odin_out.capacity : 1024;
        while (capacity - odin_out.size < text.size) capacity *= 2;
        char *larger = odin_take(capacity);
        for (size_t i = 0; i < odin_out.size; i++) larger[i] = odin_out.at[i];
        odin_out.at = larger;
        odin_out.capacity = capacity;
    }
    for (size_t i = 0; i < text.size; i++) odin_out.at[odin_out.size + i] = text.at[i];
    odin_out.size += text.size;
}

/* How many bytes at `at` are one character in UTF-8; 0 if they are none. */
static inline size_t odin_utf8_size(const char *at, const char *end) {
    unsigned char first = (unsigned char)*at;
    size_t size = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3
                : first < 0xf5 ? 4 : 0;
    if (size == 0 || (size_t)(end - at) < size) return 0;
    for (size_t i = 1; i < size; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80) return 0;
    }
    unsigned char second = size > 1 ? (unsigned char)at[1] : 0;
    bool is_overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool is_beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    return is_overlong || is_beyond ? 0 : size;
}

/* A JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD. */
static inline void odin_put_string(odin_str text) {
    static const char hex[] = "0123456789abcdef";
    const char *end = text.at + text.size;
    odin_put(ODIN("\""));
    for (const char *at = text.at; at < end;) {
        size_t size = odin_utf8_size(at, end);
        if (size == 0) {
            odin_put(ODIN("\xef\xbf\xbd"));
            size = 1;
        } else if (*at == '"' || *at == '\\') {
            odin_put(ODIN("\\"));
            odin_put((odin_str){at, 1});
        } else if ((unsigned char)*at < 0x20) {
            char escape[6] = {'\\', 'u', '0', '0', hex[*at >> 4], hex[*at & 15]};
            odin_put((odin_str){escape, 6});
        } else {
            odin_put((odin_str){at, size});
        }
        at += size;
    }
    odin_put(ODIN("\""));
}

static inline void odin_put_base64(odin_str bytes) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    odin_put(ODIN("\""));
    for (size_t i = 0; i < bytes.size; i += 3) {
        uint32_t bits = 0;
        for (size_t b = 0; b < 3; b++) {
            bits = bits << 8 | (i + b < bytes.size ? (unsigned char)bytes.at[i + b] : 0);
        }
        char four[4];
        for (int d = 0; d < 4; d++) four[d] = alphabet[bits >> (18 - 6 * d) & 63];
        if (i + 1 >= bytes.size) four[2] = '=';
        if (i + 2 >= bytes.size) four[3] = '=';
        odin_put((odin_str){four, 4});
    }
    odin_put(ODIN("\""));
}

static inline void odin_put_body(odin_str body) {
    const char *at = body.at, *end = body.at + body.size;
    size_t size;
    while (at < end && (size = odin_utf8_size(at, end))) at += size;
    if (at == end) {
        odin_put_string(body);
    } else {
        odin_put_base64(body);
        odin_put(ODIN(",\"bodyEncoding\":\"base64\""));
    }
}

/* Values of one header may stand apart in the list; they are written together. */
static inline void odin_put_headers(const odin_change *headers) {
    odin_put(ODIN("\"headers\":{"));
    for (const odin_change *change = headers; change; change = change->next) {
        const odin_change *first = headers;
        while (!odin_equal_ignoring_case(first->name, change->name)) first = first->next;
        if (first != change) continue;
        if (change != headers) odin_put(ODIN(","));
        odin_put_string(change->name);
        odin_put(ODIN(":["));
        bool is_first = true;
        for (const odin_change *other = change; other; other = other->next) {
            if (other->removes || !odin_equal_ignoring_case(other->name, change->name)) continue;
            if (!is_first) odin_put(ODIN(","));
            odin_put_string(other->value);
            is_first = false;
        }
        odin_put(ODIN("]"));
    }
    odin_put(ODIN("}"));
}

static inline void odin_put_status(int status) {
    char digits[3] = {(char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10),
                      (char)('0' + status % 10)};
    odin_put(ODIN("\"statusCode\":"));
    odin_put((odin_str){digits, 3});
}

static inline void odin_put_message(const odin_result *result) {
    bool is_request = result->method.size > 0 || result->url.size > 0;
    odin_str comma = {"", 0};
    odin_put(is_request ? ODIN(",\"request\":{") : ODIN(",\"response\":{"));
    if (result->method.size > 0) {
        odin_put(ODIN("\"method\":"));
        odin_put_string(result->method);
        comma = ODIN(",");
    }
    if (result->url.size > 0) {
        odin_put(comma);
        odin_put(ODIN("\"url\":"));
        odin_put_string(result->url);
        comma = ODIN(",");
    }
    if (result->status >= 100 && result->status <= 999) {
        odin_put(comma);
        odin_put_status(result->status);
        comma = ODIN(",");
    }
    if (result->headers) {
        odin_put(comma);
        odin_put_headers(result->headers);
        comma = ODIN(",");
    }
    if (result->has_body) {
        odin_put(comma);
        odin_put(ODIN("\"body\":"));
        odin_put_body(result->body);
    }
    odin_put(ODIN("}"));
}

static inline void odin_put_result(const odin_result *result) {
    odin_out.size = 0;
    if (result->fails) {
        /* No word on whether to go on: that is for the failure mode to say. */
        odin_put(ODIN("{\"error\":"));
        odin_put_string(result->error);
        odin_put(ODIN("}"));
        return;
    }
    bool is_modified = result->status || result->headers || result->has_body ||
                       result->method.size > 0 || result->url.size > 0;
    odin_put(is_modified ? ODIN("{\"modified\":true") : ODIN("{\"modified\":false"));
    odin_put(result->stops ? ODIN(",\"continue\":false") : ODIN(",\"continue\":true"));
    if (result->error.size > 0) {
        odin_put(ODIN(",\"error\":"));
        odin_put_string(result->error);
    }
    if (is_modified) odin_put_message(result);
    for (const odin_change *entry = result->metadata; entry; entry = entry->next) {
        odin_put(entry == result->metadata ? ODIN(",\"metadata\":{") : ODIN(","));
        odin_put_string(entry->name);
        odin_put(ODIN(":"));
        odin_put(entry->value);
    }
    odin_put(result->metadata ? ODIN("}}") : ODIN("}"));
}

/* --- The exports ---------------------------------------------------------------------------- */

#define ODIN_EXPORT(name) __attribute__((export_name(name)))

/* The configuration that was last read, and what is wrong with it. */
static struct {
    odin_str text, wrong;
    bool is_read;
} odin_known;

static inline odin_str odin_keep(odin_str first, odin_str second) {
    char *kept = odin_take(first.size + second.size);
    for (size_t i = 0; i < first.size; i++) kept[i] = first.at[i];
    for (size_t i = 0; i < second.size; i++) kept[first.size + i] = second.at[i];
    return (odin_str){kept, first.size + second.size};
}

/* Reads a configuration that is not the one before; what is wrong with it, or nothing. */
static inline odin_str odin_configure(odin_json config) {
    if (odin_known.is_read && odin_equal(odin_known.text, config)) return odin_known.wrong;
    odin_result result = {0};
    odin_known.text = odin_keep(config, (odin_str){0, 0});
    odin_known.is_read = true;
    odin_on_config(odin_known.text, &result);
    odin_known.wrong = result.fails ? odin_keep(ODIN("config: "), result.error) : (odin_str){0, 0};
    /* What it has allocated stays: no later call uses it again. */
    odin_chunks = NULL;
    return odin_known.wrong;
}

static inline void odin_dispatch(const odin_call *call, odin_result *result) {
    odin_str wrong = odin_on_config ? odin_configure(call->config) : (odin_str){0, 0};
    if (wrong.size > 0) {
        odin_fail(result, wrong);
    } else if (!odin_is_object(call->context) || !odin_is_object(call->input)) {
        odin_fail(result, ODIN("input has no context and input objects"));
    } else if (odin_equal(odin_text(odin_get(call->context, "phase")), ODIN("aggregation"))) {
        if (odin_on_answers) {
            odin_on_answers(call, result);
        } else {
            odin_fail(result, ODIN("this plugin does not aggregate (it has no odin_on_answers)"));
        }
    } else if (odin_equal(odin_text(odin_get(call->context, "phase")), ODIN("response"))) {
        if (odin_on_response) odin_on_response(call, result);
    } else {
        if (odin_on_request) odin_on_request(call, result);
    }
}

/* An instance starts. What is wrong with its config ends it, so that a gateway refuses it when it is
 * loaded. (One that does not tell it here tells it with the first call.) */
ODIN_EXPORT("init") void odin_export_init(void) {
    odin_json config = odin_on_config ? odin_config((odin_str){"", 0}) : (odin_json){0, 0};
    odin_str wrong = config.size > 0 ? odin_configure(config) : config;
    if (wrong.size == 0) return;
    odin_log(ODIN_ERROR, wrong);
    __builtin_trap();
}

/* The host keeps a buffer and asks for twice the size when it needs more, so that what it leaves
 * behind is never more than what it has. */
ODIN_EXPORT("alloc") void *odin_export_alloc(size_t size) { return odin_take(size); }

/* The parts of an input; what a call before has allocated is free again. */
static inline odin_call odin_read_call(const char *input, size_t size) {
    for (odin_chunk *chunk = odin_chunks; chunk; chunk = chunk->next) chunk->used = 0;
    odin_call call = {{0, 0}, {0, 0}, {0, 0}};
    odin_iterator it = odin_iterate((odin_json){input, size});
    while (it.is_object && odin_next(&it)) {
        if (odin_equal(it.name, ODIN("context"))) call.context = it.value;
        if (odin_equal(it.name, ODIN("input"))) call.input = it.value;
        if (odin_equal(it.name, ODIN("config"))) call.config = it.value;
    }
    return call;
}

ODIN_EXPORT("execute") uint64_t odin_export_execute(const char *input, size_t size) {
    odin_call call = odin_read_call(input, size);
    odin_result result = {0};
    odin_dispatch(&call, &result);
    odin_put_result(&result);
    return (uint64_t)odin_out.size << 32 | (uint32_t)(uintptr_t)odin_out.at;
}

/* --- Bodies in pieces ------------------------------------------------------------------------- */

/* The piece goes on as it is: the cheapest. */
static inline odin_passed odin_pass(void) { return (odin_passed){0, {0, 0}}; }

/* These bytes go on in its place; none: nothing does. */
static inline odin_passed odin_replace(odin_str bytes) { return (odin_passed){1, bytes}; }

/* The gateway keeps the piece, and gives it again in front of the next one, within
 * server.limits.pluginBodyBytesMax. Not of the last one. */
static inline odin_passed odin_hold(void) { return (odin_passed){2, {0, 0}}; }

/* These bytes go on in its place, and end the body: the other side sees a whole message. */
static inline odin_passed odin_end(odin_str bytes) { return (odin_passed){3, bytes}; }

/* The message is cut off visibly; the reason goes to the log. */
static inline odin_passed odin_cut(odin_str reason) { return (odin_passed){4, reason}; }

/* The exchange is answered so, as a refusal is; if some of a response has gone out, it is cut. */
static inline odin_passed odin_answer(const odin_result *result) {
    odin_put_result(result);
    return (odin_passed){5, {odin_out.at, odin_out.size}};
}

/* The plugin could not do its work: its failureMode decides. */
static inline odin_passed odin_fails(odin_str reason) { return (odin_passed){6, reason}; }

#if defined(ODIN_REQUEST_BODIES) || defined(ODIN_RESPONSE_BODIES)

#define ODIN_WRONG_MAX 256

/* A body that passes: the exchange's number and which of its messages it is of. Its state stands
 * behind it. */
typedef struct odin_body {
    struct odin_body *next;
    uint32_t id;
    bool is_response, is_open;
    size_t wrong_size; /* of what went wrong when it began */
    char wrong[ODIN_WRONG_MAX];
} odin_body;

#define ODIN_BODY_LISTS 256u

static odin_body *odin_bodies[ODIN_BODY_LISTS], *odin_free_bodies;

static inline void *odin_state_of(odin_body *body) {
    return (char *)body + ((sizeof(odin_body) + 15) & ~(size_t)15);
}

static inline odin_body **odin_find_body(uint32_t id, bool is_response) {
    odin_body **at = &odin_bodies[id % ODIN_BODY_LISTS];
    while (*at && ((*at)->id != id || (*at)->is_response != is_response)) at = &(*at)->next;
    return at;
}

/* Memory of a body that is over is used again by the next one. */
static inline odin_body *odin_new_body(uint32_t id, bool is_response) {
    odin_body *body = odin_free_bodies;
    if (body) {
        odin_free_bodies = body->next;
    } else {
        body = odin_take(((sizeof(odin_body) + 15) & ~(size_t)15) + odin_body_size);
    }
    odin_body **list = &odin_bodies[id % ODIN_BODY_LISTS];
    *body = (odin_body){.next = *list, .id = id, .is_response = is_response};
    *list = body;
    unsigned char *state = odin_state_of(body);
    for (size_t i = 0; i < odin_body_size; i++) state[i] = 0;
    return body;
}

static inline void odin_close_body(uint32_t id, bool is_response) {
    odin_body **at = odin_find_body(id, is_response), *body = *at;
    if (!body) return;
    if (body->is_open && odin_on_body_close) odin_on_body_close(odin_state_of(body));
    *at = body->next;
    body->next = odin_free_bodies;
    odin_free_bodies = body;
}

static inline bool odin_begin_body(odin_body *body, const odin_call *call, odin_result *result) {
    (void)body, (void)call, (void)result;
#ifdef ODIN_REQUEST_BODIES
    if (!body->is_response) return odin_on_request_body(call, odin_state_of(body), result);
#endif
#ifdef ODIN_RESPONSE_BODIES
    if (body->is_response) return odin_on_response_body(call, odin_state_of(body), result);
#endif
    return false;
}

ODIN_EXPORT("on_stream_open")
void odin_export_stream_open(uint32_t id, const char *input, size_t size) {
    odin_call call = odin_read_call(input, size);
    odin_str phase = odin_text(odin_get(call.context, "phase"));
    odin_body *body = odin_new_body(id, odin_equal(phase, ODIN("response")));
    odin_str wrong = odin_on_config ? odin_configure(call.config) : (odin_str){0, 0};
    odin_result result = {0};
    if (wrong.size > 0) {
        odin_fail(&result, wrong);
    } else {
        body->is_open = odin_begin_body(body, &call, &result);
    }
    if (!result.fails) return;
    body->is_open = false;
    odin_str why = result.error.size > 0 ? result.error : ODIN("the body could not be begun");
    body->wrong_size = why.size < ODIN_WRONG_MAX ? why.size : ODIN_WRONG_MAX;
    for (size_t i = 0; i < body->wrong_size; i++) body->wrong[i] = why.at[i];
}

static inline uint64_t odin_packed(odin_passed passed) {
    uint64_t place = (uint64_t)passed.output.size << 32 | (uint32_t)(uintptr_t)passed.output.at;
    return (uint64_t)passed.action << 60 | (passed.output.size > 0 ? place : 0);
}

/* What a piece is given to, or NULL: then `passed` says what becomes of it. */
static inline void *odin_given(uint32_t id, bool is_response, odin_passed *passed) {
    for (odin_chunk *chunk = odin_chunks; chunk; chunk = chunk->next) chunk->used = 0;
    odin_body *body = *odin_find_body(id, is_response);
    *passed = odin_pass();
    if (body && body->wrong_size > 0) {
        *passed = odin_fails((odin_str){body->wrong, body->wrong_size});
    }
    return body && body->is_open ? odin_state_of(body) : NULL;
}

static inline odin_piece odin_chunk_given(const char *bytes, size_t size, uint32_t flags) {
    return (odin_piece){{bytes, size}, (flags & 1) != 0, (flags & 2) != 0};
}

#ifdef ODIN_REQUEST_BODIES
ODIN_EXPORT("on_request_chunk")
uint64_t odin_export_request_chunk(uint32_t id, const char *bytes, size_t size, uint32_t flags) {
    odin_passed passed;
    void *state = odin_given(id, false, &passed);
    if (state) passed = odin_on_request_chunk(state, odin_chunk_given(bytes, size, flags));
    return odin_packed(passed);
}
#endif

#ifdef ODIN_RESPONSE_BODIES
ODIN_EXPORT("on_response_chunk")
uint64_t odin_export_response_chunk(uint32_t id, const char *bytes, size_t size, uint32_t flags) {
    odin_passed passed;
    void *state = odin_given(id, true, &passed);
    if (state) passed = odin_on_response_chunk(state, odin_chunk_given(bytes, size, flags));
    return odin_packed(passed);
}
#endif

ODIN_EXPORT("on_stream_close") void odin_export_stream_close(uint32_t id) {
    odin_close_body(id, false);
    odin_close_body(id, true);
}

#endif

ODIN_EXPORT("cleanup") void odin_export_cleanup(void) {
    if (odin_on_cleanup) odin_on_cleanup();
}

#endif
