/* Says in X-Asked what it was told of the request's target: "path limit". The same in both phases.
 * For tests of the SDKs.
 */
#include "odin_plugin.h"

static void asked(const odin_call *call, odin_result *result) {
    odin_str path = odin_path(call), limit = odin_query(call, ODIN("limit"));
    char *text = odin_allocate(path.size + 1 + limit.size);
    for (size_t i = 0; i < path.size; i++) text[i] = path.at[i];
    text[path.size] = ' ';
    for (size_t i = 0; i < limit.size; i++) text[path.size + 1 + i] = limit.at[i];
    odin_set_header(result, ODIN("X-Asked"), (odin_str){text, path.size + 1 + limit.size});
}

void odin_on_request(const odin_call *call, odin_result *result) { asked(call, result); }
void odin_on_response(const odin_call *call, odin_result *result) { asked(call, result); }
