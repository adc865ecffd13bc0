/* Addresses between text and sockaddr. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "address.h"

static int parse_unix(const char *path, rotor_address *address)
{
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address->un.sun_path || strcmp(path, "@") == 0)
        return ROTOR_EADDRESS;
    address->un.sun_family = AF_UNIX;
    memcpy(address->un.sun_path, path, len + 1);
    address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    if (path[0] == '@') { /* abstract: begins with a NUL, and its length ends it */
        address->un.sun_path[0] = '\0';
        address->len--;
    }
    return 0;
}

/* 1 to 5 digits up to 65535. */
static int parse_port(const char *text, int *port)
{
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len > 5 || text[len] != '\0')
        return ROTOR_EADDRESS;
    *port = atoi(text);
    return *port <= 65535 ? 0 : ROTOR_EADDRESS;
}

int rotor_address_parse(const char *text, rotor_address *address, rotor_host *host)
{
    memset(address, 0, sizeof *address);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text + 5, address);

    const char *colon = strrchr(text, ':');
    const char *port_text = colon ? colon + 1 : text;
    int port;
    if (parse_port(port_text, &port))
        return ROTOR_EADDRESS;

    bool bracketed = text[0] == '[';
    const char *name = bracketed ? text + 1 : text;
    size_t len = colon ? (size_t)(colon - name) : 0;
    if (bracketed && (!colon || len == 0 || name[--len] != ']'))
        return ROTOR_EADDRESS;
    if (len >= sizeof host->name)
        return ROTOR_EADDRESS;
    memcpy(host->name, name, len);
    host->name[len] = '\0';
    if (!bracketed && strpbrk(host->name, ":[]"))
        return ROTOR_EADDRESS;
    memcpy(host->port, port_text, strlen(port_text) + 1);

    if (bracketed) {
        address->len = sizeof(struct sockaddr_in6);
        return uv_ip6_addr(host->name, port, (struct sockaddr_in6 *)&address->storage)
                   ? ROTOR_EADDRESS
                   : 0;
    }
    address->len = sizeof(struct sockaddr_in);
    if (!uv_ip4_addr(len ? host->name : "127.0.0.1", port, (struct sockaddr_in *)&address->storage))
        return 0;
    /* Of digits and dots only, it was meant for an address; a resolver might make something of it. */
    return strspn(host->name, "0123456789.") == len ? ROTOR_EADDRESS : 1;
}

const char *rotor_address_split(const char *list, char *first, size_t size)
{
    size_t len = strcspn(list, ",");
    size_t kept = len < size ? len : size - 1;
    memcpy(first, list, kept);
    first[kept] = '\0';
    return list[len] ? list + len + 1 + strspn(list + len + 1, " ") : NULL;
}

/* "%eth0", which a link-local address is of no use without. */
static void format_zone(uint32_t scope, char zone[1 + UV_IF_NAMESIZE])
{
    size_t size = UV_IF_NAMESIZE;
    zone[0] = scope && !uv_if_indextoiid(scope, zone + 1, &size) ? '%' : '\0';
}

int rotor_address_format(const rotor_address *address, char *text, size_t size)
{
    char name[INET6_ADDRSTRLEN] = "";
    if (address->any.sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
        uv_ip4_name(in, name, sizeof name);
        snprintf(text, size, "%s:%d", name, ntohs(in->sin_port));
    } else if (address->any.sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->storage;
        char zone[1 + UV_IF_NAMESIZE];
        uv_ip6_name(in6, name, sizeof name);
        format_zone(in6->sin6_scope_id, zone);
        snprintf(text, size, "[%s%s]:%d", name, zone, ntohs(in6->sin6_port));
    } else if (address->any.sa_family == AF_UNIX) {
        size_t len = address->len - offsetof(struct sockaddr_un, sun_path);
        const char *path = address->un.sun_path;
        if (address->len <= offsetof(struct sockaddr_un, sun_path))
            snprintf(text, size, "unix:"); /* the unnamed end of a pair or a client */
        else if (path[0] == '\0')
            snprintf(text, size, "unix:@%.*s", (int)len - 1, path + 1);
        else
            snprintf(text, size, "unix:%.*s", (int)strnlen(path, len), path);
    } else {
        return UV_EINVAL;
    }
    return 0;
}
