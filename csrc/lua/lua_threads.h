/* What the files about threads share: functions on their way to another Lua state, and such states. */
#ifndef ROTOR_LUA_THREADS_H
#define ROTOR_LUA_THREADS_H

#include "../stream/private.h"
#include "travel.h"

/* -- functions (program.c) --------------------------------------------------------------------- */

/* [-0, +0, e] Pack the function at `index`, or the name of the module that returns one, with the arguments
** behind it. A function written in Lua takes its upvalues along, but for _ENV, which is the other state's; one
** written in C must have none. */
rotor__parcel *rotor__pack_program(lua_State *L, int index, rotor__way way);

/* [-0, +n+1, e] In another state: the function and its `n` arguments. Returns n. */
int rotor__unpack_program(lua_State *L, rotor__parcel *program);

/* [-0, +0, e] Pack where this state looks for modules. */
rotor__parcel *rotor__pack_paths(lua_State *L);

/* A Lua state of its own: with the standard libraries and rotor.core, which looks for modules where
** another does. NULL: no memory. Any thread. */
lua_State *rotor__new_state(rotor__parcel *paths);

/* [-1, +0, -] What was thrown, on top, as text in memory of its own. Never NULL: what there is no memory for
** is a constant, as is that there was none for `L`, which is NULL then. */
char *rotor__keep_error(lua_State *L);
void rotor__free_error(char *error);

/* -- waiting (thread_channel.c, signal.c) ------------------------------------------------------- */

/* Whether no loop of this state runs, so that nothing is kept waiting when a call blocks. */
bool rotor__may_block(const rotor__vm *vm);

/* [-0, +0, e] Have `fn` called on SIGTERM from now on, when the program has said nothing of what is to be done
** then; and no more. */
void rotor__lua_begin_term(lua_State *L, rotor__lua_loop *ll, void (*fn)(rotor__lua_loop *ll));
void rotor__lua_end_term(rotor__lua_loop *ll);

/* -- threads (thread.c), offloading (offload.c) ------------------------------------------------- */

/* The Lua state closes: its threads are asked to stop, and waited for. */
void rotor__lua_end_crews(rotor__vm *vm);

/* The loop is about to close: what it has offloaded and has not begun never will, and the rest does not block
** in channels any more. */
void rotor__lua_cancel_offloads(rotor__lua_loop *ll);

/* The Lua state closes: what it has offloaded does not block in channels any more. */
void rotor__lua_stop_offloads(rotor__vm *vm);

/* The Lua state closes, and nothing that it has offloaded runs any more. */
void rotor__lua_free_offloads(rotor__vm *vm);

/* [-0, +0, -] Close it as its close() does if it is the listener of task.listen; false: it is none. */
bool rotor__close_task_listener(rotor_machine *m);

/* -- listening (thread_listen.c) ---------------------------------------------------------------- */

/* Where the threads of a crew listen together. */
typedef struct rotor__doors {
    uv_mutex_t lock;
    unsigned threads;
    struct rotor__door *first;
} rotor__doors;

int rotor__doors_init(rotor__doors *doors, unsigned threads); /* 0 or an error */
void rotor__doors_fini(rotor__doors *doors);

/* None of the threads will come any more: forget them. */
void rotor__doors_close(rotor__doors *doors);

/* Those of that thread's crew, and its number, from 0. */
rotor__doors *rotor__doors_of(struct rotor__thread *t, unsigned *index);

/* Listening on one address. */
typedef struct rotor__share {
    rotor__doors *doors; /* NULL: it is not shared */
    struct rotor__door *door;
    const char *address;
    unsigned index;
    int fd;
    char text[16];
} rotor__share;

/* [-0, +0, -] Begin to listen: what to listen on instead of `address`. Until it has been ended nothing may be
** thrown. It is shared if it is to be, and this is a thread of rotor.threads. */
const char *rotor__share_begin(rotor__share *s, rotor__vm *vm, const char *address, bool shared);

/* [-0, +0, -] Whether that has failed; the socket, or NULL: it has failed, or there are several. */
void rotor__share_end(rotor__share *s, int error, rotor__listening *l);

/* Each adds its functions to the table of rotor.threads on top of the stack. */
void rotor__lua_open_shared(lua_State *L);
void rotor__lua_open_thread_channel(lua_State *L);
void rotor__lua_open_thread(lua_State *L);

int rotor__lua_offload(lua_State *L);

#endif
