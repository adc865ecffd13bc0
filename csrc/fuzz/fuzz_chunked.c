/* libFuzzer target for the chunked decoder: verdict, body and the bytes taken do not depend on how
** the bytes are split, the body is never longer than they are, and what follows it is left alone.
** Build: clang -fsanitize=fuzzer,address,undefined fuzz_chunked.c http/{chunked,parser,scan}.c */
#include "../http/chunked.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const rotor_http_limits limits[2] = {
    ROTOR_HTTP_LIMITS_DEFAULT,
    {.chunk_line = 12, .chunk_extensions = 24, .trailers = 24, .body = 40},
};

/* Decode with pieces of `first`, then `step` bytes; the body goes to `body`. */
static ptrdiff_t decode(const uint8_t *bytes, size_t size, size_t first, size_t step,
                        const rotor_http_limits *limit, char *body, size_t *len)
{
    rotor_http_chunked c = {0};
    size_t at = 0, n = first;

    *len = 0;
    for (;; n = step < size - at ? step : size - at) {
        char *piece = malloc(n > 0 ? n : 1);
        size_t decoded = SIZE_MAX;
        ptrdiff_t got;

        REQUIRE(piece);
        memcpy(piece, bytes + at, n);
        got = rotor_http_chunked_decode(&c, piece, n, &decoded, limit);
        REQUIRE(decoded <= n && *len + decoded <= size);
        memcpy(body + *len, piece, decoded);
        *len += decoded;
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint8_t nothing[1];
    char *body = malloc(size + 1), *other = malloc(size + 1);
    size_t cut = size > 0 ? bytes[size / 2] % size : 0;

    REQUIRE(body && other);
    if (size == 0)
        bytes = nothing;
    for (int i = 0; i < 2; i++) {
        size_t len, again;
        ptrdiff_t n = decode(bytes, size, size, size, &limits[i], body, &len);

        REQUIRE(len <= limits[i].body);
        REQUIRE(n <= 0 || ((size_t)n >= len + 5 && memcmp(bytes + n - 2, "\r\n", 2) == 0));
        REQUIRE(decode(bytes, size, cut, size, &limits[i], other, &again) == n);
        REQUIRE(again == len && memcmp(body, other, len) == 0);
        REQUIRE(decode(bytes, size, 0, 1, &limits[i], other, &again) == n);
        REQUIRE(again == len && memcmp(body, other, len) == 0);
    }
    free(body);
    free(other);
    return 0;
}
