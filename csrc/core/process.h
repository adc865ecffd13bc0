/* Programs that a loop runs as processes of their own.
**
** A process is a machine that ends when its program does. Whatever else ends the machine leaves the program
** alone: it goes on, and the loop takes note of its end whenever it runs or is freed, so that no zombie
** stays. Of those that have not ended by then, that is done when the next process is begun or loop freed. */
#ifndef ROTOR_CORE_PROCESS_H
#define ROTOR_CORE_PROCESS_H

#include "loop.h"

/* What a program has as its standard input, output or error. */
typedef enum rotor_stdio_kind {
    ROTOR_STDIO_INHERIT, /* what this process has */
    ROTOR_STDIO_NULL,    /* /dev/null */
    ROTOR_STDIO_FD,      /* the descriptor `fd`, which stays the caller's */
    ROTOR_STDIO_PIPE     /* one end of a pair of sockets; the other is the caller's */
} rotor_stdio_kind;

typedef struct rotor_stdio {
    rotor_stdio_kind kind;
    int fd; /* ROTOR_STDIO_FD */
} rotor_stdio;

typedef struct rotor_process_options {
    const char *const
        *args; /* the program, looked for in PATH unless there is a slash in it, and its
                                arguments; NULL-terminated */
    const char *const
        *env;        /* "NAME=value", NULL-terminated; NULL: the environment of this process */
    const char *cwd; /* the folder it begins in; NULL: that of this process */
    rotor_stdio stdio[3];

    /* NULL, or called once when the machine ends (not when rotor_process_begin() fails). `error` is 0: the
    ** program has ended, and its exit status is `status`, or a signal has ended it, `signum` > 0; or
    ** ROTOR_ECANCELED: it goes on. */
    void (*ended)(void *context, int error, int64_t status, int signum);
    void *context;
} rotor_process_options;

/* Begin a program. `pipes` (may be NULL if there is none) gets for each ROTOR_STDIO_PIPE the other end, a
** stream socket that does not block and is not inherited, which is the caller's: "fd:N" to rotor_connect();
** and -1 for the others. All else of this process's descriptors that is to be closed by exec() is not
** the program's. May be called from a transition. 0 and the handle (which may be NULL); UV_ENOENT, UV_EACCES
** and so on: it could not be run; UV_EINVAL: no args, or a negative `fd`; ROTOR_ECAPACITY; UV_ENOMEM. */
int rotor_process_begin(rotor_loop *loop, const rotor_process_options *options, int pipes[3],
                        rotor_handle *handle);

/* Send it a signal. 0, or ROTOR_ECLOSED when it has ended, or UV_EINVAL: it is no process, or no signal. */
int rotor_process_kill(rotor_loop *loop, rotor_handle handle, int signum);

/* Its number for the system; or ROTOR_ECLOSED or UV_EINVAL. */
int rotor_process_pid(rotor_loop *loop, rotor_handle handle);

#endif
