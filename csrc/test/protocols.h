/* Protocols for tests, such as one would write. None of them needs a seed. */
#ifndef ROTOR_TEST_PROTOCOLS_H
#define ROTOR_TEST_PROTOCOLS_H

#include "../stream/stream.h"

/* Sends lines of up to 12 bytes before CR LF back, answers longer ones with "too long", and the end
** with "bye". */
extern const rotor_protocol protocol_lines;

/* Frames of a length in two bytes and so many bytes, which it sends backwards. No exception. */
extern const rotor_protocol protocol_frames;

/* A mailbox that talks, in nested states: DATA, a text that ends with a dot on a line, QUIT. */
extern const rotor_protocol protocol_mail;

/* Sends 600 bytes, the next 50 when the last have left, and reads meanwhile; at the end the rest, and
** how many bytes it has read. */
extern const rotor_protocol protocol_duplex;

/* Reads lines: "lines" and "frames" have those protocols go on with the connection. */
extern const rotor_protocol protocol_switch;

#endif
