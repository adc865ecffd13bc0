/* libFuzzer target for the chunked decoder: verdict, body, trailers and the bytes taken do not depend on
** how the bytes are split, the body is never longer than they are, what follows it is left alone, and
** the trailers can be parsed. */
#include "../http/chunked.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const rotor_http_limits limits[2] = {
    ROTOR_HTTP_LIMITS_DEFAULT,
    {.chunk_line = 12, .chunk_extensions = 24, .trailers = 24, .body = 40},
};

/* Decode with pieces of `first`, then `step` bytes; body and trailers go to `body`. */
static ptrdiff_t decode(const uint8_t *bytes, size_t size, size_t first, size_t step,
                        const rotor_http_limits *limit, char *body, size_t *len, size_t *trailers)
{
    rotor_http_chunked c = {0};
    size_t at = 0, n = first;

    *len = *trailers = 0;
    for (;; n = step < size - at ? step : size - at) {
        char *piece = malloc(n > 0 ? n : 1);
        size_t decoded = SIZE_MAX, kept = SIZE_MAX;
        ptrdiff_t got;

        REQUIRE(piece);
        memcpy(piece, bytes + at, n);
        got = rotor_http_chunked_decode(&c, piece, n, limit, limit->body, &decoded, &kept);
        REQUIRE(decoded <= n && kept <= n - decoded && *len + *trailers + decoded + kept <= size);
        REQUIRE(decoded == 0 || *trailers == 0);
        memcpy(body + *len + *trailers, piece, decoded + kept);
        *len += decoded;
        *trailers += kept;
        if (got > 0) {
            REQUIRE((size_t)got <= n);
            REQUIRE(memcmp(piece + got, bytes + at + got, n - (size_t)got) == 0);
            got += (ptrdiff_t)at;
        }
        free(piece);
        at += n;
        if (got != ROTOR_MORE || at == size)
            return got;
    }
}

static void check_trailers(const char *data, size_t len)
{
    rotor_http_field fields[8];
    ptrdiff_t n = rotor_http_parse_trailers(fields, 8, data, len);

    REQUIRE(n >= 0 && (size_t)n <= len / 4);
    for (size_t i = 0; i < (size_t)n && i < 8; i++) {
        rotor_http_span name = fields[i].name, value = fields[i].value;
        REQUIRE(name.at + name.len < len && value.at + value.len < len);
        REQUIRE(rotor_http_is_token(data + name.at, name.len));
        REQUIRE(rotor_http_is_value(data + value.at, value.len));
        REQUIRE(rotor_http_is_trailer(data + name.at, name.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t nothing[1];
    char *body = malloc(size + 1), *other = malloc(size + 1);
    size_t cut = size > 0 ? bytes[size / 2] % size : 0;

    REQUIRE(body && other);
    if (size == 0)
        bytes = nothing;
    for (int i = 0; i < 2; i++) {
        size_t len, trailers, again, more;
        ptrdiff_t n = decode(bytes, size, size, size, &limits[i], body, &len, &trailers);

        REQUIRE(len <= limits[i].body && trailers <= limits[i].trailers);
        REQUIRE(n <= 0 ||
                ((size_t)n >= len + trailers + 5 && memcmp(bytes + n - 2, "\r\n", 2) == 0));
        REQUIRE(decode(bytes, size, cut, size, &limits[i], other, &again, &more) == n);
        REQUIRE(again == len && more == trailers && memcmp(body, other, len + trailers) == 0);
        REQUIRE(decode(bytes, size, 0, 1, &limits[i], other, &again, &more) == n);
        REQUIRE(again == len && more == trailers && memcmp(body, other, len + trailers) == 0);
        if (n > 0)
            check_trailers(body + len, trailers);
    }
    free(body);
    free(other);
    return 0;
}
