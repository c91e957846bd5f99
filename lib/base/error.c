#include "eidmap/error.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define LAST_WIRE_CODE 100

static const struct {
    int err;
    bool is_retryable;
    const char *name;
    const char *text;
} errors[] = {
#define X(name, wire, retry, text) {EM_E_##name, retry, #name, text},
    EM_ERRORS(X)
#undef X
};

static int find(int err)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].err == err)
            return (int)i;
    return -1;
}

const char *em_strerror(int err)
{
    int i = find(err);
    if (i >= 0)
        return errors[i].text;
    const char *text = err == 0 ? "success" : strerrordesc_np(-err);
    return text ? text : "unknown error";
}

const char *em_errname(int err)
{
    int i = find(err);
    if (i >= 0)
        return errors[i].name;
    const char *name = err == 0 ? "OK" : strerrorname_np(-err);
    return name ? name : "UNKNOWN";
}

bool em_error_is_retryable(int err)
{
    int i = find(err);
    return i >= 0 ? errors[i].is_retryable : err == -EAGAIN || err == -ECONNREFUSED;
}

int em_error_to_wire(int err)
{
    int i = find(err);
    if (i >= 0 && -1000 - err < LAST_WIRE_CODE)
        return -1000 - err;
    return -1000 - EM_E_INTERNAL;
}

int em_error_from_wire(int code)
{
    int i = code > 0 && code < LAST_WIRE_CODE ? find(-1000 - code) : -1;
    return i >= 0 ? errors[i].err : EM_E_INTERNAL;
}
