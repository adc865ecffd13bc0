#include "files_site.h"

#include "../http/files_private.h"
#include "test.h"

rotor_response site_received(rotor_http *h, rotor_scope *scope)
{
    site *s = web_of(h)->context;
    if (!s->tries)
        return rotor_http_files_send(s->files, h, scope, s->name);
    int error = rotor_http_files_try(s->files, h, s->name);
    if (error)
        error = rotor_http_send_text(h, 299, rotor_err_name(error));
    return error ? rotor_error(error) : rotor_done();
}

void site_begin(site *s)
{
    folder_make(&s->folder);
    folder_folder(&s->folder, "root");
}

void site_open(site *s)
{
    if (!s->web.received)
        s->web.received = site_received;
    s->web.context = s;
    assert_int_equal(rotor_http_files_new(&s->files, folder_path(&s->folder, "root"), &s->options),
                     0);
    if (s->walks)
        s->files->how |= ROTOR__OPEN_WALK;
    assert_int_equal(web_open(&s->web), 0);
    assert_int_equal(web_connect(&s->web), 0);
}

void site_close(site *s)
{
    rotor_http_files_free(s->files);
    web_close(&s->web);
    folder_remove(&s->folder);
}

const char *site_ask(site *s, const char *method, const char *path, const char *fields)
{
    static char text[1 << 15];
    int n = snprintf(text, sizeof text, "%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, path,
                     fields ? fields : "");
    assert_in_range(n, 1, sizeof text - 1);
    web_send_bytes(&s->web, text, (size_t)n);
    return web_received(&s->web);
}

const char *site_get(site *s, const char *path, const char *fields)
{
    return site_ask(s, "GET", path, fields);
}

int site_status(const char *answer)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %3d ", &status), 1);
    return status;
}

const char *site_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

const char *site_field(const char *answer, const char *name)
{
    static char values[4][4096];
    static unsigned which;
    const char *end = site_body(answer);
    size_t len = strlen(name);
    for (const char *line = strstr(answer, "\r\n") + 2; line < end;
         line = strstr(line, "\r\n") + 2) {
        if (strncmp(line, name, len) != 0 || strncmp(line + len, ": ", 2) != 0)
            continue;
        char *value = values[which++ % 4];
        line += len + 2;
        snprintf(value, sizeof *values, "%.*s", (int)(strstr(line, "\r\n") - line), line);
        return value;
    }
    return NULL;
}

void site_gives(site *s, const char *path, const char *fields, int status, const char *body)
{
    const char *answer = site_get(s, path, fields);
    if (site_status(answer) != status || (body && strcmp(site_body(answer), body) != 0))
        fail_msg("%s\n%s: %s", path, fields ? fields : "", answer);
}

void site_has(const char *answer, const char *name, const char *expected)
{
    const char *value = site_field(answer, name);
    if (expected ? !value || strcmp(value, expected) != 0 : value != NULL)
        fail_msg("%s: %s, not %s, in %s", name, value ? value : "none",
                 expected ? expected : "none", answer);
}

/* -- what there is to be found ------------------------------------------------------------------ */

void site_fill(site *s)
{
    const folder *f = &s->folder;
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

void site_open_filled(site *s)
{
    site_begin(s);
    site_fill(s);
    site_open(s);
}
