/* Media types: every extension there is, in every case, and names that have none. */
#include "test.h"

#include <ctype.h>

#include "../http/message.h"
#include "../http/mime.h"
#include "support.h"

static const char *type_of(const char *name)
{
    return rotor_http_mime_type(name, strlen(name));
}

static const struct {
    const char *name, *type;
} names[] = {
    {"index.html", "text/html; charset=utf-8"},
    {"index.htm", "text/html; charset=utf-8"},
    {"/a/b.c/style.css", "text/css; charset=utf-8"},
    {"app.js", "text/javascript; charset=utf-8"},
    {"app.mjs", "text/javascript; charset=utf-8"},
    {"app.min.js", "text/javascript; charset=utf-8"},
    {"app.js.map", "application/json"},
    {"a.json", "application/json"},
    {"a.txt", "text/plain; charset=utf-8"},
    {"README.md", "text/markdown; charset=utf-8"},
    {"a.svg", "image/svg+xml"},
    {"a.png", "image/png"},
    {"a.jpg", "image/jpeg"},
    {"a.jpeg", "image/jpeg"},
    {"A.JPG", "image/jpeg"},
    {"A.JpEg", "image/jpeg"},
    {"a.gif", "image/gif"},
    {"a.webp", "image/webp"},
    {"a.avif", "image/avif"},
    {"favicon.ico", "image/vnd.microsoft.icon"},
    {"a.woff", "font/woff"},
    {"a.woff2", "font/woff2"},
    {"a.wasm", "application/wasm"},
    {"a.pdf", "application/pdf"},
    {"a.mp4", "video/mp4"},
    {"a.webm", "video/webm"},
    {"a.mp3", "audio/mpeg"},
    {"a.xml", "application/xml"},
    {"a.tar.gz", "application/gzip"},
    {"a.zip", "application/zip"},
    {"site.webmanifest", "application/manifest+json"},
    {".config.json", "application/json"},
    {"a..txt", "text/plain; charset=utf-8"},
    {"3.3gp", "video/3gpp"},
    {"z.zst", "application/zstd"},
};

static const char *const nameless[] = {
    "",
    "a",
    ".",
    "..",
    "/",
    "a.",
    "a.txt.",
    ".html",
    "/.css",
    "a/.js",
    "txt",
    "a.unknown",
    "a.txt/",
    "a.txt/b",
    "a.tx",
    "a.txtt",
    "a. txt",
    "a.txt ",
    "a.html5678901234",
    "a.html567890123456789012345",
    "a.\xff",
    "a.-",
};

/* As the table has them. */
static const char extensions[] =
    "3gp 7z aac apng atom avif bin bmp br bz2 c cer cjs conf crl css csv deb doc docx eot epub "
    "flac "
    "geojson gif glb gltf gz h heic htm html ico ics jar jpe jpeg jpg js json jsonld jxl log lua "
    "m3u8 m4a m4v map markdown md mid mjs mkv mov mp3 mp4 mpd mpeg mpg odp ods odt oga ogg ogv "
    "opus "
    "otf pdf png ppt pptx ps rss rtf svg tar tif tiff toml ts ttc ttf txt vtt wasm wav weba webm "
    "webmanifest webp woff woff2 xhtml xls xlsx xml xsl xz yaml yml zip zst";

static void types_by_name(void **state)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *type = type_of(names[i].name);
        if (!type || strcmp(type, names[i].type) != 0)
            fail_msg("%s: %s", names[i].name, type ? type : "none");
    }
    for (size_t i = 0; i < sizeof nameless / sizeof *nameless; i++) {
        if (type_of(nameless[i]))
            fail_msg("%s: %s", nameless[i], type_of(nameless[i]));
    }
    assert_null(rotor_http_mime_type("a.js\0n", 6));
    assert_null(rotor_http_mime_type("a.js\0", 5));
    assert_string_equal(rotor_http_mime_type("a.json", 4), "text/javascript; charset=utf-8");
}

static void every_extension_is_found(void **state)
{
    int n = 0;
    for (const char *p = extensions; *p; n++) {
        char name[32] = "x.", upper[32] = "x.";
        size_t len = strcspn(p, " ");
        memcpy(name + 2, p, len);
        for (size_t i = 0; i < len; i++)
            upper[2 + i] = (char)toupper((unsigned char)p[i]);
        const char *type = type_of(name);
        if (!type)
            fail_msg("%s", name);
        assert_ptr_equal(type_of(upper), type);
        assert_true(rotor_http_is_value(type, strlen(type)));
        assert_non_null(strchr(type, '/'));
        p += len + (p[len] == ' ');
    }
    assert_true(n >= 80);
}

static void extensions_of_paths(void **state)
{
    size_t n = 99;
    const char *name = "/a.b/c.tar.gz";
    assert_ptr_equal(rotor_http_extension(name, strlen(name), &n), name + 11);
    assert_int_equal(n, 2);
    assert_ptr_equal(rotor_http_extension(name, 10, &n), name + 7);
    assert_int_equal(n, 3);
    assert_null(rotor_http_extension(name, 6, &n));
    assert_int_equal(n, 0);
    assert_null(rotor_http_extension("a.", 2, &n));
    assert_int_equal(n, 0);
    assert_null(rotor_http_extension(NULL, 0, &n));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(types_by_name),
        TEST(every_extension_is_found),
        TEST(extensions_of_paths),
    };
    return cmocka_run_group_tests_name("mime", tests, NULL, NULL);
}
