#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>

static const struct {
    int err, wire;
    bool is_retryable;
    const char *name;
} all[] = {
#define X(name, wire, retry, text) {EM_E_##name, wire, retry, #name},
    EM_ERRORS(X)
#undef X
};

#define N_ALL (sizeof(all) / sizeof(all[0]))

Test(error, every_code_has_its_own_name_and_text)
{
    for (size_t i = 0; i < N_ALL; i++) {
        cr_assert_str_eq(em_errname(all[i].err), all[i].name);
        cr_assert_str_neq(em_strerror(all[i].err), "unknown error");
        cr_assert_eq(em_error_is_retryable(all[i].err), all[i].is_retryable);
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(all[i].err, all[j].err);
    }
}

Test(error, wire_codes_go_there_and_back)
{
    for (size_t i = 0; i < N_ALL; i++) {
        bool is_wire = all[i].wire < 100;
        cr_assert_eq(em_error_to_wire(all[i].err), is_wire ? all[i].wire : 16);
        if (is_wire)
            cr_assert_eq(em_error_from_wire(all[i].wire), all[i].err);
        else
            cr_assert_eq(em_error_from_wire(all[i].wire), EM_E_INTERNAL,
                         "a local code is no reply");
    }
}

Test(error, unknown_codes_from_a_peer_are_internal)
{
    const int codes[] = {0, -1, 17, 99, 100, 1000, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        cr_assert_eq(em_error_from_wire(codes[i]), EM_E_INTERNAL, "%d", codes[i]);
}

Test(error, errno_has_name_and_text_too)
{
    cr_assert_str_eq(em_errname(-ENOENT), "ENOENT");
    cr_assert_str_eq(em_strerror(-ENOENT), "No such file or directory");
    cr_assert_str_eq(em_errname(0), "OK");
    cr_assert_str_eq(em_strerror(0), "success");
    cr_assert_str_eq(em_errname(-99999), "UNKNOWN");
    cr_assert_str_eq(em_strerror(-99999), "unknown error");
    cr_assert_eq(em_error_to_wire(-ENOENT), 16);
    cr_assert(em_error_is_retryable(-EAGAIN));
    cr_assert(!em_error_is_retryable(-EINVAL));
}
