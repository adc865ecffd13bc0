#include "names.h"

#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One block for each, so that they are told from the system's by being marked. */
typedef struct entry {
    struct addrinfo info;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
} entry;

enum { OURS = 1 << 30 }; /* in ai_flags */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static int waiting;

void names_hold(void)
{
    pthread_mutex_lock(&lock);
    held = true;
    pthread_mutex_unlock(&lock);
}

void names_wait(int n)
{
    pthread_mutex_lock(&lock);
    while (waiting < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void names_release(void)
{
    pthread_mutex_lock(&lock);
    held = false;
    pthread_cond_broadcast(&changed);
    while (waiting > 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void wait_while_held(void)
{
    pthread_mutex_lock(&lock);
    waiting++;
    pthread_cond_broadcast(&changed);
    while (held)
        pthread_cond_wait(&changed, &lock);
    waiting--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static struct addrinfo *make(int family, uint32_t v4, const char *service, struct addrinfo *next)
{
    in_port_t port = htons((uint16_t)atoi(service));
    entry *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    e->info = (struct addrinfo){.ai_flags = OURS,
                                .ai_family = family,
                                .ai_socktype = SOCK_STREAM,
                                .ai_addr = &e->address.any,
                                .ai_next = next};
    if (family == AF_INET) {
        e->info.ai_addrlen = sizeof e->address.in;
        e->address.in =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr = {htonl(v4)}};
    } else {
        e->info.ai_addrlen = sizeof e->address.in6;
        e->address.in6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    }
    return &e->info;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    if (strcmp(node, "two.test") == 0) {
        *result = make(AF_INET6, 0, service, make(AF_INET, INADDR_LOOPBACK, service, NULL));
        return 0;
    }
    if (strcmp(node, "elsewhere.test") == 0) {
        *result = make(AF_INET, 0xc0000201, service, make(AF_INET, INADDR_LOOPBACK, service, NULL));
        return 0;
    }
    if (strcmp(node, "slow.test") == 0) {
        wait_while_held();
        *result = make(AF_INET, INADDR_LOOPBACK, service, NULL);
        return 0;
    }
    union { /* which C has no cast for */
        void *symbol;
        int (*call)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    } real = {dlsym(RTLD_NEXT, "getaddrinfo")};
    return real.call ? real.call(node, service, hints, result) : EAI_FAIL;
}

void freeaddrinfo(struct addrinfo *info)
{
    if (info && !(info->ai_flags & OURS)) {
        union {
            void *symbol;
            void (*call)(struct addrinfo *);
        } real = {dlsym(RTLD_NEXT, "freeaddrinfo")};
        real.call(info);
        return;
    }
    while (info) {
        struct addrinfo *next = info->ai_next;
        free(info); /* the first member of its entry */
        info = next;
    }
}
