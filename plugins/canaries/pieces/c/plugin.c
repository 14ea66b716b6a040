/* Does what a body says, piece by piece, and at its end says how much of it there was. For tests of the
 * SDKs: assemblyscript/ does the same.
 */
#define ODIN_REQUEST_BODIES
#define ODIN_RESPONSE_BODIES
#include "odin_plugin.h"

struct counted {
    size_t bytes, pieces;
};
const size_t odin_body_size = sizeof(struct counted);

static bool begins(const odin_call *call, odin_result *result) {
    odin_str path = odin_path(call);
    if (odin_equal(path, ODIN("/wrong"))) odin_fail(result, ODIN("the path is wrong"));
    return !odin_equal(path, ODIN("/pass"));
}

bool odin_on_request_body(const odin_call *call, void *state, odin_result *result) {
    (void)state;
    return begins(call, result);
}

bool odin_on_response_body(const odin_call *call, void *state, odin_result *result) {
    (void)state, (void)call, (void)result;
    return true;
}

static bool starts(odin_str text, odin_str with) {
    return text.size >= with.size && odin_equal((odin_str){text.at, with.size}, with);
}

static size_t put_number(char *to, size_t number) {
    size_t size = 1, rest = number;
    while (rest /= 10) size++;
    for (size_t i = size; i-- > 0; number /= 10) to[i] = (char)('0' + number % 10);
    return size;
}

/* The bytes, and behind them "[bytes/pieces]". */
static odin_str told(odin_str bytes, const struct counted *counted) {
    char *text = odin_allocate(bytes.size + 64);
    for (size_t i = 0; i < bytes.size; i++) text[i] = bytes.at[i];
    size_t at = bytes.size;
    text[at++] = '[';
    at += put_number(text + at, counted->bytes);
    text[at++] = '/';
    at += put_number(text + at, counted->pieces);
    text[at++] = ']';
    return (odin_str){text, at};
}

odin_passed odin_on_request_chunk(void *state, odin_piece piece) {
    struct counted *counted = state;
    odin_str bytes = piece.bytes;
    if (starts(bytes, ODIN("hold")) && bytes.size < 8 && !piece.is_end) return odin_hold();
    counted->bytes += bytes.size;
    counted->pieces++;
    if (starts(bytes, ODIN("drop"))) return odin_replace((odin_str){0, 0});
    if (starts(bytes, ODIN("end"))) return odin_end(ODIN("ended"));
    if (starts(bytes, ODIN("cut"))) return odin_cut(ODIN("asked to cut"));
    if (starts(bytes, ODIN("fail"))) return odin_fails(ODIN("asked to fail"));
    if (starts(bytes, ODIN("answer"))) {
        odin_result result = {0};
        odin_respond(&result, 418);
        odin_set_body(&result, ODIN("a pot"));
        return odin_answer(&result);
    }
    return piece.is_end ? odin_replace(told(bytes, counted)) : odin_pass();
}

odin_passed odin_on_response_chunk(void *state, odin_piece piece) {
    struct counted *counted = state;
    counted->bytes += piece.bytes.size;
    counted->pieces++;
    return piece.is_end ? odin_replace(told(piece.bytes, counted)) : odin_pass();
}

void odin_on_body_close(void *state) {
    odin_log(ODIN_INFO, told(ODIN("closed "), state));
}
