/* How files are answered with: methods, conditions, options, errors, and when memory is short. */
#include "test.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../http/files_private.h"
#include "files_site.h"
#include "support.h"

#define OLD 700000000 /* seconds: 1992-03-07 */

/* -- methods ----------------------------------------------------------------------------------- */

static void other_methods(void **state)
{
    static const char *const methods[] = {"POST",  "PUT", "DELETE", "OPTIONS", "TRACE",
                                          "PATCH", "get", "GETS",   "FROB"};
    static const char *const paths[] = {"/a.txt", "/nothing", "/dir", "/../secret"};
    site s = {0};
    site_open_filled(&s);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
            assert_string_equal(site_ask(&s, methods[i], paths[k], "Content-Length: 0\r\n"),
                                "HTTP/1.1 405 Method Not Allowed\r\n" DATE "Allow: GET, HEAD\r\n"
                                "Content-Type: text/plain\r\nContent-Length: 23\r\n\r\n"
                                "405 Method Not Allowed\n");
    }
    assert_int_equal(site_status(site_ask(&s, "OPTIONS", "*", NULL)), 405);
    assert_int_equal(site_status(site_ask(&s, "CONNECT", "h:80", NULL)), 405);
    site_close(&s);
}

/* HEAD is answered with just what GET's answer begins with. */
static void heads(void **state)
{
    static const char *const fields[] = {NULL, "If-None-Match: *\r\n", "If-Match: \"x\"\r\n",
                                         "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"};
    static const char *const paths[] = {"/",         "/a.txt", "/empty.css", "/dir/",
                                        "/dir",      "/noext", "/nothing",   "/a%20b/%c3%A4.JSON",
                                        "/../secret"};
    site s = {.options.cache_control = "max-age=60"};
    site_open_filled(&s);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            char get[4096];
            strcpy(get, site_get(&s, paths[i], fields[k]));
            *(char *)site_body(get) = '\0';
            assert_string_equal(site_ask(&s, "HEAD", paths[i], fields[k]), get);
        }
    }
    /* Ranges are GET's (RFC 9110 14.2). */
    const char *answer = site_ask(&s, "HEAD", "/a.txt", "Range: bytes=0-1\r\n");
    assert_int_equal(site_status(answer), 200);
    site_has(answer, "Content-Length", "6");
    site_has(answer, "Content-Range", NULL);
    site_close(&s);
}

/* -- conditions and ranges --------------------------------------------------------------------- */

static void conditions_about_a_file(void **state)
{
    char etag[64], fields[512];
    site s = {.options.cache_control = "no-cache"};
    site_begin(&s);
    folder_text(&s.folder, "root/a", "0123456789");
    folder_date(&s.folder, "root/a", OLD, 123456789);
    site_open(&s);
    const char *answer = site_get(&s, "/a", NULL);
    site_has(answer, "Last-Modified", "Sat, 07 Mar 1992 20:26:40 GMT");
    strcpy(etag, site_field(answer, "ETag"));
    assert_true(etag[0] == '"' && etag[strlen(etag) - 1] == '"');

    static const struct {
        const char *fields; /* %s: the tag */
        int status;
        const char *body;
    } cases[] = {
        {"If-None-Match: %s\r\n", 304, ""},
        {"If-None-Match: W/%s, \"x\"\r\n", 304, ""},
        {"If-None-Match: \"x\"\r\n", 200, "0123456789"},
        {"If-Match: %s\r\n", 200, "0123456789"},
        {"If-Match: \"x\"\r\n", 412, "412 Precondition Failed\n"},
        {"If-Modified-Since: Sat, 07 Mar 1992 20:26:40 GMT\r\n", 304, ""},
        {"If-Modified-Since: Saturday, 07-Mar-92 20:26:40 GMT\r\n", 304, ""},
        {"If-Modified-Since: Sat, 07 Mar 1992 20:26:39 GMT\r\n", 200, "0123456789"},
        {"If-Unmodified-Since: Sat, 07 Mar 1992 20:26:40 GMT\r\n", 200, "0123456789"},
        {"If-Unmodified-Since: Sat, 07 Mar 1992 20:26:39 GMT\r\n", 412, NULL},
        {"Range: bytes=2-4\r\n", 206, "234"},
        {"Range: bytes=-3\r\n", 206, "789"},
        {"Range: bytes=9-\r\n", 206, "9"},
        {"Range: bytes=0-\r\n", 206, "0123456789"},
        {"Range: bytes=2-4\r\nIf-Range: %s\r\n", 206, "234"},
        {"Range: bytes=2-4\r\nIf-Range: \"x\"\r\n", 200, "0123456789"},
        {"Range: bytes=2-4\r\nIf-Range: Sat, 07 Mar 1992 20:26:40 GMT\r\n", 206, "234"},
        {"Range: bytes=2-4\r\nIf-Range: Sat, 07 Mar 1992 20:26:41 GMT\r\n", 200, "0123456789"},
        {"Range: bytes=2-4, 6-7\r\n", 200, "0123456789"},
        {"Range: bytes=4-2\r\n", 200, "0123456789"},
        {"Range: bytes=10-\r\n", 416, "416 Range Not Satisfiable\n"},
        {"Range: bytes=10-\r\nIf-None-Match: %s\r\n", 304, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = strstr(cases[i].fields, "%s");
        snprintf(fields, sizeof fields, "%.*s%s%s",
                 (int)(at ? (size_t)(at - cases[i].fields) : strlen(cases[i].fields)),
                 cases[i].fields, at ? etag : "", at ? at + 2 : "");
        site_gives(&s, "/a", fields, cases[i].status, cases[i].body);
    }
    char expected[512];
    snprintf(expected, sizeof expected,
             "HTTP/1.1 304 Not Modified\r\n" DATE "ETag: %s\r\nCache-Control: no-cache\r\n\r\n",
             etag);
    assert_string_equal(site_get(&s, "/a", "If-None-Match: *\r\n"), expected);
    snprintf(expected, sizeof expected,
             "HTTP/1.1 206 Partial Content\r\n" DATE "Content-Type: application/octet-stream\r\n"
             "Content-Range: bytes 2-4/10\r\nAccept-Ranges: bytes\r\n"
             "Last-Modified: Sat, 07 Mar 1992 20:26:40 GMT\r\nETag: %s\r\n"
             "Cache-Control: no-cache\r\nContent-Length: 3\r\n\r\n234",
             etag);
    assert_string_equal(site_get(&s, "/a", "Range: bytes=2-4\r\n"), expected);
    assert_string_equal(site_get(&s, "/a", "Range: bytes=10-\r\n"),
                        "HTTP/1.1 416 Range Not Satisfiable\r\n" DATE
                        "Content-Range: bytes */10\r\nContent-Type: text/plain\r\n"
                        "Content-Length: 26\r\n\r\n416 Range Not Satisfiable\n");
    site_close(&s);
}

/* Each byte of a range, from each to each. */
static void each_range(void **state)
{
    static const char text[] = "0123456789abcdef";
    enum { SIZE = sizeof text - 1 };
    site s = {0};
    site_begin(&s);
    folder_text(&s.folder, "root/a", text);
    site_open(&s);
    for (int first = 0; first < SIZE; first++) {
        for (int last = first; last <= SIZE; last++) {
            char fields[64], body[64];
            int to = last < SIZE ? last : SIZE - 1;
            snprintf(fields, sizeof fields, "Range: bytes=%d-%d\r\n", first, last);
            snprintf(body, sizeof body, "%.*s", to - first + 1, text + first);
            const char *answer = site_get(&s, "/a", fields);
            assert_int_equal(site_status(answer), 206);
            assert_string_equal(site_body(answer), body);
            snprintf(body, sizeof body, "bytes %d-%d/%d", first, to, SIZE);
            site_has(answer, "Content-Range", body);
        }
    }
    site_close(&s);
}

static const char *etag_of(site *s, const char *path)
{
    const char *answer = site_get(s, path, NULL);
    assert_int_equal(site_status(answer), 200);
    return site_field(answer, "ETag");
}

static void tags_change_with_their_files(void **state)
{
    site s = {0};
    site_begin(&s);
    folder_text(&s.folder, "root/a", "one");
    folder_date(&s.folder, "root/a", OLD, 5);
    folder_text(&s.folder, "root/b", "one");
    folder_date(&s.folder, "root/b", OLD, 5);
    site_open(&s);
    char first[64];
    strcpy(first, etag_of(&s, "/a"));
    assert_string_equal(etag_of(&s, "/a"), first);
    assert_string_not_equal(etag_of(&s, "/b"), first); /* another file */
    folder_date(&s.folder, "root/a", OLD, 6);          /* another nanosecond */
    assert_string_not_equal(etag_of(&s, "/a"), first);
    folder_date(&s.folder, "root/a", OLD, 5);
    assert_string_equal(etag_of(&s, "/a"), first);
    folder_text(&s.folder, "root/a", "four"); /* another size */
    folder_date(&s.folder, "root/a", OLD, 5);
    assert_string_not_equal(etag_of(&s, "/a"), first);
    /* Replaced by one of the same size and time, as reproducible builds make them. */
    assert_int_equal(rename(folder_path(&s.folder, "root/b"), folder_path(&s.folder, "root/a")), 0);
    assert_string_not_equal(etag_of(&s, "/a"), first);
    site_close(&s);
}

/* RFC 9110 8.8.2.1: a Last-Modified is not later than the Date. */
static void files_of_other_times(void **state)
{
    static const struct {
        long long seconds;
        const char *date;
    } times[] = {
        {WEB_WALL_MS / 1000 - 1, "Sun, 06 Nov 1994 08:49:36 GMT"},
        {WEB_WALL_MS / 1000, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {WEB_WALL_MS / 1000 + 1, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {4000000000, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {-1, "Thu, 01 Jan 1970 00:00:00 GMT"},
    };
    site s = {0};
    site_begin(&s);
    folder_text(&s.folder, "root/a", "a");
    site_open(&s);
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        folder_date(&s.folder, "root/a", times[i].seconds, 0);
        site_has(site_get(&s, "/a", NULL), "Last-Modified", times[i].date);
    }
    site_close(&s);
}

/* -- options ----------------------------------------------------------------------------------- */

static void types_of_ones_own(void **state)
{
    char types[3][32] = {"xyz", "text/x-odd", "chemical/x-xyz"};
    rotor_http_mime table[] = {{types[0], types[1]}, {"JS", "text/mine"}, {NULL, NULL}};
    site s = {.options = {.types = table, .default_type = types[2], .cache_control = "no-store"}};
    site_open_filled(&s);
    memset(types, 'x', sizeof types); /* they were copied */
    table[0].extension = NULL;
    site_has(site_get(&s, "/odd.xyz", NULL), "Content-Type", "text/x-odd");
    site_has(site_get(&s, "/dir/b.js", NULL), "Content-Type", "text/mine");
    site_has(site_get(&s, "/noext", NULL), "Content-Type", "chemical/x-xyz");
    site_has(site_get(&s, "/a.txt", NULL), "Content-Type", "text/plain; charset=utf-8");
    site_has(site_get(&s, "/a.txt", NULL), "Cache-Control", "no-store");
    site_has(site_get(&s, "/nothing", NULL), "Cache-Control", NULL);
    site_has(site_get(&s, "/dir", NULL), "Cache-Control", NULL);
    site_close(&s);
}

static void what_cannot_be_served(void **state)
{
    static const rotor_http_mime no_extension[] = {{"", "a/b"}, {NULL, NULL}};
    static const rotor_http_mime a_dot[] = {{".a", "a/b"}, {NULL, NULL}};
    static const rotor_http_mime a_slash[] = {{"a/b", "a/b"}, {NULL, NULL}};
    static const rotor_http_mime no_type[] = {{"a", "b/c"}, {"a", ""}, {NULL, NULL}};
    static const rotor_http_mime a_line[] = {{"a", "b\r\nc"}, {NULL, NULL}};
    static const struct {
        rotor_http_files_options options;
        int error;
    } cases[] = {
        {{.prefix = ""}, UV_EINVAL},
        {{.prefix = "static"}, UV_EINVAL},
        {{.prefix = "/a/../b"}, UV_EINVAL},
        {{.prefix = "//"}, UV_EINVAL},
        {{.prefix = "/a//b"}, UV_EINVAL},
        {{.index = "a/b"}, UV_EINVAL},
        {{.index = ".."}, UV_EINVAL},
        {{.index = "a\n"}, UV_EINVAL},
        {{.types = no_extension}, UV_EINVAL},
        {{.types = a_dot}, UV_EINVAL},
        {{.types = a_slash}, UV_EINVAL},
        {{.types = no_type}, ROTOR_EHEADER},
        {{.types = a_line}, ROTOR_EHEADER},
        {{.default_type = ""}, ROTOR_EHEADER},
        {{.default_type = "a\n"}, ROTOR_EHEADER},
        {{.cache_control = "a\r\nX: y"}, ROTOR_EHEADER},
    };
    rotor_http_files *files;
    folder f;
    folder_make(&f);
    folder_text(&f, "file", "");
    folder_link(&f, "link", ".");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        files = (rotor_http_files *)&f;
        assert_int_equal(rotor_http_files_new(&files, f.path, &cases[i].options), cases[i].error);
        assert_null(files);
    }
    assert_int_equal(rotor_http_files_new(&files, folder_path(&f, "nothing"), NULL), UV_ENOENT);
    assert_int_equal(rotor_http_files_new(&files, folder_path(&f, "file"), NULL), UV_ENOTDIR);
    assert_int_equal(rotor_http_files_new(&files, "", NULL), UV_ENOENT);
    assert_int_equal(rotor_http_files_new(&files, folder_path(&f, "link"), NULL), 0);
    rotor_http_files_free(files);
    rotor_http_files_free(NULL);
    folder_remove(&f);
}

/* The root is the folder that was opened, wherever it is moved. */
static void a_root_that_is_moved(void **state)
{
    site s = {0};
    site_open_filled(&s);
    assert_int_equal(rename(folder_path(&s.folder, "root"), folder_path(&s.folder, "moved")), 0);
    folder_text(&s.folder, "root/a.txt", "another");
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_close(&s);
}

/* -- errors ------------------------------------------------------------------------------------ */

static void out_of_descriptors(void **state)
{
    site s = {0};
    site_open_filled(&s);
    struct rlimit before, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int status = site_status(site_get(&s, "/a.txt", NULL));
    int nowhere_at_all = site_status(site_get(&s, "/../secret", NULL));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(status, 503);
    assert_int_equal(nowhere_at_all, 404);
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_close(&s);
}

/* In a process of its own that is nobody's, as root may read everything. 0: it is as it should be. */
static void without_permission(void **state)
{
    site s = {0};
    site_begin(&s);
    folder_text(&s.folder, "root/a", "a");
    folder_text(&s.folder, "root/dir/b", "b");
    assert_int_equal(chmod(s.folder.path, 0755), 0);
    assert_int_equal(chmod(folder_path(&s.folder, "root/a"), 0), 0);
    assert_int_equal(chmod(folder_path(&s.folder, "root/dir"), 0), 0);
    site_open(&s);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (getuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(1);
        bool good = site_status(site_get(&s, "/a", NULL)) == 403 &&
                    site_status(site_get(&s, "/dir/b", NULL)) == 403 &&
                    site_status(site_get(&s, "/nothing", NULL)) == 404;
        s.files->how |= ROTOR__OPEN_WALK;
        good = good && site_status(site_get(&s, "/a", NULL)) == 403 &&
               site_status(site_get(&s, "/dir/b", NULL)) == 403;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    site_close(&s);
}

static void page(rotor_http *h, rotor_scope *scope, int status, const char *why)
{
    char text[64];
    assert_null(why);
    if (status == 403)
        return;
    snprintf(text, sizeof text, "page %d", status);
    assert_int_equal(rotor_http_send_text(h, status, text), 0);
}

static void pages_of_the_handlers_own(void **state)
{
    site s = {0};
    site_open_filled(&s);
    s.web.handler.error_page = page;
    site_gives(&s, "/nothing", NULL, 404, "page 404");
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_gives(&s, "/dir", NULL, 301, "301 Moved Permanently\n");
    const char *answer = site_ask(&s, "PUT", "/a.txt", NULL);
    assert_int_equal(site_status(answer), 405);
    site_has(answer, "Allow", "GET, HEAD");
    assert_string_equal(site_body(answer), "page 405");
    site_close(&s);
}

/* What a handler has added stays, whatever becomes of the request; of the file's nothing is left. */
static rotor_response adds(rotor_http *h, rotor_scope *scope)
{
    site *s = web_of(h)->context;
    assert_int_equal(rotor_http_add_text(h, "X-Before", "1"), 0);
    return rotor_http_files_send(s->files, h, scope, s->name);
}

static void fields_of_the_handlers_own(void **state)
{
    site s = {0};
    site_open_filled(&s);
    s.web.received = adds;
    static const char *const paths[] = {"/a.txt", "/nothing", "/dir"};
    for (int i = 0; i < 3; i++)
        site_has(site_get(&s, paths[i], NULL), "X-Before", "1");
    site_close(&s);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void all_kinds_of_requests(void)
{
    static const rotor_http_mime types[] = {{"xyz", "a/b"}, {NULL, NULL}};
    static const char *const paths[] = {"/a.txt", "/dir", "/nothing"};
    rotor_http_files_options options = {
        .prefix = "/", .types = types, .cache_control = "no-cache", .precompressed = true};
    site s = {0};
    site_begin(&s);
    folder_text(&s.folder, "root/a.txt", "a text");
    folder_text(&s.folder, "root/dir/b", "b");
    s.web.received = adds;
    s.web.context = &s;
    int error = rotor_http_files_new(&s.files, folder_path(&s.folder, "root"), &options);
    if (!error)
        error = web_open(&s.web);
    if (error) {
        assert_true(test_alloc_failed() > 0);
        rotor_http_files_free(s.files);
        folder_remove(&s.folder);
        return;
    }
    for (int i = 0; i < 3; i++) {
        if (web_connect(&s.web))
            continue;
        char ask[256];
        int n = snprintf(ask, sizeof ask, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", paths[i]);
        if (rotor_memory_send(s.web.client, ask, (size_t)n))
            continue;
        web_turn(&s.web);
        const char *answer = web_received(&s.web);
        static const int statuses[] = {200, 301, 404};
        int status = *answer ? site_status(answer) : 0;
        assert_true(status == statuses[i] || test_alloc_failed() > 0);
        if (status == 503 || status == 500)
            assert_null(site_field(answer, "ETag"));
    }
    web_close(&s.web);
    rotor_http_files_free(s.files);
    folder_remove(&s.folder);
}

static void memory_runs_out(void **state)
{
    test_out_of_memory(all_kinds_of_requests);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(other_methods),
        TEST(heads),
        TEST(conditions_about_a_file),
        TEST(each_range),
        TEST(tags_change_with_their_files),
        TEST(files_of_other_times),
        TEST(types_of_ones_own),
        TEST(what_cannot_be_served),
        TEST(a_root_that_is_moved),
        TEST(out_of_descriptors),
        TEST(without_permission),
        TEST(pages_of_the_handlers_own),
        TEST(fields_of_the_handlers_own),
        TEST(memory_runs_out),
    };
    return cmocka_run_group_tests_name("files_answers", tests, NULL, NULL);
}
