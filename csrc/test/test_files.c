/* What is answered with files, over a transport in memory: names, folders, options. */
#include "test.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "../http/files_private.h"
#include "files_site.h"
#include "support.h"

#define OLD 700000000 /* seconds: 1992-03-07 */

static void is_field(const char *answer, const char *name, const char *expected)
{
    const char *value = site_field(answer, name);
    if (expected ? !value || strcmp(value, expected) != 0 : value != NULL)
        fail_msg("%s: %s, not %s, in %s", name, value ? value : "none",
                 expected ? expected : "none", answer);
}

/* What the tests find. */
static void fill(const folder *f)
{
    folder_text(f, "root/index.html", "index");
    folder_text(f, "root/a.txt", "a text");
    folder_text(f, "root/empty.css", "");
    folder_text(f, "root/dir/index.html", "index of dir");
    folder_text(f, "root/dir/b.js", "b");
    folder_text(f, "root/a b/\xc3\xa4.JSON", "{}");
    folder_text(f, "root/bare/c", "c");
    folder_text(f, "root/noext", "no extension");
    folder_text(f, "root/odd.xyz", "odd");
    folder_text(f, "root/odd/index.html/x", "x");
    folder_text(f, "root/100%", "percent");
    folder_text(f, "root/<a>/index.html", "angles");
    folder_text(f, "root/.secret", "secret");
    folder_text(f, "root/.git/config", "secret");
    folder_text(f, "root/.well-known/acme", "well known");
    folder_text(f, "root/dir/.htaccess", "secret");
    folder_text(f, "secret", "outside");
    folder_link(f, "root/link.txt", "a.txt");
    folder_link(f, "root/linked", "dir");
    folder_link(f, "root/out", "../secret");
    folder_link(f, "root/absolute", "/etc/passwd");
    folder_link(f, "root/out_dir", "..");
}

static void open_filled(site *s)
{
    site_begin(s);
    fill(&s->folder);
    site_open(s);
}

/* -- names ------------------------------------------------------------------------------------- */

static const struct {
    const char *path;
    const char *type, *body;
} served[] = {
    {"/", "text/html; charset=utf-8", "index"},
    {"/index.html", "text/html; charset=utf-8", "index"},
    {"/a.txt", "text/plain; charset=utf-8", "a text"},
    {"/a.txt?x=y", "text/plain; charset=utf-8", "a text"},
    {"/a.txt?", "text/plain; charset=utf-8", "a text"},
    {"/%61%2Etxt", "text/plain; charset=utf-8", "a text"},
    {"http://h/a.txt", "text/plain; charset=utf-8", "a text"},
    {"http://h", "text/html; charset=utf-8", "index"},
    {"/empty.css", "text/css; charset=utf-8", ""},
    {"/dir/", "text/html; charset=utf-8", "index of dir"},
    {"/dir/b.js", "text/javascript; charset=utf-8", "b"},
    {"/a%20b/%c3%A4.JSON", "application/json", "{}"},
    {"/noext", "application/octet-stream", "no extension"},
    {"/odd.xyz", "application/octet-stream", "odd"},
    {"/odd/index.html/x", "application/octet-stream", "x"},
    {"/100%25", "application/octet-stream", "percent"},
    {"/%3Ca%3e/", "text/html; charset=utf-8", "angles"},
    {"/.well-known/acme", "application/octet-stream", "well known"},
};

static void files_by_their_names(void **state)
{
    for (int walks = 0; walks <= 1; walks++) {
        site s = {.walks = walks};
        open_filled(&s);
        for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
            char length[32];
            const char *answer = site_get(&s, served[i].path, NULL);
            snprintf(length, sizeof length, "%zu", strlen(served[i].body));
            if (site_status(answer) != 200 || strcmp(site_body(answer), served[i].body) != 0)
                fail_msg("%s: %s", served[i].path, answer);
            is_field(answer, "Content-Type", served[i].type);
            is_field(answer, "Content-Length", length);
            is_field(answer, "Accept-Ranges", "bytes");
            is_field(answer, "Cache-Control", NULL);
            is_field(answer, "Vary", NULL);
            is_field(answer, "Content-Encoding", NULL);
            is_field(answer, "Connection", NULL);
            assert_non_null(site_field(answer, "ETag"));
            assert_non_null(site_field(answer, "Last-Modified"));
        }
        site_close(&s);
    }
}

/* clang-format off */
/* Paths that lead nowhere, and ways that somebody might try to get out by. */
static const char *const nowhere[] = {
    "/nothing", "/dir/nothing", "/nothing/", "/a.txt/", "/a.txt/b", "/A.TXT", "/a.txt%20", "/a.tx",
    "/a.txt.", "/a.txt..", "/bare/", "/odd/", "/empty.css/index.html", "/index.html/",
    "/..", "/../", "/../secret", "/../../secret", "/../root/a.txt", "/dir/../../secret",
    "/dir/..", "/dir/../", "/dir/../a.txt", "/./a.txt", "/.", "/dir/.", "/dir/./b.js",
    "/%2e%2e/secret", "/%2E%2E/secret", "/.%2e/secret", "/%2e./secret",
    "/dir/%2e%2e/%2e%2e/secret", "/%2e%2e%2fsecret", "/..%2fsecret", "/..%2Fsecret",
    "/dir%2f..%2f..%2fsecret", "/dir%2fb.js", "/%2fetc/passwd", "/%2Fetc%2Fpasswd",
    "//etc/passwd", "///etc/passwd", "/dir//b.js", "//a.txt", "//", "/dir//", "/..//secret",
    "//../secret", "/%252e%252e/secret", "/%252e%252e%252fsecret", "/%25%32%65%25%32%65/secret",
    "/..%5csecret", "/..\\secret", "/..\\..\\secret", "/dir\\..\\..\\secret", "/%5c..%5csecret",
    "/C:/secret", "/c:\\secret", "/file:///etc/passwd", "/.../secret", "/..../secret",
    "/a.txt%00", "/a.txt%00.html", "/%00", "/../secret%00.txt", "/%00../secret", "/dir/%00",
    "/a.txt%0a", "/%0d%0aX:%20y", "/a%7f", "/a.txt%09", "/%c0%ae%c0%ae/secret",
    "/%c0%ae%c0%ae%c0%afsecret", "/%e0%80%ae%e0%80%ae/secret", "/%c0%af..%c0%afsecret",
    "/%ef%bc%8e%ef%bc%8e/secret", "/..;/secret", "/..;a=b/secret", "http://h//etc/passwd",
    "http://h/../secret", "/.secret", "/%2esecret", "/.git/config", "/.git/", "/.git",
    "/dir/.htaccess", "/dir/%2ehtaccess", "/.well-known/", "/.well-known/../a.txt", "/link.txt",
    "/linked/", "/linked/b.js", "/linked", "/out", "/absolute", "/out_dir", "/out_dir/",
    "/out_dir/secret", "/out_dir/root/a.txt", "/~root/.profile", "/proc/self/environ",
    "/dev/zero", "/root/a.txt", "/secret",
};
/* What the parser refuses already. */
static const char *const refused[] = {
    "/a.txt%", "/%u002e%u002e/secret", "/%2", "/%%32%65%%32%65/secret", "/%g0", "a.txt", "../secret",
};
/* clang-format on */

static void paths_that_lead_nowhere(void **state)
{
    for (int walks = 0; walks <= 1; walks++) {
        site s = {.walks = walks};
        open_filled(&s);
        for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
            const char *answer = site_get(&s, nowhere[i], NULL);
            char expected[512];
            snprintf(expected, sizeof expected,
                     "HTTP/1.1 404 Not Found\r\n" DATE
                     "Content-Type: text/plain\r\nContent-Length: 14\r\n\r\n404 Not Found\n");
            if (strcmp(answer, expected) != 0)
                fail_msg("%s: %s", nowhere[i], answer);
        }
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
            site_gives(&s, refused[i], NULL, 400, NULL);
            assert_int_equal(web_connect(&s.web), 0);
        }
        site_close(&s);
    }
}

/* Whatever is allowed, nothing that is outside. */
static void nothing_that_is_outside(void **state)
{
    for (int walks = 0; walks <= 1; walks++) {
        site s = {.walks = walks, .options = {.symlinks = true, .dotfiles = true}};
        open_filled(&s);
        for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
            const char *answer = site_get(&s, nowhere[i], NULL);
            int status = site_status(answer);
            if ((status != 404 && status != 301 && status != 200) || strstr(answer, "outside") ||
                strstr(answer, "root:"))
                fail_msg("%s: %s", nowhere[i], answer);
        }
        site_gives(&s, "/.secret", NULL, 200, "secret");
        site_gives(&s, "/.git/config", NULL, 200, "secret");
        site_gives(&s, "/link.txt", NULL, 200, "a text");
        site_gives(&s, "/linked/", NULL, 200, "index of dir");
        site_gives(&s, "/linked/b.js", NULL, 200, "b");
        site_gives(&s, "/linked", NULL, 301, NULL);
        site_gives(&s, "/out", NULL, 404, NULL);
        site_gives(&s, "/out_dir/root/a.txt", NULL, 404, NULL);
        site_gives(&s, "/absolute", NULL, 404, NULL);
        site_gives(&s, "/dir/..", NULL, 404, NULL);
        site_close(&s);
    }
}

static void names_that_are_too_long(void **state)
{
    static char path[8000];
    site s = {0};
    open_filled(&s);
    for (size_t n = 250; n < sizeof path - 100; n = n * 5 / 4) {
        memset(path, 'a', n);
        path[0] = '/';
        path[n] = '\0';
        site_gives(&s, path, NULL, 404, NULL);
        for (size_t i = 100; i < n; i += 100)
            path[i] = '/';
        site_gives(&s, path, NULL, 404, NULL);
        path[n - 1] = '/'; /* the index is what makes it too long */
        site_gives(&s, path, NULL, 404, NULL);
    }
    site_close(&s);
}

static void what_is_no_file(void **state)
{
    site s = {0};
    open_filled(&s);
    assert_int_equal(mkfifo(folder_path(&s.folder, "root/fifo"), 0666), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, folder_path(&s.folder, "root/socket"));
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    bool has_device =
        mknod(folder_path(&s.folder, "root/zero"), S_IFCHR | 0666, makedev(1, 5)) == 0;
    site_gives(&s, "/fifo", NULL, 404, NULL);
    site_gives(&s, "/socket", NULL, 404, NULL);
    site_gives(&s, has_device ? "/zero" : "/fifo", NULL, 404, NULL);
    site_close(&s);
}

/* -- folders ----------------------------------------------------------------------------------- */

static const struct {
    const char *path, *location;
} redirected[] = {
    {"/dir", "./dir/"},
    {"/dir?", "./dir/?"},
    {"/dir?a=b/c", "./dir/?a=b/c"},
    {"/a%20b", "./a%20b/"},
    {"/%64ir", "./%64ir/"},
    {"/<a>", "./%3Ca%3E/"},
    {"/%3Ca%3E", "./%3Ca%3E/"},
    {"/odd/index.html", "./index.html/"},
    {"/bare", "./bare/"},
    {"/.well-known", "./.well-known/"},
    {"http://evil/dir", "./dir/"},
    {"/back\\slash", "./back%5Cslash/"},
    {"/a:b", "./a:b/"},
};

static void folders_get_their_slash(void **state)
{
    site s = {0};
    site_begin(&s);
    fill(&s.folder);
    folder_folder(&s.folder, "root/back\\slash");
    folder_folder(&s.folder, "root/a:b");
    site_open(&s);
    for (size_t i = 0; i < sizeof redirected / sizeof *redirected; i++) {
        char expected[512];
        snprintf(expected, sizeof expected,
                 "HTTP/1.1 301 Moved Permanently\r\n" DATE "Location: %s\r\n"
                 "Content-Type: text/plain\r\nContent-Length: 22\r\n\r\n301 Moved Permanently\n",
                 redirected[i].location);
        assert_string_equal(site_get(&s, redirected[i].path, NULL), expected);
        *strstr(expected, "301 Moved Permanently\n") = '\0';
        assert_string_equal(site_ask(&s, "HEAD", redirected[i].path, NULL), expected);
    }
    /* RFC 9110 13.2.1: conditions do not count where they have nothing to be about */
    site_gives(&s, "/dir", "If-Match: \"x\"\r\nIf-None-Match: *\r\nRange: bytes=0-1\r\n", 301,
               NULL);
    site_gives(&s, "/nothing", "If-None-Match: *\r\nRange: bytes=0-1\r\n", 404, NULL);
    site_close(&s);
}

static void another_index(void **state)
{
    site s = {.options.index = "b.js"};
    open_filled(&s);
    site_gives(&s, "/dir/", NULL, 200, "b");
    site_gives(&s, "/dir", NULL, 301, NULL);
    site_gives(&s, "/", NULL, 404, NULL);
    site_close(&s);
}

static void no_index(void **state)
{
    site s = {.options.index = ""};
    open_filled(&s);
    site_gives(&s, "/", NULL, 404, NULL);
    site_gives(&s, "/dir/", NULL, 404, NULL);
    site_gives(&s, "/dir", NULL, 404, NULL);
    site_gives(&s, "/dir/index.html", NULL, 200, "index of dir");
    site_close(&s);
}

static void behind_a_prefix(void **state)
{
    static const char *const prefixes[] = {"/static/x", "/static/x/"};
    for (int i = 0; i < 2; i++) {
        site s = {.options.prefix = prefixes[i]};
        open_filled(&s);
        site_gives(&s, "/static/x/", NULL, 200, "index");
        site_gives(&s, "/static/x/a.txt", NULL, 200, "a text");
        site_gives(&s, "/st%61tic/x/dir/b.js", NULL, 200, "b");
        site_gives(&s, "/static/x/static/x/a.txt", NULL, 404, NULL);
        site_gives(&s, "/static/xa.txt", NULL, 404, NULL);
        site_gives(&s, "/static/x/../x/a.txt", NULL, 404, NULL);
        site_gives(&s, "/static%2fx/a.txt", NULL, 404, NULL);
        site_gives(&s, "/static/", NULL, 404, NULL);
        site_gives(&s, "/static", NULL, 404, NULL);
        site_gives(&s, "/", NULL, 404, NULL);
        site_gives(&s, "/a.txt", NULL, 404, NULL);
        site_gives(&s, "/static/x/.secret", NULL, 404, NULL);
        const char *answer = site_get(&s, "/static/x", NULL);
        assert_int_equal(site_status(answer), 301);
        is_field(answer, "Location", "./x/");
        answer = site_get(&s, "/static/x/dir?q", NULL);
        assert_int_equal(site_status(answer), 301);
        is_field(answer, "Location", "./dir/?q");
        site_close(&s);
    }
    site s = {.options.prefix = "/"};
    open_filled(&s);
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_close(&s);
}

/* -- what a program names ---------------------------------------------------------------------- */

static const struct {
    const char *name, *path;
    int status;
    const char *body; /* or location */
} given[] = {
    {"a.txt", "/whatever", 200, "a text"},
    {"/a.txt", "/whatever", 200, "a text"},
    {"a.txt", "/../..//", 200, "a text"},
    {"100%", "/", 200, "percent"},
    {"100%25", "/", 404, NULL},
    {"", "/x", 200, "index"},
    {"/", "/x", 200, "index"},
    {"dir/", "/x", 200, "index of dir"},
    {"dir", "/x/", 200, "index of dir"},
    {"dir", "/x/y", 301, "./y/"},
    {"odd/", "/x/", 404, NULL},
    {"odd", "/x/", 404, NULL},
    {"odd", "/x", 301, "./x/"},
    {"../secret", "/", 404, NULL},
    {"dir/../a.txt", "/", 404, NULL},
    {"dir//b.js", "/", 404, NULL},
    {"//a.txt", "/", 404, NULL},
    {".secret", "/", 404, NULL},
    {"a.txt\n", "/", 404, NULL},
    {"link.txt", "/", 404, NULL},
    {"nothing", "/a.txt", 404, NULL},
};

static void names_that_the_program_gives(void **state)
{
    site s = {.options.prefix = "/has/no/part/in/it"};
    open_filled(&s);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        s.name = given[i].name;
        const char *answer = site_get(&s, given[i].path, NULL);
        const char *body =
            given[i].status == 301 ? site_field(answer, "Location") : site_body(answer);
        if (site_status(answer) != given[i].status ||
            (given[i].body && strcmp(body, given[i].body) != 0))
            fail_msg("%s: %s", given[i].name, answer);
    }
    site_close(&s);
}

static void to_be_answered_otherwise(void **state)
{
    site s = {.tries = true};
    open_filled(&s);
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_gives(&s, "/dir", NULL, 301, NULL);
    site_gives(&s, "/a.txt", "If-None-Match: *\r\n", 304, NULL);
    site_gives(&s, "/a.txt", "If-Match: \"x\"\r\n", 412, NULL);
    site_gives(&s, "/nothing", NULL, 299, "ENOENT");
    site_gives(&s, "/../secret", NULL, 299, "ENOENT");
    site_gives(&s, "/a.txt/b", NULL, 299, "ENOTDIR");
    site_gives(&s, "/link.txt", NULL, 299, "ELOOP");
    assert_string_equal(site_body(site_ask(&s, "POST", "/a.txt", NULL)), "ENOTSUP");
    site_close(&s);
    static const struct {
        int error, status;
    } statuses[] = {{UV_ENOENT, 404}, {UV_EXDEV, 404},  {UV_EACCES, 403}, {UV_ENOTSUP, 405},
                    {UV_EMFILE, 503}, {UV_ENOMEM, 503}, {UV_EIO, 500},    {ROTOR_ESTATE, 500}};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_int_equal(rotor_http_files_status(statuses[i].error), statuses[i].status);
}

/* -- methods ----------------------------------------------------------------------------------- */

static void other_methods(void **state)
{
    static const char *const methods[] = {"POST",  "PUT", "DELETE", "OPTIONS", "TRACE",
                                          "PATCH", "get", "GETS",   "FROB"};
    static const char *const paths[] = {"/a.txt", "/nothing", "/dir", "/../secret"};
    site s = {0};
    open_filled(&s);
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
    open_filled(&s);
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
    is_field(answer, "Content-Length", "6");
    is_field(answer, "Content-Range", NULL);
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
    is_field(answer, "Last-Modified", "Sat, 07 Mar 1992 20:26:40 GMT");
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
            is_field(answer, "Content-Range", body);
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
        is_field(site_get(&s, "/a", NULL), "Last-Modified", times[i].date);
    }
    site_close(&s);
}

/* -- options ----------------------------------------------------------------------------------- */

static void types_of_ones_own(void **state)
{
    char types[3][32] = {"xyz", "text/x-odd", "chemical/x-xyz"};
    rotor_http_mime table[] = {{types[0], types[1]}, {"JS", "text/mine"}, {NULL, NULL}};
    site s = {.options = {.types = table, .default_type = types[2], .cache_control = "no-store"}};
    open_filled(&s);
    memset(types, 'x', sizeof types); /* they were copied */
    table[0].extension = NULL;
    is_field(site_get(&s, "/odd.xyz", NULL), "Content-Type", "text/x-odd");
    is_field(site_get(&s, "/dir/b.js", NULL), "Content-Type", "text/mine");
    is_field(site_get(&s, "/noext", NULL), "Content-Type", "chemical/x-xyz");
    is_field(site_get(&s, "/a.txt", NULL), "Content-Type", "text/plain; charset=utf-8");
    is_field(site_get(&s, "/a.txt", NULL), "Cache-Control", "no-store");
    is_field(site_get(&s, "/nothing", NULL), "Cache-Control", NULL);
    is_field(site_get(&s, "/dir", NULL), "Cache-Control", NULL);
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
    open_filled(&s);
    assert_int_equal(rename(folder_path(&s.folder, "root"), folder_path(&s.folder, "moved")), 0);
    folder_text(&s.folder, "root/a.txt", "another");
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_close(&s);
}

/* -- errors ------------------------------------------------------------------------------------ */

static void out_of_descriptors(void **state)
{
    site s = {0};
    open_filled(&s);
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
    open_filled(&s);
    s.web.handler.error_page = page;
    site_gives(&s, "/nothing", NULL, 404, "page 404");
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_gives(&s, "/dir", NULL, 301, "301 Moved Permanently\n");
    const char *answer = site_ask(&s, "PUT", "/a.txt", NULL);
    assert_int_equal(site_status(answer), 405);
    is_field(answer, "Allow", "GET, HEAD");
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
    open_filled(&s);
    s.web.received = adds;
    static const char *const paths[] = {"/a.txt", "/nothing", "/dir"};
    for (int i = 0; i < 3; i++)
        is_field(site_get(&s, paths[i], NULL), "X-Before", "1");
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
        TEST(files_by_their_names),
        TEST(paths_that_lead_nowhere),
        TEST(nothing_that_is_outside),
        TEST(names_that_are_too_long),
        TEST(what_is_no_file),
        TEST(folders_get_their_slash),
        TEST(another_index),
        TEST(no_index),
        TEST(behind_a_prefix),
        TEST(names_that_the_program_gives),
        TEST(to_be_answered_otherwise),
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
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
