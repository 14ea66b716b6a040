/* Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
 * lists of values), removeHeaders a list of names.
 *
 * As a request plugin it changes what the service sees, as a response plugin what the client sees,
 * as middleware both. A header that stands in both lists is set.
 */
#include "odin_plugin.h"

void odin_on_config(odin_json config, odin_result *result) {
    odin_iterator added = odin_iterate(odin_get(config, "addHeaders"));
    while (odin_next(&added)) {
        if (!odin_is_string(added.value) && !odin_is_array(added.value)) {
            odin_fail(result, ODIN("a value of addHeaders is neither a string nor a list"));
        }
    }
}

static void add(odin_result *result, odin_str name, odin_json value) {
    odin_forget_header(result, name);
    if (odin_is_string(value)) {
        odin_add_header(result, name, odin_text(value));
    } else {
        odin_iterator values = odin_iterate(value);
        while (odin_next(&values)) odin_add_header(result, name, odin_text(values.value));
    }
}

static void change(const odin_call *call, odin_result *result) {
    odin_iterator removed = odin_iterate(odin_get(call->config, "removeHeaders"));
    while (odin_next(&removed)) odin_remove_header(result, odin_text(removed.value));

    odin_iterator added = odin_iterate(odin_get(call->config, "addHeaders"));
    while (odin_next(&added)) add(result, odin_decode(added.name), added.value);
}

void odin_on_request(const odin_call *call, odin_result *result) { change(call, result); }

/* Whether a header of the response says if it may be stored, or makes it one client's; for those
 * that are set instead of removed, `is_set`: the last two say nothing of what the service had said. */
static bool is_of_storing(odin_str name, bool is_set) {
    const odin_str names[] = {ODIN("set-cookie"), ODIN("vary"), ODIN("cache-control"),
                              ODIN("expires"), ODIN("pragma")};
    for (size_t i = 0; i < (is_set ? 2 : sizeof names / sizeof *names); i++) {
        if (odin_equal_ignoring_case(name, names[i])) return true;
    }
    return false;
}

static bool hides(const odin_call *call) {
    odin_iterator removed = odin_iterate(odin_get(call->config, "removeHeaders"));
    while (odin_next(&removed)) {
        odin_str name = odin_text(removed.value);
        if (is_of_storing(name, false) && odin_header(call->input, name).at) return true;
    }
    odin_iterator added = odin_iterate(odin_get(call->config, "addHeaders"));
    while (odin_next(&added)) {
        odin_str name = odin_decode(added.name);
        if (is_of_storing(name, true) && odin_header(call->input, name).at) return true;
    }
    return false;
}

/* A cache behind this plugin must not store what it does not see whole. */
void odin_on_response(const odin_call *call, odin_result *result) {
    change(call, result);
    if (hides(call)) odin_set_metadata(result, ODIN("odin.uncacheable"), ODIN("true"));
}
