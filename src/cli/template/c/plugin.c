/* Adds a header with the method of each request. */
#include "odin_plugin.h"

void odin_on_request(const odin_call *call, odin_result *result) {
    odin_set_header(result, ODIN("X-Hello"), odin_text(odin_get(call->input, "method")));
}
