/* libFuzzer target for what serves files before it opens one: names out of paths, conditions, ranges, dates,
** codings. A name never leads anywhere but down; a range is within its file; a date that is read is written
** as the same; each coding is named once. The first line is a path, each other one a field of the request. */
#include "../http/conditions.h"
#include "../http/date.h"
#include "../http/files_private.h"

#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* -- names ------------------------------------------------------------------------------------- */

static size_t slashes(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '/';
    return n;
}

static void check_segment(const char *segment, size_t len, bool first, bool last, int rules)
{
    bool well_known = first && len == 11 && memcmp(segment, ".well-known", 11) == 0;
    REQUIRE(len > 0 || last);
    REQUIRE(!(len == 1 && segment[0] == '.'));
    REQUIRE(!(len == 2 && segment[0] == '.' && segment[1] == '.'));
    REQUIRE(len == 0 || segment[0] != '.' || well_known || (rules & ROTOR__NAME_DOTS));
    for (size_t i = 0; i < len; i++)
        REQUIRE((unsigned char)segment[i] >= 0x20 && segment[i] != 0x7f);
}

static void check_name(rotor_text path, int rules)
{
    char name[ROTOR__NAME_SIZE];
    ssize_t len = rotor__file_name(name, path, rules);
    if (len < 0) {
        REQUIRE(len == UV_ENOENT || (len == UV_ENAMETOOLONG && path.len >= ROTOR__NAME_SIZE));
        return;
    }
    REQUIRE(strlen(name) == (size_t)len && (size_t)len <= path.len);
    bool rooted = path.len > 0 && path.data[0] == '/';
    REQUIRE(slashes(name, (size_t)len) + rooted == slashes(path.data, path.len));
    for (char *p = name;;) {
        size_t n = strcspn(p, "/");
        check_segment(p, n, p == name, p[n] == '\0', rules);
        if (p[n] == '\0')
            break;
        p += n + 1;
    }
}

/* -- fields ------------------------------------------------------------------------------------ */

static void check_date(rotor_text value)
{
    static const uint64_t now = UINT64_C(1730882977000);
    char text[ROTOR_HTTP_DATE_SIZE];
    int64_t seconds, again;
    if (!rotor_http_parse_date(value, now, &seconds) || seconds < 0)
        return;
    rotor_http_format_date(text, (uint64_t)seconds * 1000);
    REQUIRE(rotor_http_parse_date((rotor_text){text, sizeof text - 1}, now, &again));
    /* A leap second may be one too many for the year 9999. */
    REQUIRE(again == seconds || seconds == INT64_C(253402300800));
}

static void check_codings(rotor_text value)
{
    rotor__accepted a = ROTOR__ACCEPTED_INIT;
    unsigned seen = 0;
    rotor__accept_encoding(&a, value);
    for (int i; (i = rotor__best_coding(&a)) >= 0; seen |= 1u << i)
        REQUIRE(i < ROTOR__CODINGS && !(seen & 1u << i));
}

static void check_verdict(const rotor_http_conditions *c)
{
    static const rotor_text methods[] = {{"GET", 3}, {"HEAD", 4}, {"PUT", 3}};
    static const uint64_t sizes[] = {0, 1, 1000, UINT64_MAX};
    for (int m = 0; m < 3; m++) {
        for (int i = 0; i < 4; i++) {
            rotor_http_range range = {7, 7};
            int status = rotor_http_conditions_judge(c, methods[m], sizes[i], &range);
            REQUIRE(status == 200 || status == 206 || status == 304 || status == 412 ||
                    status == 416);
            REQUIRE(status != 304 || m < 2);
            REQUIRE((status != 206 && status != 416) || (m == 0 && c->has_range));
            if (status == 206)
                REQUIRE(range.length > 0 && range.first < sizes[i] &&
                        range.length <= sizes[i] - range.first);
            else
                REQUIRE(range.first == 7 && range.length == 7);
        }
    }
}

/* Of just its length, so that ASan sees what is read behind it. */
static char *copy(const char *text, size_t len)
{
    char *exactly = malloc(len > 0 ? len : 1);
    REQUIRE(exactly);
    memcpy(exactly, text, len);
    return exactly;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    enum { MOST = 16 };
    rotor_http_conditions c = {.etag = {"\"v1\"", 4}, .has_modified = true, .modified = 784111777};
    char *values[MOST];
    size_t n = 0;
    for (const char *line = (const char *)bytes, *end = line + size; line < end && n < MOST; n++) {
        const char *behind = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((behind ? behind : end) - line);
        const char *colon = memchr(line, ':', len);
        size_t name = colon ? (size_t)(colon - line) : 0;
        size_t skip = colon ? name + 1 : 0;
        values[n] = copy(line + skip, len - skip);
        rotor_text value = {values[n], len - skip};
        if (n == 0) {
            for (int rules = 0; rules < 4; rules++)
                check_name((rotor_text){values[n], value.len}, rules);
        }
        check_date(value);
        check_codings(value);
        rotor_http_conditions_add(&c, (rotor_text){line, name}, value);
        line += len + (behind != NULL);
    }
    check_verdict(&c);
    while (n > 0)
        free(values[--n]);
    return 0;
}
