/* A folder that is served: its root and its settings. See files_send.c for what is done with them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "../core/alloc.h"
#include "files_private.h"

static bool is_field_value(const char *text)
{
    return rotor_http_is_value(text, strlen(text));
}

static bool is_segment(const char *text)
{
    char name[ROTOR__NAME_SIZE];
    rotor_text path = {text, strlen(text)};
    return !strchr(text, '/') && rotor__file_name(name, path, ROTOR__NAME_DOTS) >= 0;
}

/* The prefix as names have it: without the slash in front, and with one behind. False: it is none. */
static bool set_prefix(char prefix[ROTOR__NAME_SIZE], const char *given)
{
    prefix[0] = '\0';
    if (!given)
        return true;
    ssize_t len = rotor__file_name(prefix, (rotor_text){given, strlen(given)}, ROTOR__NAME_DOTS);
    if (len < 0 || given[0] != '/' || len + 1 == ROTOR__NAME_SIZE)
        return false;
    if (len > 0 && prefix[len - 1] != '/')
        memcpy(prefix + len, "/", 2);
    return true;
}

static int check_types(const rotor_http_mime *types)
{
    for (const rotor_http_mime *t = types; t && t->extension; t++) {
        if (!t->extension[0] || strpbrk(t->extension, "./"))
            return UV_EINVAL;
        if (!t->type || !t->type[0] || !is_field_value(t->type))
            return ROTOR_EHEADER;
    }
    return 0;
}

/* -- copying ----------------------------------------------------------------------------------- */

static size_t size_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *copy(char **room, const char *text)
{
    size_t size = size_of(text);
    char *start = *room;
    if (size > 0)
        memcpy(start, text, size);
    *room += size;
    return text ? start : NULL;
}

/* The settings, with all that they point to in one block. NULL: no memory. */
static rotor_http_files *copy_all(const rotor_http_files *f)
{
    size_t n = 0;
    size_t size = size_of(f->prefix) + size_of(f->index) + size_of(f->cache_control) +
                  size_of(f->default_type);
    for (; f->types && f->types[n].extension; n++)
        size += size_of(f->types[n].extension) + size_of(f->types[n].type);
    rotor_http_files *files = rotor_alloc(sizeof *files + (n + 1) * sizeof *f->types + size);
    if (!files)
        return NULL;
    *files = *f;
    rotor_http_mime *types = (rotor_http_mime *)(files + 1);
    char *room = (char *)(types + n + 1);
    files->prefix = copy(&room, f->prefix);
    files->index = copy(&room, f->index);
    files->cache_control = copy(&room, f->cache_control);
    files->default_type = copy(&room, f->default_type);
    for (size_t i = 0; i < n; i++) {
        types[i].extension = copy(&room, f->types[i].extension);
        types[i].type = copy(&room, f->types[i].type);
    }
    types[n] = (rotor_http_mime){NULL, NULL};
    files->types = types;
    return files;
}

/* ---------------------------------------------------------------------------------------------- */

static int open_root(const char *root)
{
    int fd;
    do
        fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd >= 0 ? fd : -errno;
}

int rotor_http_files_new(rotor_http_files **files, const char *root,
                         const rotor_http_files_options *given)
{
    rotor_http_files_options options = {0};
    char prefix[ROTOR__NAME_SIZE];
    *files = NULL;
    if (given)
        options = *given;
    rotor_http_files f = {
        .rules = options.dotfiles ? ROTOR__NAME_DOTS : 0,
        .precompressed = options.precompressed,
        .prefix = prefix,
        .index = options.index ? options.index : "index.html",
        .cache_control = options.cache_control,
        .default_type = options.default_type ? options.default_type : "application/octet-stream",
        .types = options.types,
    };
    if (!set_prefix(prefix, options.prefix) || !is_segment(f.index))
        return UV_EINVAL;
    f.prefix_len = strlen(prefix);
    int error = check_types(f.types);
    if (error)
        return error;
    if (!f.default_type[0] || !is_field_value(f.default_type) ||
        (f.cache_control && !is_field_value(f.cache_control)))
        return ROTOR_EHEADER;
    f.root = open_root(root);
    if (f.root < 0)
        return f.root;
    f.how = rotor__open_how(f.root, options.symlinks);
    *files = copy_all(&f);
    if (!*files)
        close(f.root);
    return *files ? 0 : UV_ENOMEM;
}

void rotor_http_files_free(rotor_http_files *files)
{
    if (!files)
        return;
    close(files->root);
    rotor_free(files);
}
