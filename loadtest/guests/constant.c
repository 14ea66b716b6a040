/* A guest that looks at nothing and returns the outcome of a header plugin, which it did not have to
 * write: what a request costs more through it than through no plugin is the gateway's part of a call.
 */
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))

/* As much as the inputs of the scenarios without a body have. */
static char input[64 * 1024];

EXPORT("alloc") void *allocate(size_t size) { return size <= sizeof input ? input : NULL; }

EXPORT("execute") uint64_t execute(const char *at, size_t size) {
    static const char output[] = "{\"modified\":true,\"continue\":true,"
                                 "\"response\":{\"headers\":{\"X-Gateway\":[\"Odin\"]}}}";
    (void)at, (void)size;
    return (uint64_t)(sizeof output - 1) << 32 | (uint32_t)(uintptr_t)output;
}
