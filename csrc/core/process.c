/* Processes over uv_process_t.
**
** libuv's handle is not part of the machine, as it has to stay until the program has ended: only then
** does anybody wait for that. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private.h"
#include "process.h"

/* A program that runs. */
typedef struct rotor__child {
    uv_process_t handle; /* first */
    struct rotor__child *next, **link;
    rotor_loop *loop;
    rotor_handle machine; /* may have ended */
} child;

typedef struct process {
    rotor_machine machine;
    child *child; /* NULL once the program has ended */
    int64_t status;
    int signum;
    void (*ended)(void *context, int error, int64_t status, int signum);
    void *context;
} process;

typedef struct process_seed {
    const rotor_process_options *options;
    const int *theirs; /* ends of pairs */
} process_seed;

static const rotor_type process_type;

/* -- those whose loop has gone ------------------------------------------------------------------ */

enum {
    ORPHANS = 256
}; /* more than these are left for the system to clear away, behind this process */

static pthread_mutex_t orphans_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t orphans[ORPHANS];
static size_t norphans;

static bool is_running(pid_t pid)
{
    pid_t result;
    do
        result = waitpid(pid, NULL, WNOHANG);
    while (result < 0 && errno == EINTR);
    return result == 0;
}

static void reap_orphans(void)
{
    pthread_mutex_lock(&orphans_lock);
    for (size_t i = 0; i < norphans;)
        if (is_running(orphans[i]))
            i++;
        else
            orphans[i] = orphans[--norphans];
    pthread_mutex_unlock(&orphans_lock);
}

static void leave_orphan(pid_t pid)
{
    if (!is_running(pid))
        return;
    pthread_mutex_lock(&orphans_lock);
    if (norphans < ORPHANS)
        orphans[norphans++] = pid;
    pthread_mutex_unlock(&orphans_lock);
}

/* -- children ----------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    child *c = (child *)handle;
    rotor_loop *loop = c->loop;
    rotor_free(c);
    rotor__loop_handle_closed(loop);
}

static void close_child(child *c)
{
    if (c->link) {
        *c->link = c->next;
        if (c->next)
            c->next->link = c->link;
    }
    c->link = NULL;
    uv_close((uv_handle_t *)&c->handle, on_closed);
}

void rotor__children_close(rotor_loop *loop)
{
    while (loop->children) {
        pid_t pid = loop->children->handle.pid;
        close_child(loop->children);
        leave_orphan(pid);
    }
    reap_orphans();
}

static void on_exit_of(uv_process_t *handle, int64_t status, int signum)
{
    child *c = (child *)handle;
    rotor_loop *loop = c->loop;
    rotor__loop_enter(loop);
    process *p = (process *)rotor_find(loop, c->machine);
    if (p) {
        p->child = NULL;
        p->status = status;
        p->signum = signum;
        rotor__machine_soon(&p->machine);
    }
    close_child(c);
    rotor__loop_leave(loop);
}

static int begin_child(process *p, const rotor_process_options *o, const int theirs[3])
{
    uv_stdio_container_t stdio[3];
    for (int i = 0; i < 3; i++) {
        static const uv_stdio_flags flags[] = {[ROTOR_STDIO_INHERIT] = UV_INHERIT_FD,
                                               [ROTOR_STDIO_NULL] = UV_IGNORE,
                                               [ROTOR_STDIO_FD] = UV_INHERIT_FD,
                                               [ROTOR_STDIO_PIPE] = UV_INHERIT_FD};
        rotor_stdio_kind kind = o->stdio[i].kind;
        stdio[i].flags = flags[kind];
        stdio[i].data.fd = kind == ROTOR_STDIO_FD     ? o->stdio[i].fd
                           : kind == ROTOR_STDIO_PIPE ? theirs[i]
                                                      : i;
    }
    /* What libuv asks for is not const, but it changes nothing. */
    uv_process_options_t options = {.exit_cb = on_exit_of,
                                    .file = o->args[0],
                                    .args = (char **)(uintptr_t)o->args,
                                    .env = (char **)(uintptr_t)o->env,
                                    .cwd = o->cwd,
                                    .stdio_count = 3,
                                    .stdio = stdio};
    rotor_loop *loop = p->machine.loop;
    child *c = rotor_alloc_zero(sizeof *c);
    if (!c)
        return UV_ENOMEM;
    c->loop = loop;
    c->machine = p->machine.self;
    loop->handles++;
    int error = uv_spawn(loop->uv, &c->handle, &options);
    if (error) {
        close_child(c);
        return error;
    }
    uv_unref((uv_handle_t *)&c->handle); /* its machine keeps the loop running */
    c->next = loop->children;
    c->link = &loop->children;
    if (c->next)
        c->next->link = &c->next;
    loop->children = c;
    p->child = c;
    return 0;
}

/* -- the machine -------------------------------------------------------------------------------- */

static rotor_response on_create(rotor_machine *m, rotor_scope *scope, void *data)
{
    process *p = (process *)m;
    const process_seed *seed = data;
    int error = begin_child(p, seed->options, seed->theirs);
    if (error)
        return rotor_error(error);
    p->ended = seed->options->ended;
    p->context = seed->options->context;
    return rotor_ok();
}

static rotor_response on_ready(rotor_machine *m, rotor_scope *scope, rotor_io *io, unsigned events)
{
    return ((process *)m)->child ? rotor_same() : rotor_done();
}

static void on_drop(rotor_machine *m)
{
    process *p = (process *)m;
    if (p->ended)
        p->ended(p->context, p->child ? ROTOR_ECANCELED : 0, p->status, p->signum);
}

static void describe(const rotor_machine *m, char *text, size_t size)
{
    const process *p = (const process *)m;
    snprintf(text, size, "the end of process %d", p->child ? p->child->handle.pid : 0);
}

static const rotor_type process_type = {
    .name = "process",
    .size = sizeof(process),
    .create = on_create,
    .ready = on_ready,
    .drop = on_drop,
    .describe = describe,
};

/* -- pipes -------------------------------------------------------------------------------------- */

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

static int open_pair(int *ours, int *theirs)
{
    int fds[2];
    /* Only this end does not block: what the program expects is one that does. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
        return -errno;
    *ours = fds[0];
    *theirs = fds[1];
    int on = 1;
    return ioctl(fds[0], FIONBIO, &on) ? -errno : 0;
}

static bool is_valid(const rotor_process_options *o, const int *pipes)
{
    bool valid = o->args && o->args[0];
    for (int i = 0; i < 3; i++) {
        valid = valid && o->stdio[i].kind <= ROTOR_STDIO_PIPE;
        valid = valid && (o->stdio[i].kind != ROTOR_STDIO_FD || o->stdio[i].fd >= 0);
        valid = valid && (o->stdio[i].kind != ROTOR_STDIO_PIPE || pipes);
    }
    return valid;
}

int rotor_process_begin(rotor_loop *loop, const rotor_process_options *options, int pipes[3],
                        rotor_handle *handle)
{
    int none[3], theirs[3] = {-1, -1, -1}, error = 0;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    if (!is_valid(options, pipes))
        return UV_EINVAL;
    int *ours = pipes ? pipes : none;
    for (int i = 0; i < 3; i++)
        ours[i] = -1;
    reap_orphans();
    for (int i = 0; i < 3 && !error; i++)
        if (options->stdio[i].kind == ROTOR_STDIO_PIPE)
            error = open_pair(&ours[i], &theirs[i]);
    process_seed seed = {options, theirs};
    if (!error)
        error = rotor__add_now(loop, &process_type, &seed, handle);
    close_all(theirs);
    if (error)
        close_all(ours);
    return error;
}

/* -- what can be done with it ------------------------------------------------------------------- */

static int find(rotor_loop *loop, rotor_handle handle, process **p)
{
    rotor_machine *m = rotor_find(loop, handle);
    *p = (process *)m;
    if (m && m->type != &process_type)
        return UV_EINVAL;
    return m && (*p)->child ? 0 : ROTOR_ECLOSED;
}

int rotor_process_kill(rotor_loop *loop, rotor_handle handle, int signum)
{
    process *p;
    int error = find(loop, handle, &p);
    if (!error)
        error = uv_process_kill(&p->child->handle, signum);
    return error == UV_ESRCH ? ROTOR_ECLOSED : error;
}

int rotor_process_pid(rotor_loop *loop, rotor_handle handle)
{
    process *p;
    int error = find(loop, handle, &p);
    return error ? error : p->child->handle.pid;
}
