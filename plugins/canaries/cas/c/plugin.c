/* Numbers requests without a gap over all workers, by compare-and-set alone: the request of number
 * n gets X-Number: n. For tests of the SDKs.
 */
#include "odin_plugin.h"

static odin_str decimal(int64_t number) {
    static char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return odin_copy((odin_str){digits + at, sizeof digits - at});
}

void odin_on_request(const odin_call *call, odin_result *result) {
    (void)call;
    for (;;) {
        int found;
        odin_str last = odin_copy(odin_kv_get(ODIN("last"), &found));
        odin_str next = decimal(found == 1 ? odin_integer(last, 0) + 1 : 1);
        const odin_str *expected = found == 1 ? &last : NULL;
        int is_set = found < 0 ? -1 : odin_kv_compare_and_set(ODIN("last"), expected, next, 0);
        if (is_set < 0) {
            odin_fail(result, ODIN("the shared state can't be reached"));
            return;
        }
        if (is_set == 1) {
            odin_set_header(result, ODIN("X-Number"), next);
            return;
        }
    }
}
