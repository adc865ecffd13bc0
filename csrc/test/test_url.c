/* URLs: read, refused, and resolved. */
#include "test.h"

#include "../http/url.h"
#include "support.h"

static rotor_text text_of(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

typedef struct url_case {
    const char *text;
    int error;
    const char *result, *host, *target;
    int port;
} url_case;

static const url_case urls[] = {
    {"http://h/", 0, "http://h/", "h", "/", 80},
    {"http://h", 0, "http://h/", "h", "/", 80},
    {"HTTP://Example.ORG:80/A", 0, "http://example.org/A", "example.org", "/A", 80},
    {"http://h:/x", 0, "http://h/x", "h", "/x", 80},
    {"http://h:0080/x", 0, "http://h/x", "h", "/x", 80},
    {"http://h:8080/x?y=z", 0, "http://h:8080/x?y=z", "h", "/x?y=z", 8080},
    {"http://h:65535", 0, "http://h:65535/", "h", "/", 65535},
    {"http://h?q", 0, "http://h/?q", "h", "/?q", 80},
    {"http://h?", 0, "http://h/?", "h", "/?", 80},
    {"http://h/a#b", 0, "http://h/a", "h", "/a", 80},
    {"http://h#b?c/d", 0, "http://h/", "h", "/", 80},
    {"http://h/?a?b/c", 0, "http://h/?a?b/c", "h", "/?a?b/c", 80},
    {"http://127.0.0.1:1/", 0, "http://127.0.0.1:1/", "127.0.0.1", "/", 1},
    {"http://[::1]/", 0, "http://[::1]/", "[::1]", "/", 80},
    {"http://[2001:DB8::1]:81/", 0, "http://[2001:db8::1]:81/", "[2001:db8::1]", "/", 81},
    {"http://a_b-c.~d!$&'()*+,;=/", 0, "http://a_b-c.~d!$&'()*+,;=/", "a_b-c.~d!$&'()*+,;=", "/",
     80},
    /* Paths are sent as they are, but for what no request line may hold. */
    {"http://h/a/../b/./c//d", 0, "http://h/a/../b/./c//d", "h", "/a/../b/./c//d", 80},
    {"http://h/%41%e4", 0, "http://h/%41%e4", "h", "/%41%e4", 80},
    {"http://h/a b?c d", 0, "http://h/a%20b?c%20d", "h", "/a%20b?c%20d", 80},
    {"http://h/\xc3\xa4", 0, "http://h/%C3%A4", "h", "/%C3%A4", 80},
    {"http://h/|{}^\"<>\\`[]", 0, "http://h/|{}^\"<>\\`[]", "h", "/|{}^\"<>\\`[]", 80},
    {"http://h/?100%", 0, "http://h/?100%", "h", "/?100%", 80},
    {"http://h/a@b:c", 0, "http://h/a@b:c", "h", "/a@b:c", 80},

    {"", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"h", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"/a", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"//h/a", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"h:80/a", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http:/h/a", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http:h", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http:///a", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://:80/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:0/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:65536/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:99999999999999999999/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:8o/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:-1/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h:1:2/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://[::1/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://[]/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://[::1]x/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://[1.2.3.4]/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://[fe80::1%25eth0]/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://a b/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://a%20b/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://\xc3\xa4/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/a\r\nX: y", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/a\tb", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/\x7f", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/?a\nb", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/%", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/%4", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"http://h/%zz", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {" http://h/", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"mailto:a@b", ROTOR_HTTP_EURL, NULL, NULL, NULL, 0},
    {"https://h/", ROTOR_HTTP_ESCHEME, NULL, NULL, NULL, 0},
    {"ftp://h/", ROTOR_HTTP_ESCHEME, NULL, NULL, NULL, 0},
    {"http://u@h/", ROTOR_HTTP_EUSERINFO, NULL, NULL, NULL, 0},
    {"http://u:p@h/", ROTOR_HTTP_EUSERINFO, NULL, NULL, NULL, 0},
    {"http://h@[::1]/", ROTOR_HTTP_EUSERINFO, NULL, NULL, NULL, 0},
};

static void assert_text(rotor_text text, const char *expected)
{
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static void urls_are_read_or_refused(void **state)
{
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        const url_case *c = &urls[i];
        rotor_http_url url = {0};
        /* At the end of memory of its own, so that reading behind it is noticed. */
        char *copy = malloc(strlen(c->text) + 1);
        assert_non_null(copy);
        memcpy(copy, c->text, strlen(c->text));
        int error = rotor_http_url_parse(&url, (rotor_text){copy, strlen(c->text)});
        free(copy);
        if (error != c->error)
            print_error("%s: %s\n", c->text, rotor_err_name(error));
        assert_int_equal(error, c->error);
        if (!error) {
            assert_string_equal(url.text, c->result);
            assert_text(url.host, c->host);
            assert_text(url.target, c->target);
            assert_int_equal(url.port, c->port);
        } else {
            assert_null(url.text);
        }
        rotor_http_url_fini(&url);
    }
}

static void a_nul_is_no_part_of_a_url(void **state)
{
    rotor_http_url url = {0};
    static const char in_path[] = "http://h/a\0b", in_host[] = "http://h\0i/";
    assert_int_equal(rotor_http_url_parse(&url, (rotor_text){in_path, sizeof in_path - 1}),
                     ROTOR_HTTP_EURL);
    assert_int_equal(rotor_http_url_parse(&url, (rotor_text){in_host, sizeof in_host - 1}),
                     ROTOR_HTTP_EURL);
}

static void what_cannot_be_read_changes_nothing(void **state)
{
    rotor_http_url url = {0};
    assert_int_equal(rotor_http_url_parse(&url, text_of("http://h/a")), 0);
    assert_int_equal(rotor_http_url_parse(&url, text_of("http://h/%")), ROTOR_HTTP_EURL);
    assert_int_equal(rotor_http_url_resolve(&url, &url, text_of("//u@h")), ROTOR_HTTP_EUSERINFO);
    assert_string_equal(url.text, "http://h/a");
    assert_int_equal(rotor_http_url_parse(&url, text_of("http://i/")), 0);
    assert_string_equal(url.text, "http://i/");
    rotor_http_url_fini(&url);
    rotor_http_url_fini(&url);
}

/* The examples of RFC 3986 section 5.4, for the base http://a/b/c/d;p?q, and more. */
static const char *const references[][2] = {
    {"g", "http://a/b/c/g"},
    {"./g", "http://a/b/c/g"},
    {"g/", "http://a/b/c/g/"},
    {"/g", "http://a/g"},
    {"//g", "http://g/"},
    {"?y", "http://a/b/c/d;p?y"},
    {"g?y", "http://a/b/c/g?y"},
    {"#s", "http://a/b/c/d;p?q"},
    {"g#s", "http://a/b/c/g"},
    {"g?y#s", "http://a/b/c/g?y"},
    {";x", "http://a/b/c/;x"},
    {"g;x", "http://a/b/c/g;x"},
    {"g;x?y#s", "http://a/b/c/g;x?y"},
    {"", "http://a/b/c/d;p?q"},
    {".", "http://a/b/c/"},
    {"./", "http://a/b/c/"},
    {"..", "http://a/b/"},
    {"../", "http://a/b/"},
    {"../g", "http://a/b/g"},
    {"../..", "http://a/"},
    {"../../", "http://a/"},
    {"../../g", "http://a/g"},
    {"../../../g", "http://a/g"},
    {"../../../../g", "http://a/g"},
    {"/./g", "http://a/g"},
    {"/../g", "http://a/g"},
    {"g.", "http://a/b/c/g."},
    {".g", "http://a/b/c/.g"},
    {"g..", "http://a/b/c/g.."},
    {"..g", "http://a/b/c/..g"},
    {"./../g", "http://a/b/g"},
    {"./g/.", "http://a/b/c/g/"},
    {"g/./h", "http://a/b/c/g/h"},
    {"g/../h", "http://a/b/c/h"},
    {"g;x=1/./y", "http://a/b/c/g;x=1/y"},
    {"g;x=1/../y", "http://a/b/c/y"},
    {"g?y/./x", "http://a/b/c/g?y/./x"},
    {"g?y/../x", "http://a/b/c/g?y/../x"},
    {"g#s/../x", "http://a/b/c/g"},
    {"HTTP://G:81/x/../y?z", "http://g:81/y?z"},
    {"http://g", "http://g/"},
    {"//g:81/../x", "http://g:81/x"},
    {"/..", "http://a/"},
    {"/../..", "http://a/"},
    {"/x//../y", "http://a/x/y"},
    {".//g", "http://a/b/c//g"},
    {"/a b\xff", "http://a/a%20b%FF"},
    {"?", "http://a/b/c/d;p?"},
};

static const struct {
    const char *reference;
    int error;
} not_followed[] = {
    {"https://a/", ROTOR_HTTP_ESCHEME},
    {"g:h", ROTOR_HTTP_ESCHEME},
    {"javascript:alert(1)", ROTOR_HTTP_ESCHEME},
    {"http:g", ROTOR_HTTP_EURL},
    {"http:///g", ROTOR_HTTP_EURL},
    {"//", ROTOR_HTTP_EURL},
    {"//u:p@g/", ROTOR_HTTP_EUSERINFO},
    {"/%", ROTOR_HTTP_EURL},
    {"/a\rb", ROTOR_HTTP_EURL},
};

static void references_are_resolved(void **state)
{
    rotor_http_url base = {0}, url = {0};
    assert_int_equal(rotor_http_url_parse(&base, text_of("http://a/b/c/d;p?q")), 0);
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        assert_int_equal(rotor_http_url_resolve(&url, &base, text_of(references[i][0])), 0);
        assert_string_equal(url.text, references[i][1]);
    }
    for (size_t i = 0; i < sizeof not_followed / sizeof *not_followed; i++)
        assert_int_equal(rotor_http_url_resolve(&url, &base, text_of(not_followed[i].reference)),
                         not_followed[i].error);
    assert_string_equal(url.text, references[sizeof references / sizeof *references - 1][1]);
    rotor_http_url_fini(&url);
    rotor_http_url_fini(&base);
}

static void a_url_may_be_its_own_base(void **state)
{
    rotor_http_url url = {0};
    assert_int_equal(rotor_http_url_parse(&url, text_of("http://h?q")), 0);
    assert_int_equal(rotor_http_url_resolve(&url, &url, text_of("a/b")), 0);
    assert_string_equal(url.text, "http://h/a/b");
    assert_int_equal(rotor_http_url_resolve(&url, &url, text_of("c?d")), 0);
    assert_string_equal(url.text, "http://h/a/c?d");
    rotor_http_url_fini(&url);
}

static void origins(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"http://h/a", "http://H:80/b", true},       {"http://h/", "http://h:81/", false},
        {"http://h/", "http://i/", false},           {"http://h/", "http://h.example/", false},
        {"http://[::1]:1/", "http://[::1]:1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rotor_http_url a = {0}, b = {0};
        assert_int_equal(rotor_http_url_parse(&a, text_of(cases[i].a)), 0);
        assert_int_equal(rotor_http_url_parse(&b, text_of(cases[i].b)), 0);
        assert_int_equal(rotor_http_url_same_origin(&a, &b), cases[i].same);
        rotor_http_url_fini(&a);
        rotor_http_url_fini(&b);
    }
}

static void out_of_memory(void)
{
    rotor_http_url url = {0};
    int error = rotor_http_url_parse(&url, text_of("http://h/"));
    if (!error)
        error = rotor_http_url_resolve(&url, &url, text_of("x"));
    assert_true(error == 0 || (error == UV_ENOMEM && test_alloc_failed() > 0));
    rotor_http_url_fini(&url);
}

static void memory_that_is_short(void **state)
{
    test_out_of_memory(out_of_memory);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(urls_are_read_or_refused),
        TEST(a_nul_is_no_part_of_a_url),
        TEST(what_cannot_be_read_changes_nothing),
        TEST(references_are_resolved),
        TEST(a_url_may_be_its_own_base),
        TEST(origins),
        TEST(memory_that_is_short),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
