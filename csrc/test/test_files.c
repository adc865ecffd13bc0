/* What is answered with files, over a transport in memory: names, folders, what a program names. */
#include "test.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "files_site.h"
#include "support.h"

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
        site_open_filled(&s);
        rotor_memory_split(s.web.client, (size_t)walks); /* byte by byte as well */
        for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
            char length[32];
            const char *answer = site_get(&s, served[i].path, NULL);
            snprintf(length, sizeof length, "%zu", strlen(served[i].body));
            if (site_status(answer) != 200 || strcmp(site_body(answer), served[i].body) != 0)
                fail_msg("%s: %s", served[i].path, answer);
            site_has(answer, "Content-Type", served[i].type);
            site_has(answer, "Content-Length", length);
            site_has(answer, "Accept-Ranges", "bytes");
            site_has(answer, "Cache-Control", NULL);
            site_has(answer, "Vary", NULL);
            site_has(answer, "Content-Encoding", NULL);
            site_has(answer, "Connection", NULL);
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
        site_open_filled(&s);
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
        site_open_filled(&s);
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
    site_open_filled(&s);
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
    site_open_filled(&s);
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
    site_fill(&s);
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
    site_open_filled(&s);
    site_gives(&s, "/dir/", NULL, 200, "b");
    site_gives(&s, "/dir", NULL, 301, NULL);
    site_gives(&s, "/", NULL, 404, NULL);
    site_close(&s);
}

static void no_index(void **state)
{
    site s = {.options.index = ""};
    site_open_filled(&s);
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
        site_open_filled(&s);
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
        site_has(answer, "Location", "./x/");
        answer = site_get(&s, "/static/x/dir?q", NULL);
        assert_int_equal(site_status(answer), 301);
        site_has(answer, "Location", "./dir/?q");
        site_close(&s);
    }
    site s = {.options.prefix = "/"};
    site_open_filled(&s);
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
    site_open_filled(&s);
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
    site_open_filled(&s);
    site_gives(&s, "/a.txt", NULL, 200, "a text");
    site_gives(&s, "/dir", NULL, 301, NULL);
    site_gives(&s, "/a.txt", "If-None-Match: *\r\n", 304, NULL);
    site_gives(&s, "/a.txt", "If-Match: \"x\"\r\n", 412, NULL);
    site_gives(&s, "/nothing", NULL, 299, "ENOENT");
    site_gives(&s, "/../secret", NULL, 299, "ENOENT");
    site_gives(&s, "/a.txt/b", NULL, 299, "ENOTDIR");
    site_gives(&s, "/link.txt", NULL, 299, "ELOOP");
    assert_string_equal(site_body(site_ask(&s, "POST", "/a.txt", NULL)), "HTTP_EREADONLY");
    site_close(&s);
    static const struct {
        int error, status;
    } statuses[] = {
        {UV_ENOENT, 404},        {UV_EXDEV, 404},  {UV_EACCES, 403}, {ROTOR_HTTP_EREADONLY, 405},
        {ROTOR_ETRUNCATED, 503}, {UV_EMFILE, 503}, {UV_ENOMEM, 503}, {UV_EIO, 500},
        {ROTOR_ESTATE, 500}};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_int_equal(rotor_http_files_status(statuses[i].error), statuses[i].status);
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
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
