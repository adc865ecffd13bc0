/* Opening datagram sockets, their addresses, and multicast groups. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "../core/private.h"
#include "private.h"

/* -- addresses --------------------------------------------------------------------------------- */

void rotor__datagram_close(int fd, dev_t device, ino_t inode)
{
    rotor__file_remove(fd, device, inode);
    close(fd);
}

static int address_of(const rotor_datagram *d, char *text, size_t size,
                      int (*get)(int, struct sockaddr *, socklen_t *))
{
    rotor_address address = {.len = sizeof address.storage};
    if (size > 0)
        text[0] = '\0';
    if (get(d->io.fd, &address.any, &address.len))
        return -errno;
    return rotor_address_format(&address, text, size);
}

int rotor_datagram_local(const rotor_datagram *d, char *text, size_t size)
{
    return address_of(d, text, size, getsockname);
}

int rotor_datagram_peer(const rotor_datagram *d, char *text, size_t size)
{
    return address_of(d, text, size, getpeername);
}

/* -- multicast --------------------------------------------------------------------------------- */

typedef union ip_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
} ip_address;

/* False when `text` is no number of IPv4 or IPv6. */
static bool parse_ip(const char *text, ip_address *ip)
{
    memset(ip, 0, sizeof *ip);
    return !uv_ip4_addr(text, 0, &ip->in) || !uv_ip6_addr(text, 0, &ip->in6);
}

static bool is_same_ip(const struct sockaddr *a, const ip_address *ip)
{
    if (!a || a->sa_family != ip->any.sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ip->in.sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &ip->in6.sin6_addr,
                  sizeof ip->in6.sin6_addr) == 0;
}

/* The index of the interface with that name, or with that address. */
static int find_interface(const char *text, unsigned *index)
{
    ip_address ip;
    struct ifaddrs *all;
    *index = if_nametoindex(text);
    if (*index)
        return 0;
    if (!parse_ip(text, &ip))
        return UV_ENODEV;
    if (getifaddrs(&all))
        return -errno;
    for (const struct ifaddrs *one = all; one && !*index; one = one->ifa_next)
        if (is_same_ip(one->ifa_addr, &ip))
            *index = if_nametoindex(one->ifa_name);
    freeifaddrs(all);
    return *index ? 0 : UV_ENODEV;
}

static int change_group(const rotor_datagram *d, const char *group, const char *interface,
                        int change)
{
    ip_address ip;
    struct group_req request = {0};
    if (!parse_ip(group, &ip))
        return UV_EINVAL;
    if (ip.any.sa_family == AF_INET6)
        request.gr_interface = ip.in6.sin6_scope_id; /* of "ff02::1%eth0" */
    if (interface) {
        int error = find_interface(interface, &request.gr_interface);
        if (error)
            return error;
    }
    request.gr_group = ip.storage;
    int level = ip.any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
    return setsockopt(d->io.fd, level, change, &request, sizeof request) ? -errno : 0;
}

int rotor_datagram_join(rotor_datagram *d, const char *group, const char *interface)
{
    return change_group(d, group, interface, MCAST_JOIN_GROUP);
}

int rotor_datagram_leave(rotor_datagram *d, const char *group, const char *interface)
{
    return change_group(d, group, interface, MCAST_LEAVE_GROUP);
}

/* -- opening ----------------------------------------------------------------------------------- */

static int set(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) ? -errno : 0;
}

/* What concerns another family than the socket's has no effect. */
static int set_ip_options(int fd, int family, const rotor_udp_options *o)
{
    bool v6 = family == AF_INET6;
    int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
    int error = 0;
#if defined(IP_MULTICAST_ALL) && defined(IPV6_MULTICAST_ALL)
    /* Linux gives a socket what comes for the groups of all others on its port, too, unless told not
    ** to; which an old kernel does not know for IPv6. */
    (void)set(fd, level, v6 ? IPV6_MULTICAST_ALL : IP_MULTICAST_ALL, 0);
#endif
    if (v6 && o->ipv6_only)
        error = set(fd, level, IPV6_V6ONLY, 1);
    if (!error && o->multicast_ttl)
        error = set(fd, level, v6 ? IPV6_MULTICAST_HOPS : IP_MULTICAST_TTL, o->multicast_ttl);
    if (!error && o->no_multicast_loop)
        error = set(fd, level, v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, 0);
    if (!error && o->multicast_interface) {
        struct ip_mreqn request = {0};
        unsigned index;
        error = find_interface(o->multicast_interface, &index);
        request.imr_ifindex = (int)index;
        if (!error && v6)
            error = set(fd, level, IPV6_MULTICAST_IF, request.imr_ifindex);
        else if (!error && setsockopt(fd, level, IP_MULTICAST_IF, &request, sizeof request))
            error = -errno;
    }
    return error;
}

static int set_options(int fd, int family, const rotor_udp_options *o)
{
    int error = 0;
    if (o->reuse_address)
        error = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!error && o->reuse_port)
        error = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!error && o->broadcast)
        error = set(fd, SOL_SOCKET, SO_BROADCAST, 1);
    if (!error && o->receive_buffer)
        error = set(fd, SOL_SOCKET, SO_RCVBUF, o->receive_buffer);
    if (!error && o->send_buffer)
        error = set(fd, SOL_SOCKET, SO_SNDBUF, o->send_buffer);
    if (!error && family != AF_UNIX)
        error = set_ip_options(fd, family, o);
    return error;
}

static int bind_to(int fd, int family, const struct addrinfo *own)
{
    rotor_address address = {.len = sizeof address.any.sa_family};
    address.any.sa_family = (sa_family_t)family;
    if (own) {
        address.len = own->ai_addrlen;
        memcpy(&address.storage, own->ai_addr, address.len);
    } else if (family == AF_INET) {
        address.len = sizeof(struct sockaddr_in);
    } else if (family == AF_INET6) {
        address.len = sizeof(struct sockaddr_in6);
    } /* or else Linux finds a name that no Unix socket has, where answers can come to */
    return rotor__bind(fd, &address, SOCK_DGRAM);
}

/* Either may be NULL. */
static int open_socket(const struct addrinfo *own, const struct addrinfo *peer,
                       const rotor_udp_options *options)
{
    int family = own ? own->ai_family : peer ? peer->ai_family : AF_INET;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    dev_t device;
    ino_t inode;
    int error = set_options(fd, family, options);
    if (!error)
        error = bind_to(fd, family, own);
    rotor__file_find(fd, &device, &inode);
    if (!error && peer && connect(fd, peer->ai_addr, peer->ai_addrlen))
        error = -errno;
    if (!error)
        return fd;
    rotor__datagram_close(fd, device, inode);
    return error;
}

/* What an address stands for: itself, or what its name is found to be. */
typedef struct place {
    const struct addrinfo *first; /* NULL: anything */
    rotor_address address;
    struct addrinfo only;
    uv_getaddrinfo_t request; /* request.addrinfo is NULL unless it was a name */
} place;

static int find(rotor_loop *loop, const char *text, place *p)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    rotor_host host;
    p->first = NULL;
    p->request.addrinfo = NULL;
    int kind = text ? rotor_address_parse(text, &p->address, &host) : 0;
    if (kind < 0 || !text)
        return kind;
    if (kind > 0) {
        int error = uv_getaddrinfo(loop->uv, &p->request, NULL, host.name, host.port, &hints);
        p->first = p->request.addrinfo;
        return error;
    }
    p->only = (struct addrinfo){.ai_family = p->address.any.sa_family,
                                .ai_addr = &p->address.any,
                                .ai_addrlen = p->address.len};
    p->first = &p->only;
    return 0;
}

/* The first pair of addresses that works, or why the last does not. */
static int open_first(const place *own, const place *peer, const rotor_udp_options *options)
{
    int fd;
    const struct addrinfo *to = peer->first;
    do {
        const struct addrinfo *from = own->first;
        do {
            fd = open_socket(from, to, options);
            from = from ? from->ai_next : NULL;
        } while (fd < 0 && from);
        to = to ? to->ai_next : NULL;
    } while (fd < 0 && to);
    return fd;
}

static int open_between(rotor_loop *loop, const char *address, const rotor_udp_options *options)
{
    place own, peer;
    int error = find(loop, address, &own);
    if (error)
        return error;
    error = find(loop, options->peer, &peer);
    int fd = error ? error : open_first(&own, &peer, options);
    uv_freeaddrinfo(own.request.addrinfo);
    uv_freeaddrinfo(peer.request.addrinfo);
    return fd;
}

int rotor_udp(rotor_loop *loop, const char *address, const rotor_datagram_protocol *protocol,
              const rotor_udp_options *given, rotor_handle *handle)
{
    rotor_udp_options options = {0};
    size_t room = loop->read_block->capacity;
    if (given)
        options = *given;
    if (handle)
        *handle = ROTOR_NO_HANDLE;
    if (options.max > room)
        return UV_EINVAL;
    int fd = open_between(loop, address, &options);
    if (fd < 0)
        return fd;
    rotor__datagram_seed seed = {.protocol = protocol,
                                 .fd = fd,
                                 .connected = options.peer,
                                 .at_once = !rotor_loop_busy(loop),
                                 .max = options.max ? options.max : room,
                                 .seed = options.seed,
                                 .release = options.release};
    rotor_address own = {.len = sizeof own.storage};
    (void)getsockname(fd, &own.any, &own.len);
    seed.family = own.any.sa_family;
    rotor__file_find(fd, &seed.device, &seed.inode);
    int error = rotor__add_now(loop, &rotor_datagram_type, &seed, handle);
    if (seed.fd >= 0) /* no machine was made that would own it */
        rotor__datagram_close(seed.fd, seed.device, seed.inode);
    return error;
}
