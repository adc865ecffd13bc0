/* Addresses as text. Accepted forms: "127.0.0.1:80", "[::1]:80", "name:80", ":80" and "80" (the
** loopback 127.0.0.1), "unix:/path", "unix:@name" (Linux's abstract names). */
#ifndef ROTOR_STREAM_ADDRESS_H
#define ROTOR_STREAM_ADDRESS_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "../core/error.h"

typedef struct rotor_address {
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_storage storage;
        struct sockaddr_un un;
    };
} rotor_address;

/* A host name and its port, to be resolved. */
typedef struct rotor_host {
    char name[256];
    char port[6];
} rotor_host;

/* Read an address. 0: `address` is set. 1: `host` is set, a name for uv_getaddrinfo(). ROTOR_EADDRESS:
** malformed, a port above 65,535, or a path too long for the system. */
int rotor_address_parse(const char *text, rotor_address *address, rotor_host *host);

/* Room for any address as text, its NUL included. */
enum { ROTOR_ADDRESS_SIZE = 320 };

/* Copy the first address of a list ("80, [::1]:80,unix:/x": separated by commas, behind which there
** may be spaces) to `first`, cut to `size` bytes with the final NUL; with ROTOR_ADDRESS_SIZE, what is
** cut is no address. Returns where the next one begins in `list`, NULL behind the last. Does not look
** into the address, which may be empty. */
const char *rotor_address_split(const char *list, char *first, size_t size);

/* The address as text, cut to `size` bytes with the final NUL. 0, or UV_EINVAL: of no known family. */
int rotor_address_format(const rotor_address *address, char *text, size_t size);

#endif
