/* Which codings a client accepts, in a table with sections of RFC 9110; and files that are there compressed. */
#include "test.h"

#include <unistd.h>

#include "../http/files_private.h"
#include "files_site.h"
#include "support.h"

/* -- Accept-Encoding --------------------------------------------------------------------------- */

static const struct {
    const char *name, *value; /* "\n" between several fields */
    const char *best;         /* in their order */
} accepted[] = {
    {"12.5.3: none of it", "", ""},
    {"12.5.3: one", "gzip", "gzip"},
    {"12.5.3: a browser's", "gzip, deflate, br, zstd", "br zstd gzip"},
    {"12.5.3: an older one's", "gzip, deflate", "gzip"},
    {"12.5.3: others", "deflate, compress, frob", ""},
    {"12.5.3: identity only", "identity", ""},
    {"12.5.3: any", "*", "br zstd gzip"},
    {"12.5.3: any other", "gzip;q=0, *", "br zstd"},
    {"12.5.3: no other", "gzip, *;q=0", "gzip"},
    {"12.5.3: any but little", "*;q=0.1, gzip", "gzip br zstd"},
    {"12.5.3: not at all", "gzip;q=0", ""},
    {"12.5.3: not at all, exactly", "gzip;q=0.000", ""},
    {"12.5.3: without a body's change, if at all", "identity;q=0, gzip", "gzip"},
    {"12.4.2: weights", "gzip;q=0.9, br;q=0.8, zstd;q=1", "zstd gzip br"},
    {"12.4.2: in thousandths", "gzip;q=0.123, br;q=0.122", "gzip br"},
    {"12.4.2: all of them", "gzip;q=1.000", "gzip"},
    {"12.4.2: rather not coded", "gzip;q=0.5, identity", ""},
    {"12.4.2: rather not coded than some", "gzip;q=0.5, identity;q=0.7, br;q=0.9", "br"},
    {"12.4.2: coded as well as not", "gzip;q=0.5, identity;q=0.5", "gzip"},
    {"12.4.2: rather anything than coded", "gzip;q=0.5, *;q=0.7", "br zstd"},
    {"12.4.2: spaces around", "gzip ; q=0.5 ,\tbr;\tq=0.6", "br gzip"},
    {"12.4.2: q without case", "gzip;Q=0", ""},
    {"12.4.2: more than 1", "gzip;q=1.1", ""},
    {"12.4.2: more than 1, exactly", "gzip;q=1.001", ""},
    {"12.4.2: no number", "gzip;q=", ""},
    {"12.4.2: no number but a sign", "gzip;q=-1", ""},
    {"12.4.2: more digits", "gzip;q=0.1234", ""},
    {"12.4.2: no zero in front", "gzip;q=.5", ""},
    {"12.4.2: another parameter", "gzip;x=1", ""},
    {"12.4.2: malformed, but the next is not", "gzip;q=x, br", "br"},
    {"8.4.1: codings without case", "GZip", "gzip"},
    {"8.4.1.3: x-gzip is the same", "x-gzip", "gzip"},
    {"8.4.1: nothing that begins alike", "gzipp, b, zstd2", ""},
    {"5.6.1.2: empty elements", ",, gzip ,", "gzip"},
    {"5.3: lines of a list are one", "deflate\ngzip;q=0.5\nbr;q=0.1", "gzip br"},
    {"what is malformed is passed over", "gzip br, zstd", "zstd"},
    {"what is malformed is passed over, quotes", "\"gzip\", zstd", "zstd"},
    {"the last one counts", "gzip, gzip;q=0", ""},
};

static void codings_that_are_accepted(void **state)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        rotor__accepted a = ROTOR__ACCEPTED_INIT;
        char best[64] = "";
        for (const char *line = accepted[i].value;; line++) {
            size_t n = strcspn(line, "\n");
            char *exactly = malloc(n > 0 ? n : 1);
            assert_non_null(exactly);
            memcpy(exactly, line, n);
            rotor__accept_encoding(&a, (rotor_text){exactly, n});
            free(exactly);
            line += n;
            if (!*line)
                break;
        }
        for (int coding; (coding = rotor__best_coding(&a)) >= 0;) {
            strcat(best, best[0] ? " " : "");
            strcat(best, rotor__codings[coding].name);
        }
        if (strcmp(best, accepted[i].best) != 0)
            fail_msg("%s: %s: %s", accepted[i].name, accepted[i].value, best);
    }
}

/* -- files ------------------------------------------------------------------------------------- */

#define GZIP "Accept-Encoding: gzip\r\n"
#define ALL  "Accept-Encoding: gzip, br, zstd\r\n"

/* The answer to GET, and the coding it is in (NULL: none). */
static void gives(site *s, const char *path, const char *fields, const char *body,
                  const char *coding)
{
    const char *answer = site_get(s, path, fields);
    const char *value = site_field(answer, "Content-Encoding");
    if (site_status(answer) != 200 || strcmp(site_body(answer), body) != 0 ||
        (coding ? !value || strcmp(value, coding) != 0 : value != NULL))
        fail_msg("%s %s: %s", path, fields, answer);
    assert_string_equal(site_field(answer, "Vary"), "Accept-Encoding");
}

static void open_compressed(site *s)
{
    site_begin(s);
    folder_text(&s->folder, "root/a.js", "a plain");
    folder_text(&s->folder, "root/a.js.gz", "a gzip");
    folder_text(&s->folder, "root/a.js.br", "a br");
    folder_text(&s->folder, "root/b.css", "b plain");
    folder_text(&s->folder, "root/b.css.gz", "b gzip");
    folder_text(&s->folder, "root/stale", "stale plain");
    folder_text(&s->folder, "root/stale.br", "stale br");
    folder_text(&s->folder, "root/stale.gz", "stale gzip");
    folder_text(&s->folder, "root/only.gz", "only gzip");
    folder_text(&s->folder, "root/plain", "plain");
    folder_text(&s->folder, "root/folder", "folder plain");
    folder_folder(&s->folder, "root/folder.gz");
    folder_text(&s->folder, "root/linked", "linked plain");
    folder_link(&s->folder, "root/linked.gz", "b.css.gz");
    folder_text(&s->folder, "root/index.html", "index plain");
    folder_text(&s->folder, "root/index.html.gz", "index gzip");
    static const char *const names[] = {"a.js",       "a.js.gz",      "a.js.br",  "b.css",
                                        "b.css.gz",   "stale",        "stale.br", "stale.gz",
                                        "index.html", "index.html.gz"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        snprintf(name, sizeof name, "root/%s", names[i]);
        folder_date(&s->folder, name, 700000000, 500);
    }
    folder_date(&s->folder, "root/stale.br", 700000000, 499);
    folder_date(&s->folder, "root/stale.gz", 699999999, 999);
    site_open(s);
}

static void files_that_are_there_compressed(void **state)
{
    site s = {.options.precompressed = true};
    open_compressed(&s);
    gives(&s, "/a.js", "", "a plain", NULL);
    gives(&s, "/a.js", GZIP, "a gzip", "gzip");
    gives(&s, "/a.js", ALL, "a br", "br");
    gives(&s, "/a.js", "Accept-Encoding: zstd\r\n", "a plain", NULL);
    gives(&s, "/a.js", "Accept-Encoding: br;q=0.5\r\nAccept-Encoding: gzip\r\n", "a gzip", "gzip");
    gives(&s, "/a.js", "Accept-Encoding: gzip;q=0\r\n", "a plain", NULL);
    gives(&s, "/b.css", ALL, "b gzip", "gzip");
    gives(&s, "/stale", ALL, "stale plain", NULL);
    folder_date(&s.folder, "root/stale.gz", 700000000, 500);
    gives(&s, "/stale", ALL, "stale gzip", "gzip");
    gives(&s, "/plain", ALL, "plain", NULL);
    gives(&s, "/folder", ALL, "folder plain", NULL);
    gives(&s, "/linked", ALL, "linked plain", NULL);
    gives(&s, "/", ALL, "index gzip", "gzip");
    gives(&s, "/only.gz", ALL, "only gzip", NULL);
    site_gives(&s, "/only", ALL, 404, NULL);
    /* The type is that of what is inside. */
    assert_string_equal(site_field(site_get(&s, "/b.css", GZIP), "Content-Type"),
                        "text/css; charset=utf-8");
    assert_string_equal(site_field(site_get(&s, "/b.css.gz", ""), "Content-Type"),
                        "application/gzip");
    site_close(&s);
}

/* Each coding is a representation of its own, with its tag, its parts and its length (RFC 9110 8.8.3.3). */
static void each_with_its_own_validators(void **state)
{
    char tags[2][64], fields[256];
    site s = {.options.precompressed = true};
    open_compressed(&s);
    strcpy(tags[0], site_field(site_get(&s, "/b.css", ""), "ETag"));
    strcpy(tags[1], site_field(site_get(&s, "/b.css", GZIP), "ETag"));
    assert_string_not_equal(tags[0], tags[1]);
    for (int have = 0; have < 2; have++) {
        for (int want = 0; want < 2; want++) {
            snprintf(fields, sizeof fields, "If-None-Match: %s\r\n%s", tags[have],
                     want ? GZIP : "");
            const char *answer = site_get(&s, "/b.css", fields);
            assert_int_equal(site_status(answer), have == want ? 304 : 200);
            assert_string_equal(site_field(answer, "Vary"), "Accept-Encoding");
            if (have == want)
                assert_null(site_field(answer, "Content-Encoding"));
        }
    }
    const char *answer = site_get(&s, "/b.css", "Range: bytes=2-3\r\n" GZIP);
    assert_int_equal(site_status(answer), 206);
    assert_string_equal(site_body(answer), "gz");
    assert_string_equal(site_field(answer, "Content-Range"), "bytes 2-3/6");
    assert_string_equal(site_field(answer, "Content-Encoding"), "gzip");
    answer = site_ask(&s, "HEAD", "/b.css", GZIP);
    assert_string_equal(site_field(answer, "Content-Length"), "6");
    site_close(&s);
}

static void not_unless_asked_for(void **state)
{
    site s = {0};
    open_compressed(&s);
    const char *answer = site_get(&s, "/a.js", ALL);
    assert_string_equal(site_body(answer), "a plain");
    assert_null(site_field(answer, "Vary"));
    assert_null(site_field(answer, "Content-Encoding"));
    site_close(&s);
}

/* The suffix is what makes a name too long. */
static void the_longest_names(void **state)
{
    char name[300] = "root/", path[300] = "/";
    site s = {.options.precompressed = true};
    site_begin(&s);
    memset(name + 5, 'a', 255);
    memset(path + 1, 'a', 255);
    folder_text(&s.folder, name, "long");
    site_open(&s);
    gives(&s, path, ALL, "long", NULL);
    site_close(&s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(codings_that_are_accepted),
        TEST(files_that_are_there_compressed),
        TEST(each_with_its_own_validators),
        TEST(not_unless_asked_for),
        TEST(the_longest_names),
    };
    return cmocka_run_group_tests_name("files_compressed", tests, NULL, NULL);
}
