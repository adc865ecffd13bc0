/* Usage: threads_bare batched|idle
** What bench/threads.lua does, by a plain C program, for what the system and the machine take of it.
** `batched`: a list of at most 1,024 nodes with a mutex and two conditions; each is allocated in the one
** thread and freed in the other. `idle`: a pipe each way, and epoll. */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGES = 4000000, CAPACITY = 1024, ROUNDS = 20000 };

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* -- batched ----------------------------------------------------------------------------------- */

typedef struct node {
    struct node *next;
    int value;
} node;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t room = PTHREAD_COND_INITIALIZER, more = PTHREAD_COND_INITIALIZER;
static node *first, **last = &first;
static int count;

static void *receive(void *unused)
{
    for (int i = 0; i < MESSAGES; i++) {
        pthread_mutex_lock(&lock);
        while (!first)
            pthread_cond_wait(&more, &lock);
        node *n = first;
        first = n->next;
        if (!first)
            last = &first;
        if (count-- == CAPACITY)
            pthread_cond_signal(&room);
        pthread_mutex_unlock(&lock);
        if (n->value != i)
            abort();
        free(n);
    }
    return NULL;
}

static double send_many(void)
{
    pthread_t thread;
    uint64_t began = now_ns();
    if (pthread_create(&thread, NULL, receive, NULL))
        abort();
    for (int i = 0; i < MESSAGES; i++) {
        node *n = malloc(sizeof *n);
        if (!n)
            abort();
        *n = (node){NULL, i};
        pthread_mutex_lock(&lock);
        while (count == CAPACITY)
            pthread_cond_wait(&room, &lock);
        *last = n;
        last = &n->next;
        if (count++ == 0)
            pthread_cond_signal(&more);
        pthread_mutex_unlock(&lock);
    }
    pthread_join(thread, NULL);
    return MESSAGES / ((double)(now_ns() - began) / 1e9);
}

/* -- idle -------------------------------------------------------------------------------------- */

/* Another thread is woken by `out`, and this one by `in`, of which `epoll` tells. */
typedef struct end {
    int in, out, epoll;
} end;

static void hear(const end *e)
{
    struct epoll_event event;
    char byte;
    if (epoll_wait(e->epoll, &event, 1, -1) != 1 || read(e->in, &byte, 1) != 1)
        abort();
}

static void tell(const end *e)
{
    if (write(e->out, "", 1) != 1)
        abort();
}

static void *answer(void *context)
{
    for (int i = 0; i < ROUNDS; i++) {
        hear(context);
        tell(context);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double one_way(void)
{
    static uint64_t times[ROUNDS];
    struct epoll_event event = {.events = EPOLLIN};
    int there[2], back[2];
    pthread_t thread;
    if (pipe2(there, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
        abort();
    end ours = {back[0], there[1], epoll_create1(0)},
        theirs = {there[0], back[1], epoll_create1(0)};
    if (epoll_ctl(ours.epoll, EPOLL_CTL_ADD, ours.in, &event) ||
        epoll_ctl(theirs.epoll, EPOLL_CTL_ADD, theirs.in, &event) ||
        pthread_create(&thread, NULL, answer, &theirs))
        abort();
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t began = now_ns();
        tell(&ours);
        hear(&ours);
        times[i] = now_ns() - began;
    }
    pthread_join(thread, NULL);
    qsort(times, ROUNDS, sizeof *times, compare);
    return (double)times[ROUNDS / 2] / 2;
}

int main(int argc, char **argv)
{
    const char *operation = argc == 2 ? argv[1] : "";
    if (strcmp(operation, "batched") != 0 && strcmp(operation, "idle") != 0) {
        fprintf(stderr, "usage: threads_bare batched|idle\n");
        return 2;
    }
    double result = strcmp(operation, "idle") == 0 ? one_way() : send_many();
    printf("tasks\tbare\tthreads-%s\t%.0f\n", operation, result);
    return 0;
}
