/* What the files about WebSockets share and do not install, and the scalar twins that the tests hold
** the fast searches against. */
#ifndef ROTOR_HTTP_WEBSOCKET_PRIVATE_H
#define ROTOR_HTTP_WEBSOCKET_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

/* The twin of rotor_websocket_mask(). */
void rotor__websocket_mask_scalar(char *data, size_t n, const char key[4], size_t offset);

/* The first byte in [p, end) that is not ASCII, or `end`; and its twin. */
const char *rotor__ascii(const char *p, const char *end);
const char *rotor__ascii_scalar(const char *p, const char *end);

void rotor__sha1(uint8_t digest[20], const void *data, size_t n);

/* Write `n` bytes in base64: 4 characters for every 3 of them or less; no NUL. */
void rotor__base64(char *out, const uint8_t *data, size_t n);

#endif
