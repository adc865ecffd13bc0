/* Names and messages of every error code, all of them static strings. */
#include "error.h"

/* libuv's own functions allocate (and never free) a string for a code they do not know, so they are
** only asked for those in UV_ERRNO_MAP. */
const char *rotor_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
#define XX(name, value, message)                                                                   \
    case value:                                                                                    \
        return message;
        ROTOR_ERRORS(XX)
#undef XX
#define XX(name, value, status, message)                                                           \
    case value:                                                                                    \
        return message;
        ROTOR_HTTP_ERRORS(XX)
        ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
#define XX(name, message) case UV_##name:
        UV_ERRNO_MAP(XX)
#undef XX
        return uv_strerror(code);
    default:
        return "unknown error";
    }
}

const char *rotor_err_name(int code)
{
    switch (code) {
    case 0:
        return "OK";
#define XX(name, value, message)                                                                   \
    case value:                                                                                    \
        return #name;
        ROTOR_ERRORS(XX)
#undef XX
#define XX(name, value, status, message)                                                           \
    case value:                                                                                    \
        return #name;
        ROTOR_HTTP_ERRORS(XX)
        ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
#define XX(name, message) case UV_##name:
        UV_ERRNO_MAP(XX)
#undef XX
        return uv_err_name(code);
    default:
        return "UNKNOWN";
    }
}
