/* Answering requests with files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conditions.h"
#include "files_private.h"
#include "private.h"

enum { AT_ONCE = 16384, ETAG_SIZE = 48, RANGE_SIZE = 72 };

static inline rotor_text text_of(const char *s)
{
    return (rotor_text){s, strlen(s)};
}

static bool is_method(const rotor_http *h, const char *method)
{
    rotor_text sent = rotor_http_method(h);
    return sent.len == strlen(method) && memcmp(sent.data, method, sent.len) == 0;
}

/* -- finding the file -------------------------------------------------------------------------- */

/* A file that is open. */
typedef struct subject {
    int fd;
    struct stat st;
    const char *type;
    const rotor__coding *coding; /* NULL: none */
} subject;

static int append(char name[ROTOR__NAME_SIZE], const char *text)
{
    size_t len = strlen(name), n = strlen(text);
    if (len + n >= ROTOR__NAME_SIZE)
        return UV_ENAMETOOLONG;
    memcpy(name + len, text, n + 1);
    return 0;
}

static int open_file(const rotor_http_files *files, const char *name, subject *s)
{
    int error = 0;
    s->fd = rotor__open_beneath(files->root, name, files->how);
    if (s->fd < 0)
        return s->fd;
    if (fstat(s->fd, &s->st))
        error = -errno;
    else if (S_ISDIR(s->st.st_mode))
        error = UV_EISDIR;
    else if (!S_ISREG(s->st.st_mode))
        error = UV_ENOENT;
    if (error)
        close(s->fd);
    return error;
}

/* The name beneath the root that the request's path stands for. 0; UV_EISDIR: it is the prefix without
** its slash; or another error. */
static int name_by_path(const rotor_http_files *files, const rotor_http *h, char *name)
{
    size_t n = files->prefix_len;
    ssize_t got = rotor__file_name(name, rotor_http_path(h), files->rules | ROTOR__NAME_ENCODED);
    if (got < 0)
        return (int)got;
    size_t len = (size_t)got;
    if (n > 0 && len == n - 1 && memcmp(name, files->prefix, len) == 0)
        return UV_EISDIR;
    if (len < n || memcmp(name, files->prefix, n) != 0)
        return UV_ENOENT;
    memmove(name, name + n, len - n + 1);
    return 0;
}

static int open_index(const rotor_http_files *files, char name[ROTOR__NAME_SIZE], subject *s)
{
    int error = files->index[0] ? append(name, files->index) : UV_ENOENT;
    if (!error)
        error = open_file(files, name, s);
    return error == UV_EISDIR ? UV_ENOENT : error;
}

/* Find and open what is asked for, and say by what name. 0; UV_EISDIR: the request's path lacks the slash
** of a folder that has an index, perhaps; or another error. */
static int find(const rotor_http_files *files, const rotor_http *h, const char *given,
                char name[ROTOR__NAME_SIZE], subject *s)
{
    int error = given ? (int)rotor__file_name(name, text_of(given), files->rules)
                      : name_by_path(files, h, name);
    if (error >= 0 && (!name[0] || name[strlen(name) - 1] == '/'))
        return open_index(files, name, s);
    if (error >= 0)
        error = open_file(files, name, s);
    if (error != UV_EISDIR)
        return error;
    rotor_text path = rotor_http_path(h);
    if (path.data[path.len - 1] != '/')
        return files->index[0] ? UV_EISDIR : UV_ENOENT;
    /* The request's path has the slash, but the name does not that the program gave for it. */
    error = append(name, "/");
    return error ? error : open_index(files, name, s);
}

static const char *type_of(const rotor_http_files *files, const char *name)
{
    size_t n;
    const char *extension = rotor_http_extension(name, strlen(name), &n);
    for (const rotor_http_mime *t = files->types; extension && t->extension; t++) {
        if (strlen(t->extension) == n && rotor_http_name_equal(t->extension, extension, n))
            return t->type;
    }
    const char *type = rotor_http_mime_type(name, strlen(name));
    return type ? type : files->default_type;
}

static bool is_older(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec ? a->st_mtim.tv_sec < b->st_mtim.tv_sec
                                                  : a->st_mtim.tv_nsec < b->st_mtim.tv_nsec;
}

/* Take the file that has the same compressed, if the client prefers it. */
static void prefer_compressed(const rotor_http_files *files, const rotor_http *h,
                              char name[ROTOR__NAME_SIZE], subject *s)
{
    rotor__accepted accepted = ROTOR__ACCEPTED_INIT;
    rotor_text field, value;
    for (size_t i = 0; rotor_http_header_at(h, i, &field, &value); i++) {
        if (field.len == 15 && rotor_http_name_equal(field.data, "accept-encoding", 15))
            rotor__accept_encoding(&accepted, value);
    }
    size_t len = strlen(name);
    for (int i; (i = rotor__best_coding(&accepted)) >= 0; name[len] = '\0') {
        subject other = {.type = s->type, .coding = &rotor__codings[i]};
        if (append(name, other.coding->suffix) || open_file(files, name, &other))
            continue;
        bool is_stale = is_older(&other.st, &s->st);
        close(is_stale ? other.fd : s->fd);
        if (!is_stale) {
            *s = other;
            return;
        }
    }
}

/* -- what is said of it ------------------------------------------------------------------------ */

/* One number of two, so that neither can be told from it: the finalizer of SplitMix64. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + b + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void make_etag(char etag[ETAG_SIZE], const struct stat *st)
{
    uint64_t sum = mix((uint64_t)st->st_mtim.tv_sec, 0);
    sum = mix(sum, (uint64_t)st->st_mtim.tv_nsec);
    sum = mix(sum, (uint64_t)st->st_ino);
    snprintf(etag, ETAG_SIZE, "\"%llx-%016llx\"", (unsigned long long)st->st_size,
             (unsigned long long)sum);
}

/* Not later than now (RFC 9110 section 8.8.2.1), nor before dates begin. */
static int64_t modified_at(const struct stat *st, uint64_t wall_ms)
{
    int64_t now = (int64_t)(wall_ms / 1000);
    int64_t then = (int64_t)st->st_mtim.tv_sec;
    return then < 0 ? 0 : then < now ? then : now;
}

typedef struct field {
    const char *name, *value; /* value NULL: none */
} field;

/* Add those that have a value, up to one without a name. 0 or an error. */
static int add(rotor_http *h, const field *fields)
{
    int error = 0;
    for (; fields->name && !error; fields++) {
        if (fields->value)
            error = rotor_http_add(h, text_of(fields->name), text_of(fields->value));
    }
    return error;
}

/* -- sending ----------------------------------------------------------------------------------- */

/* An answer that is no file. */
static int reply(rotor_http *h, int status, const field *fields)
{
    char text[64];
    snprintf(text, sizeof text, "%d %s\n", status, rotor_http_reason(status));
    int error = add(h, fields);
    if (!error)
        error = rotor_http_add_text(h, "Content-Type", "text/plain");
    return error ? error : rotor_http_send(h, status, text_of(text));
}

static bool needs_escape(char c)
{
    return strchr("\"<>\\^`{|}", c) != NULL;
}

/* To the folder's name with its slash: relative to the request's URL, so that it holds behind a proxy, too,
** that has taken something off the path. */
static int redirect(rotor_http *h)
{
    rotor_text path = rotor_http_path(h), query = rotor_http_query(h);
    const char *end = path.data + path.len, *segment = end;
    while (segment > path.data && segment[-1] != '/')
        segment--;
    char *location = rotor_alloc(3 * (size_t)(end - segment) + query.len + 8), *p = location;
    if (!location)
        return UV_ENOMEM;
    p = stpcpy(p, "./");
    for (; segment < end; segment++)
        p += sprintf(p, needs_escape(*segment) ? "%%%02X" : "%c", (unsigned char)*segment);
    p = stpcpy(p, "/");
    if (query.data) {
        *p++ = '?';
        memcpy(p, query.data, query.len);
        p += query.len;
    }
    *p = '\0';
    int error = reply(h, 301, (field[]){{"Location", location}, {NULL, NULL}});
    rotor_free(location);
    return error;
}

/* ROTOR_ETRUNCATED: there is less of it than there was. */
static int read_part(int fd, char *to, size_t n, uint64_t from)
{
    while (n > 0) {
        ssize_t got = pread(fd, to, n, (off_t)from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : ROTOR_ETRUNCATED;
        to += got;
        from += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

static int send_small(rotor_http *h, int status, int fd, rotor_http_range part)
{
    char body[AT_ONCE];
    int error = read_part(fd, body, (size_t)part.length, part.first);
    close(fd);
    return error ? error : rotor_http_send(h, status, (rotor_text){body, (size_t)part.length});
}

/* Answer with what is open, which it closes, by what the request says of it. */
static int respond(const rotor_http_files *files, rotor_http *h, const subject *s)
{
    char etag[ETAG_SIZE], date[ROTOR_HTTP_DATE_SIZE], range[RANGE_SIZE];
    uint64_t size = (uint64_t)s->st.st_size, now = rotor_loop_wall(h->stream.machine.loop);
    make_etag(etag, &s->st);
    rotor_http_conditions c = {.etag = text_of(etag),
                               .has_modified = true,
                               .modified = modified_at(&s->st, now),
                               .wall_ms = now};
    rotor_text name, value;
    for (size_t i = 0; rotor_http_header_at(h, i, &name, &value); i++)
        rotor_http_conditions_add(&c, name, value);
    rotor_http_range part = {0, size};
    int status = rotor_http_conditions_judge(&c, rotor_http_method(h), size, &part);
    if (status == 416)
        snprintf(range, sizeof range, "bytes */%llu", (unsigned long long)size);
    else
        snprintf(range, sizeof range, "bytes %llu-%llu/%llu", (unsigned long long)part.first,
                 (unsigned long long)(part.first + part.length - 1), (unsigned long long)size);
    if (status == 412 || status == 416) {
        close(s->fd);
        return reply(h, status,
                     (field[]){{"Content-Range", status == 416 ? range : NULL}, {NULL, NULL}});
    }
    rotor_http_format_date(date, (uint64_t)c.modified * 1000);
    bool full = status != 304; /* RFC 9110 section 15.4.5 */
    int error = add(h, (field[]){{"Content-Type", full ? s->type : NULL},
                                 {"Content-Encoding", full && s->coding ? s->coding->name : NULL},
                                 {"Content-Range", status == 206 ? range : NULL},
                                 {"Accept-Ranges", full ? "bytes" : NULL},
                                 {"Last-Modified", full ? date : NULL},
                                 {"ETag", etag},
                                 {"Cache-Control", files->cache_control},
                                 {"Vary", files->precompressed ? "Accept-Encoding" : NULL},
                                 {NULL, NULL}});
    if (error || status == 304) {
        close(s->fd);
        return error ? error : rotor_http_send(h, status, (rotor_text){NULL, 0});
    }
    if (part.length <= AT_ONCE && !is_method(h, "HEAD"))
        return send_small(h, status, s->fd, part);
    return rotor_http_send_file(h, status, s->fd, part.first, part.length);
}

int rotor_http_files_try(const rotor_http_files *files, rotor_http *h, const char *given)
{
    char name[ROTOR__NAME_SIZE];
    subject s = {.coding = NULL};
    rotor_buf *headers = &h->exchange->response.headers;
    size_t before = rotor_buf_len(headers);
    if (!is_method(h, "GET") && !is_method(h, "HEAD"))
        return ROTOR_HTTP_EREADONLY;
    int error = find(files, h, given, name, &s);
    if (error == UV_EISDIR) {
        error = redirect(h);
    } else if (!error) {
        s.type = type_of(files, name);
        if (files->precompressed)
            prefer_compressed(files, h, name, &s);
        error = respond(files, h, &s);
    }
    if (error) /* whatever is answered, it is not with what has been said of the file */
        rotor_buf_truncate(headers, before);
    return error;
}

int rotor_http_files_status(int error)
{
    switch (error) {
    case UV_ENOENT:
    case UV_ENOTDIR:
    case UV_ENAMETOOLONG:
    case UV_ELOOP:
    case UV_EXDEV:
    case UV_ENXIO:
    case UV_ENODEV:
        return 404;
    case UV_EACCES:
    case UV_EPERM:
        return 403;
    case ROTOR_HTTP_EREADONLY:
        return 405;
    case UV_EMFILE:
    case UV_ENFILE:
    case UV_ENOMEM:
    case UV_EAGAIN:
    case ROTOR_ETRUNCATED:
        return 503;
    default:
        return 500;
    }
}

rotor_response rotor_http_files_send(const rotor_http_files *files, rotor_http *h,
                                     rotor_scope *scope, const char *name)
{
    const rotor_http_handler *handler = rotor_http__server(h)->handler;
    int error = rotor_http_files_try(files, h, name);
    int status = rotor_http_files_status(error);
    if (!error || status == 500)
        return error ? rotor_error(error) : rotor_done();
    error = status == 405 ? rotor_http_add_text(h, "Allow", "GET, HEAD") : 0;
    if (!error && handler->error_page)
        handler->error_page(h, scope, status, NULL);
    if (!error && !rotor_http_is_started(h))
        error = reply(h, status, (field[]){{NULL, NULL}});
    return error ? rotor_error(error) : rotor_done();
}
