/* Conditional and range requests, in a table. A case named "section: …" stands for a rule of that section
** of RFC 9110, one without a number for a decision that conditions.h documents. The representation has
** 1000 bytes, the entity tag "v1", and was modified at 784111777, 1994-11-06 08:49:37. */
#include "test.h"

#include "../http/conditions.h"
#include "support.h"

#define SIZE  1000
#define ETAG  "\"v1\""
#define MTIME 784111777

#define DATE       "Sun, 06 Nov 1994 08:49:37 GMT"
#define SECOND     "Sun, 06 Nov 1994 08:49:38 GMT" /* one later */
#define BEFORE     "Sun, 06 Nov 1994 08:49:36 GMT"
#define YEAR_LATER "Mon, 06 Nov 1995 08:49:37 GMT"
#define YEARS_AGO  "Thu, 06 Nov 1980 08:49:37 GMT"

typedef struct example {
    const char *name, *method;
    const char *fields; /* with "\n" between them */
    const char *verdict;
} example;

/* clang-format off */
static const example examples[] = {
    {"13.2.2: no condition, GET", "GET", "", "200"},
    {"13.2.2: no condition, HEAD", "HEAD", "", "200"},
    {"13.2.2: no condition, PUT", "PUT", "", "200"},
    {"other fields are no conditions", "GET",
     "If: x\nIf-Matcx: x\nRangf: x\nIf-Rangf: x\nIf-Modified-Sincf: x\nA: \nIf-Unmodified-Sincf: y",
     "200"},

    /* If-Match. */
    {"13.1.1: it is listed", "GET", "If-Match: " ETAG, "200"},
    {"13.1.1: it is listed, PUT", "PUT", "If-Match: " ETAG, "200"},
    {"13.1.1: it is not", "GET", "If-Match: \"v2\"", "412"},
    {"13.1.1: it is not, HEAD", "HEAD", "If-Match: \"v2\"", "412"},
    {"13.1.1: it is not, PUT", "PUT", "If-Match: \"v2\"", "412"},
    {"13.1.1: any", "GET", "If-Match: *", "200"},
    {"13.1.1: any, DELETE", "DELETE", "If-Match: *", "200"},
    {"13.1.1: second of a list", "GET", "If-Match: \"v0\", " ETAG, "200"},
    {"13.1.1: last of a list", "GET", "If-Match: \"a\",\"b\" , \"c\"\t,\t" ETAG, "200"},
    {"13.1.1: none of a list", "GET", "If-Match: \"a\", \"b\"", "412"},
    {"13.1.1: strong comparison", "GET", "If-Match: W/" ETAG, "412"},
    {"13.1.1: strong comparison, of one in a list", "GET", "If-Match: W/" ETAG ", " ETAG, "200"},
    {"5.3: lines of a list are one", "GET", "If-Match: \"a\"\nIf-Match: " ETAG, "200"},
    {"5.3: lines of a list are one, the first", "GET", "If-Match: " ETAG "\nIf-Match: \"b\"", "200"},
    {"5.3: none in any line", "GET", "If-Match: \"a\"\nIf-Match: \"b\"", "412"},
    {"5.6.1.2: empty elements of a list", "GET", "If-Match: , ,\"a\",, " ETAG ",", "200"},
    {"5.6.1.2: nothing but empty elements", "GET", "If-Match: , ,", "412"},
    {"8.8.3: a tag has quotes", "GET", "If-Match: v1", "412"},
    {"8.8.3: two of them", "GET", "If-Match: \"v1", "412"},
    {"8.8.3: two of them, the other one", "GET", "If-Match: v1\"", "412"},
    {"8.8.3: no spaces inside", "GET", "If-Match: \"v 1\", " ETAG, "412"},
    {"8.8.3: W is a capital", "GET", "If-None-Match: w/" ETAG, "200"},
    {"8.8.3: a comma inside is part of it", "GET", "If-Match: \"a,\", \",b\", " ETAG, "200"},
    {"8.8.3: no escapes", "GET", "If-Match: \"a\\\", " ETAG, "200"},
    {"8.8.3: the empty tag is one", "GET", "If-Match: \"\", " ETAG, "200"},
    {"8.8.3: bytes above 127", "GET", "If-Match: \"\xc3\xa4\", " ETAG, "200"},
    {"8.8.3: case matters", "GET", "If-Match: \"V1\"", "412"},
    {"8.8.3: a longer one", "GET", "If-Match: \"v11\"", "412"},
    {"8.8.3: a shorter one", "GET", "If-Match: \"v\"", "412"},
    {"as far as well-formed: behind it nothing counts", "GET", "If-Match: x, " ETAG, "412"},
    {"as far as well-formed: before it all does", "GET", "If-Match: " ETAG ", x", "200"},
    {"as far as well-formed: commas", "GET", "If-Match: \"a\" " ETAG, "412"},
    {"5.6.1: an empty field", "GET", "If-Match: ", "412"},
    {"13.1.1: * is not one of a list", "GET", "If-Match: *, \"a\"", "412"},
    {"5.1: names without case", "GET", "iF-mATCH: \"v2\"", "412"},

    /* If-None-Match. */
    {"13.1.2: it is listed", "GET", "If-None-Match: " ETAG, "304"},
    {"13.1.2: it is listed, HEAD", "HEAD", "If-None-Match: " ETAG, "304"},
    {"13.1.2: it is listed, PUT", "PUT", "If-None-Match: " ETAG, "412"},
    {"13.1.2: it is listed, POST", "POST", "If-None-Match: " ETAG, "412"},
    {"13.1.2: it is not", "GET", "If-None-Match: \"v2\"", "200"},
    {"13.1.2: any", "GET", "If-None-Match: *", "304"},
    {"13.1.2: any, PUT", "PUT", "If-None-Match: *", "412"},
    {"13.1.2: in a list", "GET", "If-None-Match: \"v0\", " ETAG ", \"v2\"", "304"},
    {"13.1.2: weak comparison", "GET", "If-None-Match: W/" ETAG, "304"},
    {"13.1.2: weak comparison, in a list", "GET", "If-None-Match: W/\"v0\", W/" ETAG, "304"},
    {"5.3: lines of a list are one, of none", "GET", "If-None-Match: \"a\"\nIf-None-Match: " ETAG,
     "304"},
    {"8.8.3: no tag, so it is not ours", "GET", "If-None-Match: v1", "200"},
    {"8.8.3: an empty list", "GET", "If-None-Match: ", "200"},

    /* If-Modified-Since. */
    {"13.1.3: the same date", "GET", "If-Modified-Since: " DATE, "304"},
    {"13.1.3: the same date, HEAD", "HEAD", "If-Modified-Since: " DATE, "304"},
    {"13.1.3: a later one", "GET", "If-Modified-Since: " SECOND, "304"},
    {"13.1.3: a much later one", "GET", "If-Modified-Since: " YEAR_LATER, "304"},
    {"13.1.3: an earlier one", "GET", "If-Modified-Since: " BEFORE, "200"},
    {"13.1.3: a much earlier one", "GET", "If-Modified-Since: " YEARS_AGO, "200"},
    {"13.1.3: for GET and HEAD only", "PUT", "If-Modified-Since: " DATE, "200"},
    {"13.1.3: for GET and HEAD only; methods have a case", "get", "If-Modified-Since: " DATE, "200"},
    {"13.1.3: no date, so it is ignored", "GET", "If-Modified-Since: yesterday", "200"},
    {"13.1.3: no date, but a number", "GET", "If-Modified-Since: 784111777", "200"},
    {"13.1.3: more than one", "GET", "If-Modified-Since: " DATE "\nIf-Modified-Since: " DATE, "200"},
    {"13.1.3: three", "GET",
     "If-Modified-Since: x\nIf-Modified-Since: " DATE "\nIf-Modified-Since: " DATE, "200"},
    {"13.1.3: ignored beside If-None-Match", "GET",
     "If-None-Match: \"v2\"\nIf-Modified-Since: " DATE, "200"},
    {"13.1.3: ignored beside If-None-Match, that before", "GET",
     "If-Modified-Since: " DATE "\nIf-None-Match: \"v2\"", "200"},
    {"13.1.3: beside If-None-Match, of which one holds", "GET",
     "If-None-Match: " ETAG "\nIf-Modified-Since: " YEARS_AGO, "304"},
    {"5.6.7: in the form of RFC 850", "GET", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
     "304"},
    {"5.6.7: in the form of RFC 850, earlier", "GET",
     "If-Modified-Since: Sunday, 06-Nov-94 08:49:36 GMT", "200"},
    {"5.6.7: in the form of asctime()", "GET", "If-Modified-Since: Sun Nov  6 08:49:37 1994", "304"},
    {"5.6.7: in the form of asctime(), earlier", "GET",
     "If-Modified-Since: Sun Nov  6 08:49:36 1994", "200"},
    {"5.6.7: GMT only", "GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 CET", "200"},

    /* If-Unmodified-Since. */
    {"13.1.4: the same date", "GET", "If-Unmodified-Since: " DATE, "200"},
    {"13.1.4: a later one", "GET", "If-Unmodified-Since: " YEAR_LATER, "200"},
    {"13.1.4: an earlier one", "GET", "If-Unmodified-Since: " BEFORE, "412"},
    {"13.1.4: an earlier one, HEAD", "HEAD", "If-Unmodified-Since: " BEFORE, "412"},
    {"13.1.4: an earlier one, PUT", "PUT", "If-Unmodified-Since: " BEFORE, "412"},
    {"13.1.4: no date, so it is ignored", "GET", "If-Unmodified-Since: x", "200"},
    {"13.1.4: more than one", "GET",
     "If-Unmodified-Since: " BEFORE "\nIf-Unmodified-Since: " BEFORE, "200"},
    {"13.1.4: ignored beside If-Match", "GET",
     "If-Match: " ETAG "\nIf-Unmodified-Since: " BEFORE, "200"},
    {"13.1.4: ignored beside If-Match, of which one fails", "GET",
     "If-Unmodified-Since: " DATE "\nIf-Match: \"v2\"", "412"},

    /* Their order. */
    {"13.2.2: If-Match before If-None-Match", "GET",
     "If-None-Match: " ETAG "\nIf-Match: \"v2\"", "412"},
    {"13.2.2: then If-None-Match", "GET", "If-None-Match: " ETAG "\nIf-Match: " ETAG, "304"},
    {"13.2.2: If-Unmodified-Since before If-None-Match", "GET",
     "If-None-Match: " ETAG "\nIf-Unmodified-Since: " BEFORE, "412"},
    {"13.2.2: If-Unmodified-Since before If-Modified-Since", "GET",
     "If-Modified-Since: " DATE "\nIf-Unmodified-Since: " BEFORE, "412"},
    {"13.2.2: both dates hold", "GET",
     "If-Modified-Since: " BEFORE "\nIf-Unmodified-Since: " DATE, "200"},
    {"13.2.2: both dates, one has not been modified", "GET",
     "If-Modified-Since: " DATE "\nIf-Unmodified-Since: " DATE, "304"},
    {"13.2.2: conditions before Range", "GET", "Range: bytes=0-1\nIf-None-Match: " ETAG, "304"},
    {"13.2.2: conditions before Range, If-Match", "GET", "Range: bytes=0-1\nIf-Match: \"v2\"", "412"},
    {"13.2.2: conditions before a Range that is not there", "GET",
     "Range: bytes=1000-\nIf-Match: \"v2\"", "412"},
    {"13.2.2: conditions that hold, and Range", "GET",
     "If-Match: " ETAG "\nIf-None-Match: \"v2\"\nRange: bytes=0-1", "206 0-1"},

    /* Range. */
    {"14.1.2: first and last", "GET", "Range: bytes=0-499", "206 0-499"},
    {"14.1.2: from the middle", "GET", "Range: bytes=500-999", "206 500-999"},
    {"14.1.2: one byte", "GET", "Range: bytes=0-0", "206 0-0"},
    {"14.1.2: the last byte", "GET", "Range: bytes=999-999", "206 999-999"},
    {"14.1.2: one byte of the middle", "GET", "Range: bytes=7-7", "206 7-7"},
    {"14.1.2: everything", "GET", "Range: bytes=0-999", "206 0-999"},
    {"14.1.2: everything, without a last", "GET", "Range: bytes=0-", "206 0-999"},
    {"14.1.2: to the end", "GET", "Range: bytes=990-", "206 990-999"},
    {"14.1.2: the last ones", "GET", "Range: bytes=-10", "206 990-999"},
    {"14.1.2: the last one", "GET", "Range: bytes=-1", "206 999-999"},
    {"14.1.2: more than there are from the end", "GET", "Range: bytes=-1001", "206 0-999"},
    {"14.1.2: as many as there are from the end", "GET", "Range: bytes=-1000", "206 0-999"},
    {"14.1.2: a last behind the end", "GET", "Range: bytes=990-1000", "206 990-999"},
    {"14.1.2: a last far behind the end", "GET", "Range: bytes=990-99999999999999999999999",
     "206 990-999"},
    {"14.1.2: the largest number", "GET", "Range: bytes=1-18446744073709551615", "206 1-999"},
    {"14.1.2: and one more", "GET", "Range: bytes=1-18446744073709551616", "206 1-999"},
    {"14.1.2: zeros in front", "GET", "Range: bytes=0000000000000000000000001-0002", "206 1-2"},
    {"14.1.2: far more than there are from the end", "GET",
     "Range: bytes=-18446744073709551616000", "206 0-999"},
    {"14.1.2: a first behind the end", "GET", "Range: bytes=1000-", "416"},
    {"14.1.2: both behind the end", "GET", "Range: bytes=1000-1001", "416"},
    {"14.1.2: a first far behind the end", "GET", "Range: bytes=99999999999999999999999-", "416"},
    {"14.1.2: both far behind the end", "GET",
     "Range: bytes=99999999999999999999998-99999999999999999999999", "416"},
    {"14.1.2: none from the end", "GET", "Range: bytes=-0", "416"},
    {"14.1.1: a last before the first", "GET", "Range: bytes=2-1", "200"},
    {"14.1.1: a last before the first, behind the end", "GET", "Range: bytes=1001-1000", "200"},
    {"14.1.1: no digits", "GET", "Range: bytes=-", "200"},
    {"14.1.1: nothing", "GET", "Range: bytes=", "200"},
    {"14.1.1: only commas", "GET", "Range: bytes=,", "200"},
    {"14.1.1: letters", "GET", "Range: bytes=a-b", "200"},
    {"14.1.1: letters behind", "GET", "Range: bytes=0-1x", "200"},
    {"14.1.1: hexadecimal", "GET", "Range: bytes=0x0-0x1", "200"},
    {"14.1.1: a sign", "GET", "Range: bytes=+0-1", "200"},
    {"14.1.1: two signs", "GET", "Range: bytes=--1", "200"},
    {"14.1.1: three numbers", "GET", "Range: bytes=0-1-2", "200"},
    {"14.1.1: no dash", "GET", "Range: bytes=5", "200"},
    {"14.1.1: spaces inside", "GET", "Range: bytes=0 - 1", "200"},
    {"14.1.1: a space in front", "GET", "Range: bytes= 0-1", "200"},
    {"14.1.1: a space before the sign", "GET", "Range: bytes =0-1", "200"},
    {"14.1.1: no unit", "GET", "Range: 0-1", "200"},
    {"14.1.1: no equals sign", "GET", "Range: bytes 0-1", "200"},
    {"14.1.1: a fraction", "GET", "Range: bytes=0.5-1", "200"},
    {"14.2: another unit", "GET", "Range: items=0-1", "200"},
    {"14.2: another unit, that begins alike", "GET", "Range: bytess=0-1", "200"},
    {"14.2: another unit, that ends earlier", "GET", "Range: byte=0-1", "200"},
    {"14.1: units without case", "GET", "Range: BYTES=0-1", "206 0-1"},
    {"5.1: names without case", "GET", "RANGE: bytes=0-1", "206 0-1"},
    {"14.2: an empty field", "GET", "Range: ", "200"},
    {"14.2: for GET only: HEAD", "HEAD", "Range: bytes=0-1", "200"},
    {"14.2: for GET only: HEAD, and nothing there", "HEAD", "Range: bytes=1000-", "200"},
    {"14.2: for GET only: POST", "POST", "Range: bytes=0-1", "200"},
    {"twice is as never", "GET", "Range: bytes=0-1\nRange: bytes=2-3", "200"},
    {"twice is as never, be they the same", "GET", "Range: bytes=0-1\nRange: bytes=0-1", "200"},
    {"three times, too", "GET", "Range: bytes=0-1\nRange: bytes=0-1\nRange: bytes=0-1", "200"},
    {"14.2: several parts are the whole", "GET", "Range: bytes=0-1,5-6", "200"},
    {"14.2: several parts, one of which is not there", "GET", "Range: bytes=0-1, 1000-", "206 0-1"},
    {"14.2: several parts, of which one is there", "GET", "Range: bytes=1000-,-0 , 5-6", "206 5-6"},
    {"14.2: several parts, none of which is there", "GET", "Range: bytes=1000-, 2000-", "416"},
    {"14.2: several parts, one of which is malformed", "GET", "Range: bytes=0-1,x", "200"},
    {"14.2: several parts not there, one malformed", "GET", "Range: bytes=1000-,2-1", "200"},
    {"14.2: very many parts", "GET", "Range: bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-", "200"},
    {"5.6.1.2: empty elements", "GET", "Range: bytes=,0-1, ,", "206 0-1"},

    /* If-Range. */
    {"13.1.5: the tag is the same", "GET", "Range: bytes=0-1\nIf-Range: " ETAG, "206 0-1"},
    {"13.1.5: the tag is the same, in front", "GET", "If-Range: " ETAG "\nRange: bytes=0-1",
     "206 0-1"},
    {"13.1.5: the tag is another", "GET", "Range: bytes=0-1\nIf-Range: \"v2\"", "200"},
    {"13.1.5: strong comparison", "GET", "Range: bytes=0-1\nIf-Range: W/" ETAG, "200"},
    {"13.1.5: not a list", "GET", "Range: bytes=0-1\nIf-Range: " ETAG ", \"v2\"", "200"},
    {"13.1.5: not any", "GET", "Range: bytes=0-1\nIf-Range: *", "200"},
    {"13.1.5: the date is the same", "GET", "Range: bytes=0-1\nIf-Range: " DATE, "206 0-1"},
    {"13.1.5: the date is later", "GET", "Range: bytes=0-1\nIf-Range: " SECOND, "200"},
    {"13.1.5: the date is earlier", "GET", "Range: bytes=0-1\nIf-Range: " BEFORE, "200"},
    {"13.1.5: the date is the same in an old form", "GET",
     "Range: bytes=0-1\nIf-Range: Sun Nov  6 08:49:37 1994", "206 0-1"},
    {"13.1.5: neither a tag nor a date", "GET", "Range: bytes=0-1\nIf-Range: x", "200"},
    {"13.1.5: an empty field", "GET", "Range: bytes=0-1\nIf-Range: ", "200"},
    {"13.1.5: twice", "GET", "Range: bytes=0-1\nIf-Range: " ETAG "\nIf-Range: " ETAG, "200"},
    {"13.1.5: nothing without Range", "GET", "If-Range: \"v2\"", "200"},
    {"13.1.5: holds, and nothing is there", "GET", "Range: bytes=1000-\nIf-Range: " ETAG, "416"},
    {"13.1.5: does not hold, and nothing is there", "GET",
     "Range: bytes=1000-\nIf-Range: \"v2\"", "200"},
    {"13.1.5: holds, for a malformed Range", "GET", "Range: bytes=x\nIf-Range: " ETAG, "200"},
};

/* For one that has no validators. */
static const example bare[] = {
    {"13.1.1: any", "PUT", "If-Match: *", "200"},
    {"13.1.1: none is listed", "PUT", "If-Match: " ETAG, "412"},
    {"13.1.2: any", "GET", "If-None-Match: *", "304"},
    {"13.1.2: none is listed", "GET", "If-None-Match: " ETAG, "200"},
    {"13.1.3: no date known", "GET", "If-Modified-Since: " YEAR_LATER, "200"},
    {"13.1.4: no date known", "GET", "If-Unmodified-Since: " YEARS_AGO, "200"},
    {"13.1.5: no tag known", "GET", "Range: bytes=0-1\nIf-Range: " ETAG, "200"},
    {"13.1.5: no date known", "GET", "Range: bytes=0-1\nIf-Range: " DATE, "200"},
    {"14.2: a range all the same", "GET", "Range: bytes=0-1", "206 0-1"},
};

/* For one whose tag is W/"v1". */
static const example weak[] = {
    {"13.1.1: strong comparison", "GET", "If-Match: W/" ETAG, "412"},
    {"13.1.1: strong comparison, against a strong one", "GET", "If-Match: " ETAG, "412"},
    {"13.1.1: any", "GET", "If-Match: *", "200"},
    {"13.1.2: weak comparison", "GET", "If-None-Match: W/" ETAG, "304"},
    {"13.1.2: weak comparison, against a strong one", "GET", "If-None-Match: " ETAG, "304"},
    {"13.1.5: strong comparison", "GET", "Range: bytes=0-1\nIf-Range: W/" ETAG, "200"},
    {"13.1.5: strong comparison, against a strong one", "GET", "Range: bytes=0-1\nIf-Range: " ETAG,
     "200"},
};

/* For one that is empty. */
static const example empty[] = {
    {"an empty one has no parts", "GET", "Range: bytes=0-", "200"},
    {"an empty one has no parts, nor a last one", "GET", "Range: bytes=-1", "200"},
    {"an empty one has no parts, nor one behind it", "GET", "Range: bytes=1-2", "200"},
    {"13.1.2: up to date", "GET", "If-None-Match: " ETAG, "304"},
};
/* clang-format on */

/* Of just its length, so that ASan sees what is read behind it. */
static rotor_text exactly(const char *s, size_t n)
{
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0)
        memcpy(copy, s, n);
    return (rotor_text){copy, n};
}

static void check(rotor_http_conditions c, uint64_t size, const example *e)
{
    rotor_text values[8];
    size_t n = 0;
    for (const char *line = e->fields; *line;) {
        size_t len = strcspn(line, "\n"), name = strcspn(line, ":");
        size_t value = name + 1 + strspn(line + name + 1, " ");
        assert_true(n < 8 && value <= len);
        values[n] = exactly(line + value, len - value);
        rotor_http_conditions_add(&c, (rotor_text){line, name}, values[n++]);
        line += len + (line[len] == '\n');
    }
    char verdict[64];
    rotor_http_range range = {7777, 7777};
    rotor_text method = {e->method, strlen(e->method)};
    int status = rotor_http_conditions_judge(&c, method, size, &range);
    if (status == 206)
        snprintf(verdict, sizeof verdict, "206 %llu-%llu", (unsigned long long)range.first,
                 (unsigned long long)(range.first + range.length - 1));
    else
        snprintf(verdict, sizeof verdict, "%d", status);
    assert_int_equal(status != 206, range.first == 7777 && range.length == 7777);
    if (strcmp(verdict, e->verdict) != 0)
        fail_msg("%s: %s, not %s", e->name, verdict, e->verdict);
    while (n > 0)
        free((void *)values[--n].data);
}

#define CHECK(table, c, size)                                                                      \
    for (size_t i_ = 0; i_ < sizeof(table) / sizeof *(table); i_++)                                \
    check(c, size, &(table)[i_])

static const rotor_http_conditions usual = {
    .etag = {ETAG, 4}, .has_modified = true, .modified = MTIME, .wall_ms = 1730882977000};

static void conditions_and_ranges(void **state)
{
    assert_true(sizeof examples / sizeof *examples >= 100);
    CHECK(examples, usual, SIZE);
}

static void without_validators(void **state)
{
    rotor_http_conditions c = {0};
    CHECK(bare, c, SIZE);
}

static void with_a_weak_tag(void **state)
{
    rotor_http_conditions c = usual;
    c.etag = (rotor_text){"W/" ETAG, 6};
    CHECK(weak, c, SIZE);
}

static void of_nothing(void **state)
{
    CHECK(empty, usual, 0);
}

/* Each range there is of few bytes is the one that counting finds. */
static void small_ranges(void **state)
{
    for (uint64_t size = 1; size < 6; size++) {
        for (unsigned first = 0; first < 8; first++) {
            for (unsigned last = 0; last < 8; last++) {
                char text[64];
                rotor_http_range range;
                int n = snprintf(text, sizeof text, "bytes=%u-%u", first, last);
                int status = rotor_http_parse_range((rotor_text){text, (size_t)n}, size, &range);
                if (last < first) {
                    assert_int_equal(status, 200);
                } else if (first >= size) {
                    assert_int_equal(status, 416);
                } else {
                    assert_int_equal(status, 206);
                    assert_int_equal(range.first, first);
                    assert_int_equal(range.length, (last < size ? last : size - 1) - first + 1);
                }
            }
        }
    }
}

static void the_largest_size(void **state)
{
    rotor_http_range range;
    assert_int_equal(rotor_http_parse_range((rotor_text){"bytes=0-", 8}, UINT64_MAX, &range), 206);
    assert_true(range.first == 0 && range.length == UINT64_MAX);
    assert_int_equal(rotor_http_parse_range((rotor_text){"bytes=-1", 8}, UINT64_MAX, &range), 206);
    assert_true(range.first == UINT64_MAX - 1 && range.length == 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(conditions_and_ranges), TEST(without_validators),
        TEST(with_a_weak_tag),       TEST(of_nothing),
        TEST(small_ranges),          TEST(the_largest_size),
    };
    return cmocka_run_group_tests_name("conditions", tests, NULL, NULL);
}
