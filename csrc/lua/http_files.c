/* Static files: http.files makes an object that answers requests, also as the handler of a server. */
#include <string.h>

#include "lua_http.h"

static const rotor__kind kind_files = {.name = "rotor.http.files"};

typedef struct files_object {
    rotor__object object;
    rotor_http_files *files; /* NULL: closed */
} files_object;

/* -- making ------------------------------------------------------------------------------------ */

/* [-0, +1, v] The string `name` of the options at `o`, which stays on the stack; NULL, and nil, for
** none. */
static const char *push_string(lua_State *L, int o, const char *name)
{
    size_t len;
    if (lua_isnoneornil(L, o))
        lua_pushnil(L);
    else if (lua_getfield(L, o, name) != LUA_TNIL && lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "option '%s': a string expected, got %s", name, luaL_typename(L, -1));
    const char *s = lua_tolstring(L, -1, &len);
    if (s && strlen(s) != len)
        luaL_error(L, "option '%s': a string without a NUL expected", name);
    return s;
}

/* [-0, +1, v] The same for the value of a header field. */
static const char *push_value(lua_State *L, int o, const char *name)
{
    const char *s = push_string(L, o, name);
    if (s && (!*s || !rotor_http_is_value(s, strlen(s))))
        luaL_error(L, "option '%s': a value of a header field expected, got '%s'", name, s);
    return s;
}

/* [-0, +1, v] The option `index`: a name, or false for none. */
static const char *push_index(lua_State *L, int o)
{
    if (!lua_isnoneornil(L, o) && lua_getfield(L, o, "index") == LUA_TBOOLEAN &&
        !lua_toboolean(L, -1))
        return "";
    if (!lua_isnoneornil(L, o))
        lua_pop(L, 1);
    const char *s = push_string(L, o, "index");
    if (s && (!*s || strchr(s, '/')))
        luaL_error(L, "option 'index': the name of a file, or false, expected, got '%s'", s);
    return s;
}

/* [-0, +0, v] What lua_next() has pushed of the option `types`. */
static rotor_http_mime check_type(lua_State *L)
{
    size_t len[2];
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L,
                   "option 'types': extensions and types as in { md = \"text/markdown\" } "
                   "expected, got a %s for a %s",
                   luaL_typename(L, -1), luaL_typename(L, -2));
    rotor_http_mime m = {lua_tolstring(L, -2, &len[0]), lua_tolstring(L, -1, &len[1])};
    if (len[0] == 0 || strlen(m.extension) != len[0] || strpbrk(m.extension, "./"))
        luaL_error(L, "option 'types': an extension without its dot expected, got '%s'",
                   m.extension);
    if (len[1] == 0 || strlen(m.type) != len[1] || !rotor_http_is_value(m.type, len[1]))
        luaL_error(L, "option 'types': a media type expected for '%s', got '%s'", m.extension,
                   m.type);
    return m;
}

/* [-0, +2, v] The option `types`, and the array made of it; NULL for none. */
static const rotor_http_mime *push_types(lua_State *L, int o)
{
    size_t n = 0;
    if (lua_isnoneornil(L, o))
        lua_pushnil(L);
    else if (lua_getfield(L, o, "types") != LUA_TNIL && lua_type(L, -1) != LUA_TTABLE)
        luaL_error(L, "option 'types': a table expected, got %s", luaL_typename(L, -1));
    if (lua_isnil(L, -1)) {
        lua_pushnil(L);
        return NULL;
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        n++;
    rotor_http_mime *types = lua_newuserdatauv(L, (n + 1) * sizeof *types, 0);
    size_t i = 0;
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1))
        types[i++] = check_type(L);
    types[i] = (rotor_http_mime){NULL, NULL};
    return types;
}

/* [-0, +1 or 3, e] files(root[, options]) */
static int l_files(lua_State *L)
{
    static const char *const known[] = {"prefix",       "index",         "cache_control",
                                        "default_type", "types",         "symlinks",
                                        "dotfiles",     "precompressed", NULL};
    size_t len;
    const char *root = luaL_checklstring(L, 1, &len);
    luaL_argcheck(L, strlen(root) == len, 1, "a path has no NUL in it");
    rotor__lua_check_options(L, 2, known);
    lua_settop(L, 2);
    rotor_http_files_options options = {
        .symlinks = rotor__lua_option_bool(L, 2, "symlinks"),
        .dotfiles = rotor__lua_option_bool(L, 2, "dotfiles"),
        .precompressed = rotor__lua_option_bool(L, 2, "precompressed"),
    };
    options.prefix = push_string(L, 2, "prefix");
    options.index = push_index(L, 2);
    options.cache_control = push_value(L, 2, "cache_control");
    options.default_type = push_value(L, 2, "default_type");
    options.types = push_types(L, 2);
    rotor__lua_check_not_closing(L, rotor__lua_vm(L));
    files_object *object = rotor__lua_new(L, &kind_files, sizeof *object, 0);
    int error = rotor_http_files_new(&object->files, root, &options);
    if (error == UV_EINVAL && options.prefix)
        return luaL_error(L, "option 'prefix': a path as in '/static' expected, got '%s'",
                          options.prefix);
    if (error == UV_EINVAL)
        return luaL_error(L, "option 'index': the name of a file expected, got '%s'",
                          options.index);
    if (!error)
        return 1;
    rotor__lua_fail(L, error);
    lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), root);
    lua_replace(L, -3);
    return 3;
}

/* -- answering --------------------------------------------------------------------------------- */

/* [-0, +0, e] Try to answer with the file that is meant by what begins at `a`: request, response[, name]. */
static int try_to(lua_State *L, const files_object *object, int a, rotor_http **h)
{
    size_t len;
    (void)rotor__lua_check_request(L, a);
    *h = rotor__lua_check_response(L, a + 1);
    const char *name = luaL_optlstring(L, a + 2, NULL, &len);
    luaL_argcheck(L, !name || strlen(name) == len, a + 2, "a name has no NUL in it");
    if (!object->files)
        return luaL_error(L, "the files are closed");
    return *h ? rotor_http_files_try(object->files, *h, name) : ROTOR_ECLOSED;
}

static int answered_before(lua_State *L)
{
    return luaL_error(L, "the request was answered before; it is answered once");
}

/* [-0, +1 or 3, e] try(req, res[, name]): true; or why there is nothing to answer with */
static int files_try(lua_State *L)
{
    rotor_http *h;
    int error = try_to(L, rotor__lua_check(L, 1, &kind_files), 2, &h);
    return error == ROTOR_ESTATE ? answered_before(L) : rotor__lua_result(L, error);
}

static int refuse(rotor_http *h, int status)
{
    char text[64];
    lua_Integer n = snprintf(text, sizeof text, "%d %s\n", status, rotor_http_reason(status));
    int error = status == 405 ? rotor_http_add_text(h, "Allow", "GET, HEAD") : 0;
    if (!error)
        error = rotor_http_add_text(h, "Content-Type", "text/plain");
    return error ? error : rotor_http_send(h, status, (rotor_text){text, (size_t)n});
}

/* [-0, +1 or 3, e] files(req, res[, name]): answer, be it that there is no such file */
static int files_call(lua_State *L)
{
    const files_object *object = rotor__lua_check(L, 1, &kind_files);
    rotor_http *h;
    lua_settop(L, 4);
    lua_rotate(L, 1, -1); /* so that arguments are counted as the caller does */
    int error = try_to(L, object, 1, &h);
    if (error == ROTOR_ESTATE)
        return answered_before(L);
    if (error && error != ROTOR_ECLOSED) {
        int status = rotor_http_files_status(error);
        if (status == 500) /* a handler that throws is answered with that, and reported */
            return luaL_error(L, "%s: %s", rotor_err_name(error), rotor_strerror(error));
        error = refuse(h, status);
    }
    return rotor__lua_result(L, error);
}

/* [-0, +0, v] close(), and whatever else ends it */
static int files_close(lua_State *L)
{
    files_object *object = rotor__lua_check(L, 1, &kind_files);
    rotor_http_files_free(object->files);
    object->files = NULL;
    return 0;
}

static const luaL_Reg methods[] = {{"try", files_try}, {"close", files_close}, {NULL, NULL}};
static const luaL_Reg meta[] = {
    {"__call", files_call}, {"__close", files_close}, {"__gc", files_close}, {NULL, NULL}};

void rotor__lua_open_files(lua_State *L)
{
    rotor__lua_kind(L, &kind_files, methods, meta);
    lua_pushcfunction(L, l_files);
    lua_setfield(L, -2, "files");
}
