/* Judging conditional requests, and reading ranges. */
#include <string.h>

#include "conditions.h"
#include "date.h"

/* What a field says. */
enum { ABSENT, FAILS, HOLDS, IGNORED };

static bool is(rotor_text text, const char *literal)
{
    size_t n = strlen(literal);
    return text.len == n && memcmp(text.data, literal, n) == 0;
}

/* -- entity tags ------------------------------------------------------------------------------- */

typedef struct tag {
    rotor_text opaque; /* with its quotes */
    bool weak;
} tag;

static bool is_etag_char(char c)
{
    unsigned char u = (unsigned char)c;
    return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/* Read the tag at `*p`, and move behind it. */
static bool read_tag(const char **p, const char *end, tag *t)
{
    const char *q = *p;
    t->weak = end - q >= 2 && q[0] == 'W' && q[1] == '/';
    if (t->weak)
        q += 2;
    t->opaque.data = q;
    if (q == end || *q++ != '"')
        return false;
    while (q < end && is_etag_char(*q))
        q++;
    if (q == end || *q++ != '"')
        return false;
    t->opaque.len = (size_t)(q - t->opaque.data);
    *p = q;
    return true;
}

static bool read_whole_tag(rotor_text text, tag *t)
{
    const char *p = text.data;
    return text.len > 0 && read_tag(&p, text.data + text.len, t) && p == text.data + text.len;
}

static bool is_equal(const tag *a, const tag *b, bool strong)
{
    return !(strong && (a->weak || b->weak)) && a->opaque.len == b->opaque.len &&
           memcmp(a->opaque.data, b->opaque.data, a->opaque.len) == 0;
}

static const char *skip_spaces(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

/* To the next element of a list, over empty ones (RFC 9110 section 5.6.1.2). NULL: there is no comma where
** one should be. */
static const char *skip_comma(const char *p, const char *end)
{
    p = skip_spaces(p, end);
    if (p < end && *p != ',')
        return NULL;
    while (p < end && *p == ',')
        p = skip_spaces(p + 1, end);
    return p;
}

/* To the first. */
static const char *skip_commas(const char *p, const char *end)
{
    return p < end && *p == ',' ? skip_comma(p, end) : p;
}

bool rotor_http_etag_is_in(rotor_text list, rotor_text etag, bool strong)
{
    tag ours, theirs;
    if (is(list, "*"))
        return true;
    if (list.len == 0 || !read_whole_tag(etag, &ours))
        return false;
    const char *end = list.data + list.len;
    const char *p = skip_commas(list.data, end);
    while (p && p < end && read_tag(&p, end, &theirs)) {
        if (is_equal(&ours, &theirs, strong))
            return true;
        p = skip_comma(p, end);
    }
    return false;
}

/* -- ranges ------------------------------------------------------------------------------------ */

/* Digits at `*p`, or UINT64_MAX for a number that is larger. */
static bool read_number(const char **p, const char *end, uint64_t *n)
{
    const char *start = *p;
    for (*n = 0; *p < end && **p >= '0' && **p <= '9'; ++*p) {
        uint64_t digit = (uint64_t)(**p - '0');
        *n = *n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *n * 10 + digit;
    }
    return *p > start;
}

/* One of "first-last", "first-" and "-length"; `range` of length 0: it is not within `size`. */
static bool read_range(const char **p, const char *end, uint64_t size, rotor_http_range *range)
{
    uint64_t first, last = UINT64_MAX, n;
    bool from_end = *p < end && **p == '-';
    if (from_end) {
        ++*p;
        if (!read_number(p, end, &n))
            return false;
        first = n < size ? size - n : 0;
        *range = (rotor_http_range){first, size - first};
        return true;
    }
    if (!read_number(p, end, &first) || *p == end || *(*p)++ != '-')
        return false;
    if (*p < end && **p >= '0' && **p <= '9' && read_number(p, end, &last) && last < first)
        return false;
    if (first >= size)
        *range = (rotor_http_range){0, 0};
    else
        *range = (rotor_http_range){first, last < size ? last - first + 1 : size - first};
    return true;
}

static bool is_bytes(rotor_text value)
{
    return value.len >= 6 && rotor_http_name_equal(value.data, "bytes", 5) && value.data[5] == '=';
}

int rotor_http_parse_range(rotor_text value, uint64_t size, rotor_http_range *range)
{
    rotor_http_range one, first;
    int wanted = 0, found = 0;
    if (!is_bytes(value))
        return 200;
    const char *end = value.data + value.len;
    const char *p = skip_commas(value.data + 6, end);
    for (; p < end; wanted++) {
        if (!read_range(&p, end, size, &one))
            return 200;
        if (one.length > 0 && found++ == 0)
            first = one;
        p = skip_comma(p, end);
        if (!p)
            return 200;
    }
    if (wanted == 0 || found > 1 || size == 0)
        return 200;
    if (found == 0)
        return 416;
    *range = first;
    return 206;
}

/* -- conditions -------------------------------------------------------------------------------- */

/* The lines of a list are one list. */
static uint8_t listed(uint8_t before, const rotor_http_conditions *c, rotor_text list, bool strong)
{
    return before == HOLDS || rotor_http_etag_is_in(list, c->etag, strong) ? HOLDS : FAILS;
}

/* Whether what is there has been modified since the date of the field. */
static uint8_t modified_since(uint8_t before, const rotor_http_conditions *c, rotor_text date)
{
    int64_t seconds;
    if (before != ABSENT || !c->has_modified || !rotor_http_parse_date(date, c->wall_ms, &seconds))
        return IGNORED;
    return c->modified > seconds ? HOLDS : FAILS;
}

/* A date has to be the very one, as one of what was there before might be later (section 13.1.5). */
static uint8_t same_part(uint8_t before, const rotor_http_conditions *c, rotor_text validator)
{
    int64_t seconds;
    tag ours, theirs;
    bool holds;
    if (read_whole_tag(validator, &theirs))
        holds = read_whole_tag(c->etag, &ours) && is_equal(&ours, &theirs, true);
    else
        holds = c->has_modified && rotor_http_parse_date(validator, c->wall_ms, &seconds) &&
                seconds == c->modified;
    return before == ABSENT && holds ? HOLDS : FAILS;
}

static bool is_named(rotor_text name, const char *other)
{
    return rotor_http_name_equal(name.data, other, name.len);
}

void rotor_http_conditions_add(rotor_http_conditions *c, rotor_text name, rotor_text value)
{
    switch (name.len) {
    case 5:
        if (is_named(name, "range")) {
            c->repeated_range = c->has_range;
            c->has_range = true;
            c->range = value;
        }
        break;
    case 8:
        if (is_named(name, "if-match"))
            c->match = listed(c->match, c, value, true);
        else if (is_named(name, "if-range"))
            c->if_range = same_part(c->if_range, c, value);
        break;
    case 13:
        if (is_named(name, "if-none-match"))
            c->none_match = listed(c->none_match, c, value, false);
        break;
    case 17:
        if (is_named(name, "if-modified-since"))
            c->modified_since = modified_since(c->modified_since, c, value);
        break;
    case 19:
        if (is_named(name, "if-unmodified-since"))
            c->unmodified_since = modified_since(c->unmodified_since, c, value);
        break;
    default:
        break;
    }
}

int rotor_http_conditions_judge(const rotor_http_conditions *c, rotor_text method, uint64_t size,
                                rotor_http_range *range)
{
    bool is_get = is(method, "GET");
    bool is_read = is_get || is(method, "HEAD");
    if (c->match == FAILS || (c->match == ABSENT && c->unmodified_since == HOLDS))
        return 412;
    if (c->none_match == HOLDS)
        return is_read ? 304 : 412;
    if (c->none_match == ABSENT && is_read && c->modified_since == FAILS)
        return 304;
    if (!is_get || !c->has_range || c->repeated_range || c->if_range == FAILS)
        return 200;
    return rotor_http_parse_range(c->range, size, range);
}
