/* The request parser alone, on the heads that a browser, curl and wrk send.
**
**   parser               times each head, and prints for each a line: "result", its name, its bytes,
**                        its fields, the median of ns for one parse, the median of bytes for one tick of
**                        the processor's time stamp counter (0: has none), what searches use
**   parser HEAD COUNT    parses one COUNT times, for callgrind
**
** The time stamp counter runs at one rate, whatever the core does: its ticks are no core cycles. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/parser.h"
#include "http/scan.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#define TICKS() __rdtsc()
#else
#define TICKS() UINT64_C(0)
#endif

#if !defined(ROTOR__SIMD)
#define SEARCHES "scalar"
#elif defined(__SSE2__)
#define SEARCHES "SSE2"
#else
#define SEARCHES "NEON"
#endif

enum { ROUNDS = 1001, ROUND_NS = 100000, FIELDS = 128 };

/* The browser's is Chromium's for a page behind a link, on a site that has set cookies. */
static const struct head {
    const char *name, *text;
} heads[] = {
    {"browser",
     "GET /account/orders?page=2&sort=newest HTTP/1.1\r\n"
     "Host: shop.example.com\r\n"
     "Connection: keep-alive\r\n"
     "sec-ch-ua: \"Not:A-Brand\";v=\"8\", \"Chromium\";v=\"156\"\r\n"
     "sec-ch-ua-mobile: ?0\r\n"
     "sec-ch-ua-platform: \"Linux\"\r\n"
     "Upgrade-Insecure-Requests: 1\r\n"
     "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
     "Chrome/156.0.0.0 Safari/537.36\r\n"
     "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,"
     "image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n"
     "Sec-Fetch-Site: same-origin\r\n"
     "Sec-Fetch-Mode: navigate\r\n"
     "Sec-Fetch-User: ?1\r\n"
     "Sec-Fetch-Dest: document\r\n"
     "Referer: http://shop.example.com/account/orders?page=1&sort=newest\r\n"
     "Accept-Encoding: gzip, deflate, br, zstd\r\n"
     "Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n"
     "Cookie: session=eyJ1c2VyIjoxODQ0NjcsImV4cCI6MTc5NTc2ODQwMH0.kPq3vLw0dUuY7yqkqRk4m0Jb3Xs; "
     "csrftoken=Zt4nJq0Y8mB1uV6cX2sL9dK3hF7gR5wA; _ga=GA1.1.1034593621.1795161555; "
     "_ga_7QX2P4M9ZK=GS1.1.1795161555.3.1.1795162804.0.0.0; consent=necessary%2Cstatistics; "
     "theme=dark; currency=EUR\r\n"
     "\r\n"},
    {"curl", "GET /index.html HTTP/1.1\r\n"
             "Host: www.example.com\r\n"
             "User-Agent: curl/7.88.1\r\n"
             "Accept: */*\r\n"
             "\r\n"},
    {"wrk", "GET / HTTP/1.1\r\n"
            "Host: 127.0.0.1:8080\r\n"
            "\r\n"},
};

static const rotor_http_limits limits = ROTOR_HTTP_LIMITS_DEFAULT;
static rotor_http_field fields[FIELDS];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Parse a head `count` times; returns how many fields it has. */
static unsigned parse(const char *text, size_t len, uint64_t count)
{
    rotor_http_head head = {.fields = fields};
    while (count-- > 0) {
        rotor_http_progress progress = {0};
        if (rotor_http_parse_request(&head, text, len, &limits, &progress) != (ptrdiff_t)len) {
            fprintf(stderr, "parser: this head is refused:\n%s", text);
            exit(1);
        }
    }
    return head.nfields;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double values[ROUNDS])
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static void measure(const struct head *head)
{
    static double ns[ROUNDS], ticks[ROUNDS];
    size_t len = strlen(head->text);
    uint64_t count = 1, took = 0;
    unsigned nfields = 0;
    while (took < ROUND_NS) {
        count *= 2;
        took = now_ns();
        nfields = parse(head->text, len, count);
        took = now_ns() - took;
    }
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t since = now_ns(), tick = TICKS();
        parse(head->text, len, count);
        ticks[i] = (double)(TICKS() - tick) / (double)count;
        ns[i] = (double)(now_ns() - since) / (double)count;
    }
    double one = median(ticks);
    printf("result %s %zu %u %.1f %.2f %s\n", head->name, len, nfields, median(ns),
           one > 0 ? (double)len / one : 0, SEARCHES);
}

int main(int argc, char **argv)
{
    if (argc != 1 && argc != 3) {
        fputs("usage: parser [HEAD COUNT]\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        if (argc == 1)
            measure(&heads[i]);
        else if (strcmp(argv[1], heads[i].name) == 0)
            return parse(heads[i].text, strlen(heads[i].text), strtoull(argv[2], NULL, 10)) == 0;
    }
    return argc == 1 ? 0 : 2;
}
