/* A rig for the parsers of heads. A head is parsed whole, in two pieces split at each byte, byte by byte,
** and with another message behind it; each time against an unreadable page, and by the parser with
** vectors and without. The verdict and everything found must be the same. */
#ifndef ROTOR_TEST_HEADS_H
#define ROTOR_TEST_HEADS_H

#include "../http/parser.h"

enum { HEADS_ROOM = 128 * 1024 };

/* HEADS_ROOM bytes, then a page that cannot be touched; between a group's heads_setup and
** heads_teardown. */
extern char *heads_room;
int heads_setup(void **state);
int heads_teardown(void **state);

/* `n` bytes of `text` so that they end at the page. */
char *heads_place(const char *text, size_t n);

extern const rotor_http_limits heads_limits; /* the defaults */

/* One call of a parser and its scalar twin, which must agree. What was found goes to `shown`, as text,
** when the verdict is positive. */
typedef ptrdiff_t heads_parser(char *shown, const char *data, size_t len,
                               const rotor_http_limits *limits, rotor_http_progress *progress);

extern heads_parser heads_request, heads_response;

struct heads_result {
    ptrdiff_t verdict;
    size_t at; /* how many bytes were there when it fell */
    char shown[2048];
};

/* Parse `text` as if its first `first` bytes came at once and then `step` at a time. */
void heads_parse(struct heads_result *r, heads_parser *parser, const char *text, size_t len,
                 size_t first, size_t step, const rotor_http_limits *limits);

/* Parse in all the ways there are and leave the verdict in `r`. */
void heads_parse_all_ways(struct heads_result *r, heads_parser *parser, const char *name,
                          const char *text, size_t len, const rotor_http_limits *limits);

/* The same, and the verdict must be `expected`. */
void heads_expect(heads_parser *parser, const char *text, size_t len,
                  const rotor_http_limits *limits, ptrdiff_t expected);

/* A row of a table. Its name is "RFC section: …" when it stands for a rule of that section, and has no
** number for a decision that parser.h documents. */
struct head {
    const char *name, *text;
    size_t len;
    int error;
    const char *shown;
};

#define TEXT(text) (text), sizeof(text) - 1
#define OK(name, text, shown)                                                                      \
    {                                                                                              \
        name, TEXT(text), 0, shown                                                                 \
    }
#define NO(name, text, error)                                                                      \
    {                                                                                              \
        name, TEXT(text), ROTOR_##error, ""                                                        \
    }
#define MORE(name, text)                                                                           \
    {                                                                                              \
        name, TEXT(text), ROTOR_MORE, ""                                                           \
    }

void heads_check(heads_parser *parser, const struct head *table, size_t n);

/* Damage rows of the table in all sorts of ways: whatever the verdict is, it must be the same in all the
** ways there are. */
void heads_check_damaged(heads_parser *parser, const struct head *table, size_t n);

#endif
