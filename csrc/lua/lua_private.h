/* What the files of the Lua module share.
**
** Transitions written in Lua run on a thread (a coroutine) of their own, `vm->D`, never on the thread
** that called rotor.run(). Its stack is empty between calls, so a program that got hold of it by
** coroutine.running() finds it dead and can do nothing to it. Every userdata begins with a tag that
** says what it is, which is cheaper to check than a metatable.
**
** On D nothing may be called outside rotor__lua_protect() that can throw, as nobody would catch it:
** of Lua's functions only the pushing of what needs no memory, lua_rawgeti() and luaL_unref(). */
#ifndef ROTOR_LUA_PRIVATE_H
#define ROTOR_LUA_PRIVATE_H

#include <lauxlib.h>
#include <lua.h>

#include "../rotor_lua.h"

typedef struct rotor__vm rotor__vm;
typedef struct rotor__lua_trace rotor__lua_trace;
typedef struct rotor__tasks rotor__tasks;

/* A loop as Lua knows it: a userdata that stays until the Lua state closes, so that objects may keep
** pointing to it; `loop` is NULL once it is closed. What is noted as a reference may be LUA_NOREF. */
typedef struct rotor__lua_loop {
    rotor__vm *vm;
    rotor_loop *loop;
    rotor_scope *scope;                /* of the machine's transition that runs now */
    rotor_response response;           /* what that transition has asked for */
    unsigned responses;                /* how often it has asked */
    bool virtual;                      /* its time stands still but for loop:advance() */
    uint64_t virtual_ms;               /* then */
    int on_error;                      /* reference to a function */
    int context;                       /* reference to any value */
    int scope_object;                  /* reference to the one userdata that scopes appear as */
    int handles;                       /* reference to the table of handles in use */
    int client;                        /* reference to the HTTP client that is not made by name */
    const char *transition;            /* of the last machine in Lua that has run */
    struct rotor__lua_watch *watchdog; /* NULL: it is off */
    struct rotor__lua_signal *signals; /* all that there can be; NULL: none was asked for */
    struct rotor__lua_follower *followers;
    struct rotor__lua_relay *relays; /* of futures that were sent */
    unsigned joins;                  /* calls that wait for threads */
    uint64_t drain_ms;               /* what those have on SIGTERM */
    struct rotor__lua_loop *next;
} rotor__lua_loop;

struct rotor__vm {
    lua_State *D;
    rotor__lua_loop *loops;
    rotor__lua_loop *usual;   /* the default loop, made when first needed */
    rotor__lua_trace *traces; /* of protocols */
    rotor__tasks *tasks;
    struct rotor__lua_process *processes; /* all objects that there are of programs */
    bool closed;                          /* the Lua state closes; there are no loops any more */
    struct rotor__slab *slab;             /* of parcels, which is being filled; or NULL */
    unsigned cells;                       /* of it, that are used */
    size_t owed;                /* bytes that bufs have got, which the collector has not heard of */
    rotor_http_metrics metrics; /* of all its servers */
    struct rotor__blocker
        *blocker; /* of the thread of rotor.threads that this state is in, or NULL */
    struct rotor__thread *thread; /* likewise */
    struct rotor__crew *crews;    /* the threads that it has started */
    struct rotor__offloads *offloads;
};

/* -- userdata (core.c) ------------------------------------------------------------------------- */

/* A kind of userdata; its address is the tag. */
typedef struct rotor__kind {
    const char *name; /* as in "rotor.stream", also the metatable's registry key */
    const struct rotor__waitable
        *waitables; /* how task.select waits for it, see lua_task.h; or NULL */
} rotor__kind;

/* Begins every userdata. */
typedef struct rotor__object {
    const rotor__kind *kind;
} rotor__object;

/* [-0, +1, m] A userdata of `size` bytes, all zero but the kind, with its metatable. */
void *rotor__lua_new(lua_State *L, const rotor__kind *kind, size_t size, int uservalues);

/* [-0, +0, -] The userdata at `index` if it is of `kind`, else NULL. */
void *rotor__lua_test(lua_State *L, int index, const rotor__kind *kind);

/* [-0, +0, v] The same, or an argument error. */
void *rotor__lua_check(lua_State *L, int index, const rotor__kind *kind);

/* [-0, +0, m] Make the metatable of `kind`: `methods` behind __index (unless `meta` has one of its
** own), and `meta` in the metatable itself; either may be NULL. */
void rotor__lua_kind(lua_State *L, const rotor__kind *kind, const luaL_Reg *methods,
                     const luaL_Reg *meta);

/* -- results and arguments (core.c) ------------------------------------------------------------ */

/* [-0, +3, m] nil, "NAME: message", "NAME". Returns 3. */
int rotor__lua_fail(lua_State *L, int error);

/* [-0, +1 or 3, m] true, or the failure if `error` < 0. */
int rotor__lua_result(lua_State *L, int error);

/* [-0, +0, m] The bytes at `index`: of a string, of a number, which becomes one, or in a buf, until something changes
** that. NULL: it is none of these. */
const char *rotor__lua_buf_bytes(lua_State *L, int index, size_t *len); /* of a buf (buf.c) */

static inline const char *rotor__lua_bytes(lua_State *L, int index, size_t *len)
{
    const char *data = lua_tolstring(L, index, len);
    return data ? data : rotor__lua_buf_bytes(L, index, len);
}

/* [-0, +0, v] The same, or an argument error. */
static inline const char *rotor__lua_check_bytes(lua_State *L, int index, size_t *len)
{
    const char *data = rotor__lua_bytes(L, index, len);
    if (!data)
        luaL_typeerror(L, index, "string or buf");
    return data;
}

/* [-0, +0, v] The address at `index`, which has no NUL in it. */
const char *rotor__lua_check_address(lua_State *L, int index);

/* [-0, +0, v] Seconds at `index` as ms, rounded up; ROTOR_NEVER for none, nil or infinity. */
uint64_t rotor__lua_check_ms(lua_State *L, int index);

/* [-0, +0, v] As above, as a deadline of that loop. */
uint64_t rotor__lua_check_deadline(lua_State *L, int index, const rotor_loop *loop);

/* [-0, +0, v] The integer field `name` of the options table at `index` (or none), within [least, most]
** and 0 when absent; the same in seconds, as ms; the same as a boolean. */
lua_Integer rotor__lua_option(lua_State *L, int index, const char *name, lua_Integer least,
                              lua_Integer most);
uint32_t rotor__lua_option_ms(lua_State *L, int index, const char *name);
bool rotor__lua_option_bool(lua_State *L, int index, const char *name);

/* [-0, +0, v] Refuse options that are not in the NULL-terminated list. Absent or nil is fine. */
void rotor__lua_check_options(lua_State *L, int index, const char *const *names);

/* -- calling Lua (core.c) ---------------------------------------------------------------------- */

/* The message handler: any error value as text, with the traceback. */
int rotor__lua_traceback(lua_State *L);

static inline void rotor__lua_push_handler(lua_State *D)
{
    lua_pushcfunction(D, rotor__lua_traceback);
}

/* [-1, +0, -] On vm->D: hand the value on top to the loop's on_error, or print it. `transition` may be
** NULL. */
void rotor__lua_report(rotor__lua_loop *ll, const char *name, const char *transition);

/* [-0, +0, -] The same for an error code. */
void rotor__lua_report_error(rotor__lua_loop *ll, const char *name, int error, const char *address);

/* [-(n+2), +0, -] On vm->D, with the message handler below the function below its `n` arguments: call it.
** Whatever it throws is reported with a traceback as coming from `name` and `transition`. 0 or
** ROTOR_ELUA. */
static inline int rotor__lua_protect(rotor__lua_loop *ll, int n, const char *name,
                                     const char *transition)
{
    lua_State *D = ll->vm->D;
    ll->transition = transition; /* for the watchdog */
    bool failed = lua_pcall(D, n, 0, -(n + 2)) != LUA_OK;
    if (failed)
        rotor__lua_report(ll, name, transition);
    lua_pop(D, 1);
    return failed ? ROTOR_ELUA : 0;
}

/* [-0, +0, -] The same for the C function `fn`, with `data` as a light userdata at its index 1. What may
** throw, out of memory included, belongs in there. */
static inline int rotor__lua_run(rotor__lua_loop *ll, lua_CFunction fn, void *data,
                                 const char *name, const char *transition)
{
    lua_State *D = ll->vm->D;
    rotor__lua_push_handler(D);
    lua_pushcfunction(D, fn);
    lua_pushlightuserdata(D, data);
    return rotor__lua_protect(ll, 1, name, transition);
}

/* -- loops and handles (loop.c, handle.c) -------------------------------------------------------- */

extern const rotor__kind rotor__kind_loop, rotor__kind_handle;

/* [-0, +0, e] Where the arguments begin: at 2 in a method of a loop, at 1 in a function of the module,
** which is about the loop of the task that runs, or else the default loop. Then, with the arguments checked,
** that loop, which must be open. */
int rotor__lua_args(lua_State *L);
rotor__lua_loop *rotor__lua_meant(lua_State *L);

/* [-0, +0, e] The loop of the task that runs, or that is to become one; or the default loop. */
rotor__lua_loop *rotor__lua_present_loop(lua_State *L);

/* [-0, +1, m] The same handle each time, as long as anybody has it: it may be the key of a table. */
void rotor__lua_push_handle(lua_State *L, rotor__lua_loop *ll, rotor_handle handle);

/* [-0, +0, e] The handle at `index`, of a machine of that loop. */
rotor_handle rotor__lua_check_handle(lua_State *L, int index, const rotor__lua_loop *ll);

void rotor__lua_push_loop(lua_State *L, rotor__lua_loop *ll);
void rotor__lua_free_loop(rotor__lua_loop *ll);

/* All of them. False: this is inside of a transition, whose loop is left. */
bool rotor__lua_free_loops(const rotor__vm *vm);

/* -- signals, and looking at a loop (signal.c, dump.c, watchdog.c) ------------------------------------------- */

/* The loop is closed. */
void rotor__lua_free_signals(rotor__lua_loop *ll);

/* [-0, +0, v] In place of the name of a signal at `index`, put what task.select can wait for. */
void rotor__lua_replace_signal(lua_State *L, int index, rotor__lua_loop *ll);

/* The loop is closed. */
void rotor__lua_free_watchdog(rotor__lua_loop *ll);

/* Print what every machine waits for. */
void rotor__lua_print_dump(rotor__lua_loop *ll);

/* -- bufs (buf.c) ------------------------------------------------------------------------------ */

/* Methods that bufs and streams have, with the arguments at 2. */
int rotor__lua_buf_take(lua_State *L, rotor_buf *b);
int rotor__lua_buf_peek(lua_State *L, const rotor_buf *b);
int rotor__lua_buf_consume(lua_State *L, rotor_buf *b);
int rotor__lua_buf_split(lua_State *L, rotor_buf *b);

/* -- types and protocols (class.c, machine.c, protocol.c, datagram.c) --------------------------- */

extern const rotor__kind rotor__kind_type, rotor__kind_scope, rotor__kind_protocol,
    rotor__kind_stream, rotor__kind_datagram, rotor__kind_handler, rotor__kind_requester,
    rotor__kind_websocket_handler;

enum { ROTOR__LUA_TRANSITIONS = 11 };

/* A machine type, a protocol, of streams or datagrams, a handler or a requester, declared in Lua or loaded. A loaded one has but
** `title` and `exported`, and of a type what its machines begin as; it stays as long as the Lua state
** does. */
typedef struct rotor__lua_class {
    rotor__object object;
    const char *const *names;                /* of its transitions, NULL-terminated */
    int transitions[ROTOR__LUA_TRANSITIONS]; /* references, LUA_NOREF where there is none */
    int metatable;                       /* of `self`: __index is the table of the declaration */
    unsigned uses;                       /* by machines and seeds */
    int anchor;                          /* reference to this userdata while it is used */
    const struct rotor__lua_class *root; /* of a state: its protocol; or else NULL */
    const char *title;                   /* for messages: "Name", or "Name.state" */
    rotor__lua_trace *trace;             /* of a protocol that is or was traced; or NULL */
    const rotor_export *exported;        /* NULL: declared in Lua */
    union {
        rotor_type type;
        rotor_protocol protocol;
        rotor_datagram_protocol datagram;
        rotor_http_handler handler;
        rotor_http_requester requester;
        rotor_websocket_handler websocket;
    };
} rotor__lua_class;

/* The uservalues of a class: its title's bytes, and its states by their names. */
enum { ROTOR__CLASS_TITLE = 1, ROTOR__CLASS_STATES, ROTOR__CLASS_USERVALUES = 2 };

/* [-0, +1, m] A class without anything. */
rotor__lua_class *rotor__lua_bare_class(lua_State *L, const rotor__kind *kind);

/* [-0, +1, e] The class declared by the name at index 1 and the table at index 2. */
rotor__lua_class *rotor__lua_new_class(lua_State *L, const rotor__kind *kind,
                                       const char *const *names);
int rotor__lua_class_gc(lua_State *L);

/* What a transition has to return: a light userdata that stands for the last of the answers it has asked
** for, of a machine, so that neither an earlier one will do nor another machine's. */
static inline void *rotor__lua_token(const void *machine, unsigned answers)
{
    return (char *)machine + answers % 16;
}

/* [-0, +0, -] Whether it has. */
static inline bool rotor__lua_is_token(lua_State *D, int index, const void *machine,
                                       unsigned answers)
{
    return answers > 0 && lua_touserdata(D, index) == rotor__lua_token(machine, answers);
}

/* [-0, +0, m] Keep the class at `index` until it is released as often. */
rotor__lua_class *rotor__lua_retain(lua_State *L, int index);
void rotor__lua_release(rotor__lua_loop *ll, rotor__lua_class *class);

/* [-1, +0, m] What is on top, a string, is the title of the class below it. */
void rotor__lua_set_title(lua_State *L, rotor__lua_class *class);

/* [-0, +1, m] A new `self` for a machine of the class. */
void rotor__lua_push_self(lua_State *L, const rotor__lua_class *class);

static inline bool rotor__lua_has(const rotor__lua_class *class, int which)
{
    return class->transitions[which] != LUA_NOREF;
}

static inline void rotor__lua_push_transition(lua_State *L, const rotor__lua_class *class,
                                              int which)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, class->transitions[which]);
}

/* [v] A transition has returned the value on top and not what it should: complain, with its place.
** `wanted` says what that is. */
int rotor__lua_no_verdict(lua_State *D, const rotor__lua_class *class, int which,
                          const char *wanted);

/* What a Lua machine is created from, and a loaded one by way of it. */
typedef struct rotor__lua_seed {
    rotor__lua_loop *ll;
    rotor__lua_class *class; /* retained; NULL once it was taken, with `ref` */
    int ref;                 /* to the seed's value */
    bool passed;             /* it is a block of its own, which `create` frees */
    void *made;              /* of a loaded class: what its from_lua has made, to be released */
    int error;               /* or why it has not: `create` is to fail with that */
} rotor__lua_seed;

/* [-0, +0, e] A seed of the class at `index` and the value on top, which it pops. */
rotor__lua_seed *rotor__lua_new_seed(lua_State *L, rotor__lua_loop *ll, int index);
void rotor__lua_free_seed(void *seed);

/* Give back what the seed holds. */
void rotor__lua_clear_seed(rotor__lua_seed *seed);

/* -- loaded types and protocols (load.c) ------------------------------------------------------- */

/* [-0, +0, e] Have the C seed of a loaded class made from the value at `index`. 0 or a negative code.
** Whoever gets it releases it, and throws nothing before. */
int rotor__lua_from_lua(lua_State *L, const rotor__lua_class *class, int index, void **made);
void rotor__lua_release_made(const rotor__lua_class *class, void *made);

/* [-0, +1, e] What the loaded machine `m` is done with. */
void rotor__lua_push_done(lua_State *L, const rotor_machine *m);

/* What the streams, or datagram sockets, of a class run, if they are not traced. */
static inline const rotor_protocol *rotor__lua_own_protocol(const rotor__lua_class *class)
{
    return class->exported ? class->exported->protocol : &class->protocol;
}

static inline const rotor_datagram_protocol *rotor__lua_datagram(const rotor__lua_class *class)
{
    return class->exported ? class->exported->datagram : &class->datagram;
}

/* And what they begin with. */
typedef struct rotor__lua_start {
    void *seed;
    void (*release)(void *seed); /* NULL: nothing is to be done */
} rotor__lua_start;

/* [-0, +0 or 3, e] Make it for the protocol at `index`, with the seed in the options behind it. 0; or 3,
** the failure, and there is nothing to be released. Until `seed` is given away nothing may be thrown. */
int rotor__lua_begin(lua_State *L, rotor__lua_loop *ll, int index, rotor__lua_start *start);

/* As nothing began with it. */
static inline void rotor__lua_cancel(const rotor__lua_start *start)
{
    if (start->release)
        start->release(start->seed);
}

/* [-0, +1 or 0, -] On D: why a machine of a Lua type has ended with an error, if that is still to be
** reported; false if not. */
bool rotor__lua_push_reason(rotor__lua_loop *ll, const rotor_machine *m);

/* [-0, +1, e] A notifier for that machine. */
void rotor__lua_push_notifier(lua_State *L, rotor__lua_loop *ll, rotor_handle machine);

/* -- tracing (trace.c) ------------------------------------------------------------------------- */

/* What to listen or connect with: the class's own protocol, or its trace's while that is on. */
const rotor_protocol *rotor__lua_protocol(const rotor__lua_class *class);

/* The class is not used any more; nothing of the Lua state's is. */
void rotor__lua_untrace(rotor__lua_class *class);
void rotor__lua_free_traces(rotor__vm *vm);

/* -- descriptors (descriptor.c) ---------------------------------------------------------------- */

/* A rotor_io, and what Lua has of it. */
typedef struct rotor__lua_io rotor__lua_io;

/* [-0, +1 or 3, e] The io of the machine `m` for the descriptor or file at `index`; it joins those
** whose first is `*first`. */
int rotor__lua_open(lua_State *L, int index, rotor__lua_loop *ll, rotor_machine *m,
                    rotor__lua_io **first);

/* [-0, +0, -] The machine has ended, and so do its ios. */
void rotor__lua_end_ios(rotor__lua_io *first);

/* [-0, +1, -] */
void rotor__lua_push_io(lua_State *L, const rotor_io *io);

/* -- listening and connecting (connect.c) ------------------------------------------------------ */

/* The options that listening takes, from the table at `index` (or none). */
void rotor__lua_listen_options(lua_State *L, int index, rotor_listen_options *options);

/* [-0, +1 or 3, m] The handle, or the failure with the address in its message. */
int rotor__lua_opened(lua_State *L, rotor__lua_loop *ll, const char *address, int error,
                      rotor_handle handle);

/* [-0, +1 or 3, m] The same for a listener; `failed` as rotor_listen_options.failed was set. */
int rotor__lua_listening(lua_State *L, rotor__lua_loop *ll, const char *address, const char *failed,
                         int error, rotor_handle handle);

/* As rotor_connect(). What it takes from a program's object is not the object's any more (process.c). */
int rotor__lua_dial(rotor__lua_loop *ll, const char *address, const rotor_protocol *protocol,
                    const rotor_connect_options *options, rotor_handle *handle);

/* -- futures (future.c) ------------------------------------------------------------------------ */

/* The loop is closed: its futures' functions will not be called any more, and those that were sent are resolved. */
void rotor__lua_drop_followers(rotor__lua_loop *ll);
void rotor__lua_end_relays(rotor__lua_loop *ll);

/* -- functions of loops that live in other files ------------------------------------------------ */

int rotor__lua_add(lua_State *L);
int rotor__lua_on_signal(lua_State *L);
int rotor__lua_dump(lua_State *L);
int rotor__lua_process(lua_State *L);
int rotor__lua_watchdog(lua_State *L);
int rotor__lua_dump_on_signal(lua_State *L);
int rotor__lua_listen(lua_State *L);
int rotor__lua_connect(lua_State *L);
int rotor__lua_persist(lua_State *L);
int rotor__lua_udp(lua_State *L);
int rotor__lua_future(lua_State *L);
int rotor__lua_all(lua_State *L);
int rotor__lua_first(lua_State *L);
int rotor__lua_serve(lua_State *L);
int rotor__lua_client(lua_State *L);
int rotor__lua_spawn(lua_State *L);

/* [-0, +1 or 3, e] End the server behind a listener gently: a future of how many requests were cut off. */
int rotor__lua_drain(lua_State *L, rotor__lua_loop *ll, rotor_handle listener, uint32_t drain_ms);

/* [-0, +0, v] Complain when the Lua state closes: what is made now is never finalized. */
void rotor__lua_check_not_closing(lua_State *L, const rotor__vm *vm);

/* -- opening ----------------------------------------------------------------------------------- */

/* Each adds its functions to the module's table on top of the stack. */
void rotor__lua_open_loop(lua_State *L);
void rotor__lua_open_handle(lua_State *L);
void rotor__lua_open_machine(lua_State *L);
void rotor__lua_open_protocol(lua_State *L);
void rotor__lua_open_stream(lua_State *L);
void rotor__lua_open_datagram(lua_State *L);
void rotor__lua_open_socket(lua_State *L);
void rotor__lua_open_trace(lua_State *L);
void rotor__lua_open_buf(lua_State *L);
void rotor__lua_open_future(lua_State *L);
void rotor__lua_open_http(lua_State *L);
void rotor__lua_open_handler(lua_State *L);
void rotor__lua_open_websocket(lua_State *L);
void rotor__lua_open_serve(lua_State *L);
void rotor__lua_open_files(lua_State *L);
void rotor__lua_open_client(lua_State *L);
void rotor__lua_open_requester(lua_State *L);
void rotor__lua_open_load(lua_State *L);
void rotor__lua_open_descriptor(lua_State *L);
void rotor__lua_open_task(lua_State *L);
void rotor__lua_open_task_handle(lua_State *L);
void rotor__lua_open_task_scope(lua_State *L);
void rotor__lua_open_task_wait(lua_State *L);
void rotor__lua_open_task_trace(lua_State *L);
void rotor__lua_open_channel(lua_State *L);
void rotor__lua_open_select(lua_State *L);
void rotor__lua_open_signal(lua_State *L);
void rotor__lua_open_task_conn(lua_State *L);
void rotor__lua_open_task_listen(lua_State *L);
void rotor__lua_open_task_udp(lua_State *L);
void rotor__lua_open_process(lua_State *L);

rotor__vm *rotor__lua_vm(lua_State *L);

#endif
