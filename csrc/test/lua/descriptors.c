/* Descriptors of each sort for the specs, as integers, and what is to be asked of them. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static int check(lua_State *L, int result)
{
    if (result < 0)
        luaL_error(L, "%s", strerror(errno));
    return result;
}

static int check_fd(lua_State *L)
{
    return (int)luaL_checkinteger(L, 1);
}

/* [-0, +2, e] the ends to read from and to write to */
static int l_pipe(lua_State *L)
{
    int fds[2];
    check(L, pipe2(fds, O_CLOEXEC));
    lua_pushinteger(L, fds[0]);
    lua_pushinteger(L, fds[1]);
    return 2;
}

/* [-0, +0, e] mkfifo(path) */
static int l_mkfifo(lua_State *L)
{
    check(L, mkfifo(luaL_checkstring(L, 1), 0600));
    return 0;
}

/* [-0, +1, e] open(path), to read */
static int l_open(lua_State *L)
{
    lua_pushinteger(L, check(L, open(luaL_checkstring(L, 1), O_RDONLY | O_CLOEXEC)));
    return 1;
}

/* [-0, +1, e] eventfd(count) */
static int l_eventfd(lua_State *L)
{
    lua_pushinteger(L, check(L, eventfd((unsigned)luaL_checkinteger(L, 1), EFD_CLOEXEC)));
    return 1;
}

/* [-0, +1, e] inotify(folder): tells of files that are made and removed there */
static int l_inotify(lua_State *L)
{
    int fd = check(L, inotify_init1(IN_CLOEXEC));
    check(L, inotify_add_watch(fd, luaL_checkstring(L, 1), IN_CREATE | IN_DELETE));
    lua_pushinteger(L, fd);
    return 1;
}

/* [-0, +1, e] names(bytes): what inotify has told, as a text: "+a -a" */
static int l_names(lua_State *L)
{
    size_t len;
    const char *at = luaL_checklstring(L, 1, &len), *end = at + len;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (at < end) {
        struct inotify_event event;
        memcpy(&event, at, sizeof event);
        luaL_addstring(&b, luaL_bufflen(&b) > 0 ? " " : "");
        luaL_addstring(&b, event.mask & IN_CREATE ? "+" : "-");
        luaL_addstring(&b, at + sizeof event);
        at += sizeof event + event.len;
    }
    luaL_pushresult(&b);
    return 1;
}

/* [-0, +2, e] a pty: the descriptors of the side of the program, and of the terminal */
static int l_pty(lua_State *L)
{
    int master = check(L, posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    check(L, grantpt(master));
    check(L, unlockpt(master));
    lua_pushinteger(L, master);
    lua_pushinteger(L, check(L, open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC)));
    return 2;
}

/* [-0, +1, e] read(fd, n) */
static int l_read(lua_State *L)
{
    char buffer[256];
    size_t n = (size_t)luaL_checkinteger(L, 2);
    luaL_argcheck(L, n <= sizeof buffer, 2, "too many");
    lua_pushlstring(L, buffer, (size_t)check(L, (int)read(check_fd(L), buffer, n)));
    return 1;
}

/* [-0, +0, e] write(fd, bytes) */
static int l_write(lua_State *L)
{
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    if (check(L, (int)write(check_fd(L), bytes, len)) != (int)len)
        luaL_error(L, "not all was written");
    return 0;
}

/* [-0, +0, e] close(fd) */
static int l_close(lua_State *L)
{
    check(L, close(check_fd(L)));
    return 0;
}

/* [-0, +1, e] is_open(fd) */
static int l_is_open(lua_State *L)
{
    lua_pushboolean(L, fcntl(check_fd(L), F_GETFD) >= 0);
    return 1;
}

/* [-0, +1, e] is_blocking(fd) */
static int l_is_blocking(lua_State *L)
{
    lua_pushboolean(L, !(check(L, fcntl(check_fd(L), F_GETFL)) & O_NONBLOCK));
    return 1;
}

/* [-0, +1, e] fileno(file) */
static int l_fileno(lua_State *L)
{
    const luaL_Stream *file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    lua_pushinteger(L, fileno(file->f));
    return 1;
}

int luaopen_descriptors(lua_State *L);
int luaopen_descriptors(lua_State *L)
{
    static const luaL_Reg functions[] = {{"pipe", l_pipe},       {"mkfifo", l_mkfifo},
                                         {"open", l_open},       {"eventfd", l_eventfd},
                                         {"inotify", l_inotify}, {"names", l_names},
                                         {"pty", l_pty},         {"read", l_read},
                                         {"write", l_write},     {"close", l_close},
                                         {"is_open", l_is_open}, {"is_blocking", l_is_blocking},
                                         {"fileno", l_fileno},   {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
