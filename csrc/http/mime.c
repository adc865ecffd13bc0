/* The table of media types. */
#include <stdlib.h>
#include <string.h>

#include "mime.h"

#define UTF8 "; charset=utf-8"

/* In the order of strcmp(). */
static const rotor_http_mime table[] = {
    {"3gp", "video/3gpp"},
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apng", "image/apng"},
    {"atom", "application/atom+xml"},
    {"avif", "image/avif"},
    {"bin", "application/octet-stream"},
    {"bmp", "image/bmp"},
    {"br", "application/octet-stream"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/plain" UTF8},
    {"cer", "application/pkix-cert"},
    {"cjs", "text/javascript" UTF8},
    {"conf", "text/plain" UTF8},
    {"crl", "application/pkix-crl"},
    {"css", "text/css" UTF8},
    {"csv", "text/csv" UTF8},
    {"deb", "application/vnd.debian.binary-package"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eot", "application/vnd.ms-fontobject"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"geojson", "application/geo+json"},
    {"gif", "image/gif"},
    {"glb", "model/gltf-binary"},
    {"gltf", "model/gltf+json"},
    {"gz", "application/gzip"},
    {"h", "text/plain" UTF8},
    {"heic", "image/heic"},
    {"htm", "text/html" UTF8},
    {"html", "text/html" UTF8},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar" UTF8},
    {"jar", "application/java-archive"},
    {"jpe", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript" UTF8},
    {"json", "application/json"},
    {"jsonld", "application/ld+json"},
    {"jxl", "image/jxl"},
    {"log", "text/plain" UTF8},
    {"lua", "text/plain" UTF8},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"map", "application/json"},
    {"markdown", "text/markdown" UTF8},
    {"md", "text/markdown" UTF8},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript" UTF8},
    {"mkv", "video/matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpd", "application/dash+xml"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"ts", "video/mp2t"},
    {"ttc", "font/collection"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain" UTF8},
    {"vtt", "text/vtt" UTF8},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"weba", "audio/webm"},
    {"webm", "video/webm"},
    {"webmanifest", "application/manifest+json"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xsl", "application/xslt+xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

enum { LONGEST = 16 }; /* more than any extension in the table */

const char *rotor_http_extension(const char *name, size_t len, size_t *ext_len)
{
    for (size_t i = len; i-- > 1 && name[i] != '/';) {
        if (name[i] == '.' && name[i - 1] != '/') {
            *ext_len = len - i - 1;
            return *ext_len > 0 ? name + i + 1 : NULL;
        }
    }
    *ext_len = 0;
    return NULL;
}

static int compare(const void *key, const void *entry)
{
    return strcmp(key, ((const rotor_http_mime *)entry)->extension);
}

const char *rotor_http_mime_type(const char *name, size_t len)
{
    char lower[LONGEST];
    size_t n;
    const char *extension = rotor_http_extension(name, len, &n);
    if (!extension || n >= sizeof lower || memchr(extension, '\0', n))
        return NULL;
    for (size_t i = 0; i < n; i++)
        lower[i] = extension[i] >= 'A' && extension[i] <= 'Z' ? (char)(extension[i] + ('a' - 'A'))
                                                              : extension[i];
    lower[n] = '\0';
    const rotor_http_mime *found =
        bsearch(lower, table, sizeof table / sizeof *table, sizeof *table, compare);
    return found ? found->type : NULL;
}
