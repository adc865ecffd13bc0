/* Reading dates. */
#include <string.h>

#include "date.h"

/* What is left of the text; `p` NULL: it was no date. */
typedef struct reader {
    const char *p, *end;
} reader;

typedef struct civil {
    int year, month, day, hour, minute, second; /* month 0 … 11, day 1 … 31 */
} civil;

static void skip(reader *r, const char *literal)
{
    size_t n = strlen(literal);
    if (!r->p || (size_t)(r->end - r->p) < n || memcmp(r->p, literal, n) != 0)
        r->p = NULL;
    else
        r->p += n;
}

static int number(reader *r, int digits)
{
    int n = 0;
    for (; digits > 0; digits--) {
        if (!r->p || r->p == r->end || *r->p < '0' || *r->p > '9') {
            r->p = NULL;
            return 0;
        }
        n = n * 10 + (*r->p++ - '0');
    }
    return n;
}

/* Which of `n` names of `width` bytes comes next. */
static int name(reader *r, const char *names, int n, size_t width)
{
    for (int i = 0; r->p && i < n && (size_t)(r->end - r->p) >= width; i++) {
        if (memcmp(r->p, names + (size_t)i * width, width) == 0) {
            r->p += width;
            return i;
        }
    }
    r->p = NULL;
    return 0;
}

static int month(reader *r)
{
    return name(r, "JanFebMarAprMayJunJulAugSepOctNovDec", 12, 3);
}

static void time_of_day(reader *r, civil *c)
{
    c->hour = number(r, 2);
    skip(r, ":");
    c->minute = number(r, 2);
    skip(r, ":");
    c->second = number(r, 2);
}

/* Days from 1970-01-01 to the first of a month, in years that begin in March: then the leap day is the
** last of its year. */
static int64_t days_to_month(int year, int m)
{
    int y = m >= 2 ? year : year - 1;
    int since_march = (m + 10) % 12;
    return (int64_t)365 * y + y / 4 - y / 100 + y / 400 + (153 * since_march + 2) / 5 - 719468;
}

static int64_t days(const civil *c)
{
    return days_to_month(c->year, c->month) + c->day - 1;
}

static bool is_valid(const civil *c)
{
    int next_year = c->month == 11 ? c->year + 1 : c->year;
    int64_t length =
        days_to_month(next_year, (c->month + 1) % 12) - days_to_month(c->year, c->month);
    /* The 61st second of a minute is a leap second. */
    return c->year > 0 && c->day >= 1 && c->day <= length && c->hour < 24 && c->minute < 60 &&
           c->second <= 60;
}

static int64_t since_1970(const civil *c)
{
    return days(c) * 86400 + c->hour * 3600 + c->minute * 60 + c->second;
}

static civil read_fixdate(reader *r)
{
    civil c = {0};
    skip(r, ", ");
    c.day = number(r, 2);
    skip(r, " ");
    c.month = month(r);
    skip(r, " ");
    c.year = number(r, 4);
    skip(r, " ");
    time_of_day(r, &c);
    skip(r, " GMT");
    return c;
}

static civil read_asctime(reader *r)
{
    civil c = {0};
    skip(r, " ");
    c.month = month(r);
    skip(r, " ");
    if (r->p && r->p < r->end && *r->p == ' ') {
        r->p++;
        c.day = number(r, 1);
    } else {
        c.day = number(r, 2);
    }
    skip(r, " ");
    time_of_day(r, &c);
    skip(r, " ");
    c.year = number(r, 4);
    return c;
}

/* The latest century in which the date is not more than 50 years ahead (RFC 9110 section 5.6.7). */
static void set_century(civil *c, uint64_t wall_ms)
{
    enum { YEAR = 31556952 }; /* seconds, on average */
    int64_t now = (int64_t)(wall_ms / 1000);
    int this_year = (int)(1970 + now / YEAR);
    c->year += (this_year / 100 + 1) * 100;
    while (since_1970(c) > now + INT64_C(50) * YEAR)
        c->year -= 100;
}

static civil read_rfc850(reader *r, uint64_t wall_ms)
{
    civil c = {0};
    skip(r, ", ");
    c.day = number(r, 2);
    skip(r, "-");
    c.month = month(r);
    skip(r, "-");
    c.year = number(r, 2);
    skip(r, " ");
    time_of_day(r, &c);
    skip(r, " GMT");
    if (r->p)
        set_century(&c, wall_ms);
    return c;
}

bool rotor_http_parse_date(rotor_text text, uint64_t wall_ms, int64_t *seconds)
{
    static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                           "Thursday", "Friday", "Saturday"};
    civil c;
    if (text.len < 24) /* the shortest, asctime's */
        return false;
    reader r = {text.data, text.data + text.len};
    int weekday = name(&r, "SunMonTueWedThuFriSat", 7, 3);
    if (r.p && *r.p == ',') {
        c = read_fixdate(&r);
    } else if (r.p && *r.p == ' ') {
        c = read_asctime(&r);
    } else {
        skip(&r, weekdays[weekday] + 3);
        c = read_rfc850(&r, wall_ms);
    }
    if (!r.p || r.p != r.end || !is_valid(&c))
        return false;
    *seconds = since_1970(&c);
    return true;
}
