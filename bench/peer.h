/* What the peers written in C share: the fixed answer, and how they count requests.
**
** The answer has a Date of the right length that never changes, so that its size is comparable to
** one that is made anew. */
#ifndef ROTOR_BENCH_PEER_H
#define ROTOR_BENCH_PEER_H

#include <string.h>

#define ANSWER                                                                                     \
    "HTTP/1.1 200 OK\r\n"                                                                          \
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"                                                      \
    "Content-Length: 13\r\n"                                                                       \
    "\r\n"                                                                                         \
    "Hello, World!"

enum { ANSWER_SIZE = sizeof ANSWER - 1, BURST = 1024, READ_SIZE = 65536 };

/* BURST answers in a row, so that any burst of requests is answered in one write. */
static char answers[BURST * ANSWER_SIZE];

static void fill_answers(void)
{
    for (size_t i = 0; i < BURST; i++)
        memcpy(answers + i * ANSWER_SIZE, ANSWER, ANSWER_SIZE);
}

/* Count the blank lines, that is the line feeds two bytes after another one. `since` is how many
** bytes of the connection came after its last line feed: a request may be split between reads.
** Start it at something above 1. */
static size_t count_requests(const char *data, size_t n, size_t *since)
{
    const char *end = data + n, *line = data, *lf;
    size_t count = 0;
    while ((lf = memchr(line, '\n', (size_t)(end - line)))) {
        if (*since + (size_t)(lf - line) == 1)
            count++;
        *since = 0;
        line = lf + 1;
    }
    *since += (size_t)(end - line);
    return count < BURST ? count : BURST;
}

#endif
