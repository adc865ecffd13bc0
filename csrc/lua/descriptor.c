/* What machines written in Lua read and write by themselves: scope:open(), and the io it makes of a
** descriptor or of a file of Lua's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <lualib.h>

#include "lua_private.h"

static const rotor__kind kind_io = {.name = "rotor.io"};

typedef struct io_object {
    rotor__object object;
    rotor__lua_io *io; /* NULL once it is closed */
} io_object;

/* Its uservalue: the file, which so stays for as long as it is watched. */
enum { IO_FILE = 1, IO_USERVALUES = 1 };

struct rotor__lua_io {
    rotor_io io;
    rotor__lua_loop *ll;
    io_object *object;
    int object_ref;
    luaL_Stream *file;    /* NULL: the descriptor is the io's own */
    lua_CFunction closef; /* the file's, in whose place is `on_file_closed` */
    bool was_blocking;
    rotor__lua_io *next, **link; /* among the machine's */
};

enum { USUAL_READ = 8192, MOST_READ = 1 << 30 };

/* -- opening and closing ----------------------------------------------------------------------- */

/* [-0, +0, -] */
static void end(rotor__lua_io *io)
{
    lua_State *D = io->ll->vm->D;
    int fd = io->io.fd;
    rotor_io_close(&io->io);
    if (io->file) {
        io->file->closef = io->closef;
        lua_pushnil(D);
        lua_rawsetp(D, LUA_REGISTRYINDEX, io->file); /* takes no memory, as it was there */
        if (io->was_blocking)
            (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    } else {
        (void)close(fd);
    }
    if ((*io->link = io->next))
        io->next->link = io->link;
    io->object->io = NULL;
    luaL_unref(D, LUA_REGISTRYINDEX, io->object_ref);
}

void rotor__lua_end_ios(rotor__lua_io *first)
{
    while (first) {
        rotor__lua_io *next = first->next;
        end(first);
        first = next;
    }
}

/* [file] The program, or the collector, closes a file that is watched. Not watched any more, it is as
** before; but its closing has begun, which a NULL says. */
static int on_file_closed(lua_State *L)
{
    luaL_Stream *file = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, file);
    rotor__lua_io *io = lua_touserdata(L, -1);
    lua_pop(L, 1);
    lua_CFunction closef = io->closef;
    end(io);
    file->closef = NULL;
    return closef(L);
}

static int check_descriptor(lua_State *L, int index)
{
    int is_integer;
    lua_Integer fd = lua_tointegerx(L, index, &is_integer);
    if (!is_integer)
        luaL_typeerror(L, index, "file or descriptor");
    luaL_argcheck(L, fd >= 0 && fd <= INT_MAX, index, "not a descriptor");
    return (int)fd;
}

/* [-0, +3, m] */
static int fail_to_open(lua_State *L, int error)
{
    const char *why = error == UV_EPERM    ? "it is always ready, as regular files are"
                      : error == UV_EEXIST ? "it is watched already"
                                           : NULL;
    rotor__lua_fail(L, error);
    if (why) {
        lua_pushfstring(L, "%s (%s)", lua_tostring(L, -2), why);
        lua_replace(L, -3);
    }
    return 3;
}

int rotor__lua_open(lua_State *L, int index, rotor__lua_loop *ll, rotor_machine *m,
                    rotor__lua_io **first)
{
    luaL_Stream *file = luaL_testudata(L, index, LUA_FILEHANDLE);
    luaL_argcheck(L, !file || file->closef, index, "a closed file");
    int fd = file ? fileno(file->f) : check_descriptor(L, index);
    if (file && file->closef == on_file_closed)
        return fail_to_open(L, UV_EEXIST);
    io_object *object = rotor__lua_new(L, &kind_io, sizeof *object, IO_USERVALUES);
    if (file) {
        lua_pushvalue(L, index);
        lua_setiuservalue(L, -2, IO_FILE);
        lua_pushboolean(L, 0);
        lua_rawsetp(L, LUA_REGISTRYINDEX, file);
    }
    lua_pushvalue(L, -1);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    bool was_blocking = !(fcntl(fd, F_GETFL) & O_NONBLOCK);
    rotor_io *opened;
    int error = rotor_io_new(&opened, sizeof(rotor__lua_io), m, fd);
    if (error) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        return fail_to_open(L, error);
    }
    rotor__lua_io *io = object->io = (rotor__lua_io *)opened;
    io->ll = ll;
    io->object = object;
    io->object_ref = ref;
    io->was_blocking = was_blocking;
    io->link = first;
    if ((io->next = *first))
        io->next->link = &io->next;
    *first = io;
    if (file) {
        io->file = file;
        io->closef = file->closef;
        file->closef = on_file_closed;
        lua_pushlightuserdata(L, io);
        lua_rawsetp(L, LUA_REGISTRYINDEX, file);
    }
    return 1;
}

void rotor__lua_push_io(lua_State *L, const rotor_io *io)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ((const rotor__lua_io *)io)->object_ref);
}

/* -- the object -------------------------------------------------------------------------------- */

static io_object *check_io(lua_State *L)
{
    return rotor__lua_check(L, 1, &kind_io);
}

/* [-0, +1 or 3, e] want("r" or "w" or "rw" or "") */
static int io_want(lua_State *L)
{
    static const char *const events[] = {"", "r", "w", "rw", NULL};
    const io_object *object = check_io(L);
    unsigned wanted = (unsigned)luaL_checkoption(L, 2, NULL, events);
    return rotor__lua_result(L,
                             object->io ? rotor_io_want(&object->io->io, wanted) : ROTOR_ECLOSED);
}

/* [-0, +1 or 3, e] read([n]): a string of at most n bytes, and at least one */
static int io_read(lua_State *L)
{
    const io_object *object = check_io(L);
    lua_Integer n = luaL_optinteger(L, 2, USUAL_READ);
    luaL_argcheck(L, n > 0 && n <= MOST_READ, 2, "1 to 1073741824 bytes expected");
    luaL_Buffer b;
    char *room = luaL_buffinitsize(L, &b, (size_t)n);
    if (!object->io)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    ssize_t got;
    do
        got = read(object->io->io.fd, room, (size_t)n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return rotor__lua_fail(L, -errno);
    if (got == 0) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: end of file", rotor_err_name(ROTOR_EEOF));
        lua_pushstring(L, rotor_err_name(ROTOR_EEOF));
        return 3;
    }
    luaL_pushresultsize(&b, (size_t)got);
    return 1;
}

/* write(), but without a SIGPIPE, which send() would not raise if told so, but pipes have no send(). */
static ssize_t write_quietly(int fd, const void *data, size_t n)
{
    sigset_t pipe_signal, pending, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ssize_t written;
    do
        written = write(fd, data, n);
    while (written < 0 && errno == EINTR);
    int error = errno;
    if (written < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
        static const struct timespec at_once;
        while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return written;
}

/* [-0, +1 or 3, e] write(data): how many bytes of it were taken */
static int io_write(lua_State *L)
{
    size_t len;
    const io_object *object = check_io(L);
    const char *data = rotor__lua_check_bytes(L, 2, &len);
    if (!object->io)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    ssize_t written = write_quietly(object->io->io.fd, data, len);
    if (written < 0)
        return rotor__lua_fail(L, -errno);
    lua_pushinteger(L, (lua_Integer)written);
    return 1;
}

/* [-0, +1 or 3, e] */
static int io_fd(lua_State *L)
{
    const io_object *object = check_io(L);
    if (!object->io)
        return rotor__lua_fail(L, ROTOR_ECLOSED);
    lua_pushinteger(L, object->io->io.fd);
    return 1;
}

/* [-0, +1 or 3, e] */
static int io_close(lua_State *L)
{
    const io_object *object = check_io(L);
    bool is_open = object->io;
    if (is_open)
        end(object->io);
    return rotor__lua_result(L, is_open ? 0 : ROTOR_ECLOSED);
}

/* [-0, +1, e] */
static int io_tostring(lua_State *L)
{
    const io_object *object = check_io(L);
    if (object->io)
        lua_pushfstring(L, "rotor.io: %d", object->io->io.fd);
    else
        lua_pushliteral(L, "rotor.io (closed)");
    return 1;
}

static const luaL_Reg methods[] = {{"want", io_want}, {"read", io_read},   {"write", io_write},
                                   {"fd", io_fd},     {"close", io_close}, {NULL, NULL}};

static const luaL_Reg meta[] = {{"__tostring", io_tostring}, {NULL, NULL}};

void rotor__lua_open_descriptor(lua_State *L)
{
    rotor__lua_kind(L, &kind_io, methods, meta);
}
