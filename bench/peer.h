/* What the peers written in C share: the fixed answer, and how they count requests.
**
** The answer has a Date of the right length that never changes, so that its size is comparable to
** one that is made anew. */
#ifndef ROTOR_BENCH_PEER_H
#define ROTOR_BENCH_PEER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 256 * 1024, READ_SIZE = 65536 };

/* As many answers in a row as there is room for, so that any burst of requests is answered in one
** write. */
static char answers[ROOM];
static size_t answer_size;

/* Make them, with a body of so many letters, or "Hello, World!" when `bytes` is NULL. */
static void fill_answers(const char *bytes)
{
    size_t size = bytes ? strtoul(bytes, NULL, 10) : 13;
    if (size == 0 || size > sizeof answers - 256) {
        fprintf(stderr, "no body can have %s bytes\n", bytes);
        exit(1);
    }
    char *body = answers + sprintf(answers,
                                   "HTTP/1.1 200 OK\r\n"
                                   "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
                                   "Content-Length: %zu\r\n"
                                   "\r\n",
                                   size);
    answer_size = (size_t)(body - answers) + size;
    for (size_t i = 0; i < size; i++)
        body[i] = bytes ? (char)('a' + i % 26) : "Hello, World!"[i];
    for (size_t i = answer_size; i + answer_size <= sizeof answers; i += answer_size)
        memcpy(answers + i, answers, answer_size);
}

/* Count the blank lines, that is the line feeds two bytes after another one, and return the size of
** so many answers. `since` is how many bytes of the connection came after its last line feed: a
** request may be split between reads. Start it at something above 1. */
static size_t answers_to(const char *data, size_t n, size_t *since)
{
    const char *end = data + n, *line = data, *lf;
    size_t size = 0;
    while ((lf = memchr(line, '\n', (size_t)(end - line)))) {
        if (*since + (size_t)(lf - line) == 1 && size + answer_size <= sizeof answers)
            size += answer_size;
        *since = 0;
        line = lf + 1;
    }
    *since += (size_t)(end - line);
    return size;
}

#endif
