/* Adds and removes headers, as its configuration says: addHeaders is a map of names to values (or
 * lists of values), removeHeaders a list of names.
 *
 * As a request plugin it changes what the service sees, as a response plugin what the client sees,
 * as middleware both. A header that stands in both lists is set.
 */
#include "odin_plugin.h"

static void add(odin_result *result, odin_str name, odin_json value) {
    odin_forget_header(result, name);
    if (odin_is_string(value)) {
        odin_add_header(result, name, odin_text(value));
    } else if (odin_is_array(value)) {
        odin_iterator values = odin_iterate(value);
        while (odin_next(&values)) odin_add_header(result, name, odin_text(values.value));
    } else {
        odin_fail(result, ODIN("config: a value of addHeaders is neither a string nor a list"));
    }
}

static void change(const odin_call *call, odin_result *result) {
    odin_iterator removed = odin_iterate(odin_get(call->config, "removeHeaders"));
    while (odin_next(&removed)) odin_remove_header(result, odin_text(removed.value));

    odin_iterator added = odin_iterate(odin_get(call->config, "addHeaders"));
    while (odin_next(&added)) add(result, odin_decode(added.name), added.value);
}

void odin_on_request(const odin_call *call, odin_result *result) { change(call, result); }
void odin_on_response(const odin_call *call, odin_result *result) { change(call, result); }
