#include "test.h"

#include <limits.h>

#include "../core/error.h"

static void own_codes(void **state)
{
#define XX(name, code, message)                                                                    \
    assert_int_equal(ROTOR_##name, code);                                                          \
    assert_string_equal(rotor_err_name(code), #name);                                              \
    assert_string_equal(rotor_strerror(code), message);
    ROTOR_ERRORS(XX)
#undef XX
#define XX(name, code, status, message)                                                            \
    assert_int_equal(ROTOR_##name, code);                                                          \
    assert_string_equal(rotor_err_name(code), #name);                                              \
    assert_string_equal(rotor_strerror(code), message);
    ROTOR_HTTP_ERRORS(XX)
    ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
    assert_string_equal(rotor_err_name(ROTOR_ECAPACITY), "ECAPACITY");
    assert_string_equal(rotor_err_name(ROTOR_HTTP_EHOST), "HTTP_EHOST");
}

static void libuv_codes(void **state)
{
#define XX(name, message)                                                                          \
    assert_string_equal(rotor_err_name(UV_##name), #name);                                         \
    assert_string_equal(rotor_strerror(UV_##name), message);
    UV_ERRNO_MAP(XX)
#undef XX
    assert_string_equal(rotor_err_name(UV_ECONNREFUSED), "ECONNREFUSED");
}

static void no_code_of_ours_is_one_of_libuv(void **state)
{
    static const int theirs[] = {
#define XX(name, message) UV_##name,
        UV_ERRNO_MAP(XX)
#undef XX
    };
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        assert_true(theirs[i] < 0 && theirs[i] > -5000);
#define XX(name, code, message) assert_true((code) <= -10001);
    ROTOR_ERRORS(XX)
#undef XX
#define XX(name, code, status, message) assert_true((code) <= -10001);
    ROTOR_HTTP_ERRORS(XX)
    ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
}

static void messages_are_fragments(void **state)
{
#define XX(name, code, message)                                                                    \
    assert_true(sizeof(message) > 1 && (message)[sizeof(message) - 2] != '.');
    ROTOR_ERRORS(XX)
#undef XX
#define XX(name, code, status, message)                                                            \
    assert_true(sizeof(message) > 1 && (message)[sizeof(message) - 2] != '.');                     \
    assert_in_range(status, 400, 599);
    ROTOR_HTTP_ERRORS(XX)
#undef XX
#define XX(name, code, close, message)                                                             \
    assert_true(sizeof(message) > 1 && (message)[sizeof(message) - 2] != '.');                     \
    assert_true(close == 0 || (close >= 1000 && close <= 1014));
    ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
}

/* libuv would allocate a string for each of these: equal pointers show that ours are static. */
static void unknown_codes(void **state)
{
    static const int codes[] = {INT_MIN, INT_MAX, -20000, -10201, -10100, -10000,
                                -9999,   -5000,   -200,   1,      111};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_string_equal(rotor_err_name(codes[i]), "UNKNOWN");
        assert_string_equal(rotor_strerror(codes[i]), "unknown error");
        assert_ptr_equal(rotor_err_name(codes[i]), rotor_err_name(codes[0]));
        assert_ptr_equal(rotor_strerror(codes[i]), rotor_strerror(codes[0]));
    }
}

static void no_error(void **state)
{
    assert_string_equal(rotor_err_name(0), "OK");
    assert_string_equal(rotor_strerror(0), "success");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_codes),
        cmocka_unit_test(libuv_codes),
        cmocka_unit_test(no_code_of_ours_is_one_of_libuv),
        cmocka_unit_test(messages_are_fragments),
        cmocka_unit_test(unknown_codes),
        cmocka_unit_test(no_error),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
