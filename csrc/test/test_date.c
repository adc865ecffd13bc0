/* Dates in their three forms, with what is none; held against rotor_http_format_date() and timegm(). */
#include "test.h"

#include <time.h>

#include "../http/date.h"
#include "support.h"

/* 2024-11-06 08:49:37 */
#define NOW_MS UINT64_C(1730882977000)

static bool parse(const char *s, uint64_t wall_ms, int64_t *seconds)
{
    /* Behind a copy of just the length there is nothing, as ASan sees. */
    size_t n = strlen(s);
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, s, n);
    bool ok = rotor_http_parse_date((rotor_text){copy, n}, wall_ms, seconds);
    free(copy);
    return ok;
}

static const struct {
    const char *text;
    int64_t seconds;
} dates[] = {
    /* RFC 9110 5.6.7: the three forms of one and the same time */
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},

    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Thu Jan  1 00:00:00 1970", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Mon, 01 Jan 0001 00:00:00 GMT", -62135596800},
    {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
    {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
    {"Thu Feb 29 12:00:00 2024", 1709208000},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"Tue, 19 Jan 2038 03:14:08 GMT", 2147483648},
    {"Wed Nov 16 08:49:37 1994", 784975777},       /* a day of two digits in asctime's form */
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800}, /* a leap second */
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},  /* not the right day of the week */

    /* RFC 9110 5.6.7: a year of two digits is not more than 50 years ahead */
    {"Wednesday, 06-Nov-24 08:49:37 GMT", 1730882977},
    {"Tuesday, 06-Nov-74 08:49:37 GMT", 3308719777},
    {"Wednesday, 06-Nov-75 08:49:37 GMT", 184495777},
    {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
    {"Friday, 01-Jan-99 00:00:00 GMT", 915148800},
    {"Thursday, 29-Feb-96 00:00:00 GMT", 825552000},
};

static const char *const none[] = {
    "",
    "0",
    "Sun",
    "784111777",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 1994 08:49:37",
    "Sun, 06 Nov 1994 08:49:37 GMT ",
    " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000",
    "Sun, 06 Nov 1994 08:49:37 gmt",
    "sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 nov 1994 08:49:37 GMT",
    "Sun, 06 NOV 1994 08:49:37 GMT",
    "Xyz, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Xyz 1994 08:49:37 GMT",
    "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun,  6 Nov 1994 08:49:37 GMT",
    "Sun,06 Nov 1994 08:49:37 GMT",
    "Sun, 006 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06 Nov 11994 08:49:37 GMT",
    "Sun, 06 Nov -994 08:49:37 GMT",
    "Sun, +6 Nov 1994 08:49:37 GMT",
    "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 00 Nov 1994 08:49:37 GMT",
    "Sun, 31 Nov 1994 08:49:37 GMT",
    "Sun, 32 Dec 1994 08:49:37 GMT",
    "Sun, 30 Feb 2024 08:49:37 GMT",
    "Sun, 29 Feb 2023 08:49:37 GMT",
    "Sun, 29 Feb 1900 08:49:37 GMT", /* no leap year */
    "Sun, 29 Feb 2100 08:49:37 GMT",
    "Sun, 06 Nov 0000 08:49:37 GMT",
    "Sun, 06 Nov 1994 24:00:00 GMT",
    "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT",
    "Sun, 06 Nov 1994 08:49 GMT",
    "Sun, 06 Nov 1994 08.49.37 GMT",
    "Sunday, 06-Nov-1994 08:49:37 GMT",
    "Sunday, 06 Nov 94 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37",
    "Sunda, 06-Nov-94 08:49:37 GMT",
    "Sunnday, 06-Nov-94 08:49:37 GMT",
    "Monsday, 06-Nov-94 08:49:37 GMT",
    "Sunday, 29-Feb-23 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994",
    "Sun Nov 06 08:49:37 1994 GMT",
    "Sun Nov  6 08:49:37 94",
    "Sun Nov  6 08:49:37  1994",
    "Sun Nov   6 08:49:37 1994",
    "Sun Nov  0 08:49:37 1994",
    "Sun, Nov  6 08:49:37 1994",
};

static void dates_in_their_three_forms(void **state)
{
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        int64_t seconds = INT64_MIN;
        if (!parse(dates[i].text, NOW_MS, &seconds) || seconds != dates[i].seconds)
            fail_msg("%s: %lld", dates[i].text, (long long)seconds);
    }
}

static void what_is_no_date(void **state)
{
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        int64_t seconds = -7;
        if (parse(none[i], NOW_MS, &seconds) || seconds != -7)
            fail_msg("%s: %lld", none[i], (long long)seconds);
    }
}

/* No part of a date is one, nor is one with any byte missing or made another class of character. */
static void what_is_almost_a_date(void **state)
{
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(dates[i].text);
        for (size_t at = 0; at < n; at++) {
            char text[64];
            int64_t seconds;
            memcpy(text, dates[i].text, at);
            text[at] = '\0';
            assert_false(parse(text, NOW_MS, &seconds));
            strcpy(text + at, dates[i].text + at + 1);
            /* "Sun Nov  6": one digit may stand where two could, but not with one space. */
            assert_false(parse(text, NOW_MS, &seconds));
            strcpy(text, dates[i].text);
            text[at] = '~';
            assert_false(parse(text, NOW_MS, &seconds));
            text[at] = '\0';
            assert_false(rotor_http_parse_date((rotor_text){text, n}, NOW_MS, &seconds));
        }
    }
}

/* Every day of 400 years, after which the calendar repeats. */
static void each_day_is_read_as_it_is_written(void **state)
{
    for (int64_t day = 0; day < 146097; day++) {
        char text[ROTOR_HTTP_DATE_SIZE];
        int64_t seconds, expected = day * 86400 + day % 86400;
        rotor_http_format_date(text, (uint64_t)expected * 1000);
        assert_true(parse(text, NOW_MS, &seconds));
        assert_int_equal(seconds, expected);
        time_t t = (time_t)expected;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(text, sizeof text, "%a %b %e %H:%M:%S %Y", &tm); /* in the locale "C" */
        assert_true(parse(text, NOW_MS, &seconds));
        assert_int_equal(seconds, expected);
    }
}

/* A date of RFC 850 seen from any year is the one that fits best. */
static void two_digits_of_a_year(void **state)
{
    for (int now = 1970; now < 2400; now += 7) {
        struct tm tm = {.tm_year = now - 1900, .tm_mon = 5, .tm_mday = 15};
        uint64_t wall_ms = (uint64_t)timegm(&tm) * 1000;
        for (int year = 0; year < 100; year++) {
            char text[64];
            int64_t seconds;
            snprintf(text, sizeof text, "Sunday, 01-Jun-%02d 00:00:00 GMT", year);
            assert_true(parse(text, wall_ms, &seconds));
            time_t t = (time_t)seconds;
            gmtime_r(&t, &tm);
            assert_int_equal((tm.tm_year + 1900) % 100, year);
            assert_in_range(tm.tm_year + 1900, now - 49, now + 50);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(dates_in_their_three_forms), TEST(what_is_no_date),
        TEST(what_is_almost_a_date),      TEST(each_day_is_read_as_it_is_written),
        TEST(two_digits_of_a_year),
    };
    return cmocka_run_group_tests_name("date", tests, NULL, NULL);
}
