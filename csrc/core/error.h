/* Errors: 0 is success, everything negative is a code.
**
** A code is either one of libuv's (UV_ECONNREFUSED …, which are negated errno values or lie
** above -5000) or one of rotor's own, from the table below, which start at -10001. */
#ifndef ROTOR_CORE_ERROR_H
#define ROTOR_CORE_ERROR_H

#include <uv.h>

/* XX(name, code, message): rotor's own errors. `rotor_err_name` yields the name as a string. */
#define ROTOR_ERRORS(XX)                                                                           \
    XX(ECAPACITY, -10001, "the loop's capacity is used up")                                        \
    XX(ECLOSED, -10002, "already closed")                                                          \
    XX(ETIMEDOUT, -10003, "deadline passed")                                                       \
    XX(ECANCELED, -10004, "canceled")                                                              \
    XX(ELIMIT, -10005, "limit reached before the expected bytes came")                             \
    XX(EEOF, -10006, "peer closed before the expected bytes came")                                 \
    XX(ESTALLED, -10007, "peer stopped reading")                                                   \
    XX(EUNEXPECTED, -10008, "the machine has no transition for what happened")                     \
    XX(EADDRESS, -10009, "not an address: expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH")     \
    XX(EHEADER, -10010, "invalid header: not a token, CR, LF or NUL in a value, or not to be set") \
    XX(EBODY, -10011, "body not allowed, or not of the declared length")                           \
    XX(ESTATE, -10012, "not possible in the present state")                                        \
    XX(ELUA, -10013, "error in a Lua transition, told to on_error")                                \
    XX(EINHERIT, -10014,                                                                           \
       "no sockets were passed: LISTEN_PID is not this process, or no LISTEN_FDS")                 \
    XX(EFDNAME, -10015, "no socket of that name was passed in LISTEN_FDNAMES")                     \
    XX(ETAKEN, -10016, "the passed socket was taken or closed before")                             \
    XX(ELISTENING, -10017, "not a stream socket that listens")                                     \
    XX(ELOAD, -10018, "not a module that can be loaded")                                           \
    XX(EVERSION, -10019, "made for another version of rotor")                                      \
    XX(ETRUNCATED, -10020, "the file ended before all that was to be sent of it")                  \
    XX(HTTP_EURL, -10130, "not an http:// URL")                                                    \
    XX(HTTP_ESCHEME, -10131,                                                                       \
       "only http:// is spoken here; TLS, for https://, is a rock of its own")                     \
    XX(HTTP_EUSERINFO, -10132, "a URL with user information; set an Authorization header instead") \
    XX(HTTP_EREDIRECTS, -10133, "redirected more often than allowed")                              \
    XX(HTTP_EREPLAY, -10134, "redirected with a body that was streamed and cannot be sent again")  \
    XX(HTTP_ENORESPONSE, -10135, "connection closed before a response came")                       \
    XX(HTTP_ETRUNCATED, -10136, "connection closed before the end of the response")                \
    XX(HTTP_EUPGRADE, -10137,                                                                      \
       "connection upgraded to a protocol that nobody asked for or took over")                     \
    XX(HTTP_EREADONLY, -10170, "files are there for GET and HEAD only")                            \
    XX(EUPGRADE, -10030, "the client has not asked to change the protocol (RFC 9110 7.8)")

/* XX(name, code, status, message): why an HTTP message was refused, and the status that a request is
** answered with for that (what a gateway finds wrong with a response is always a 502). The section
** named is of RFC 9112 unless another RFC is given. */
#define ROTOR_HTTP_ERRORS(XX)                                                                      \
    XX(HTTP_ELINE, -10101, 400, "malformed request line (section 3)")                              \
    XX(HTTP_EMETHOD, -10102, 400, "method is not a token (section 3.1)")                           \
    XX(HTTP_ETARGET, -10103, 400, "invalid request target (section 3.2)")                          \
    XX(HTTP_EVERSION, -10104, 400, "malformed HTTP version (section 2.3)")                         \
    XX(HTTP_EUNSUPPORTED, -10105, 505, "HTTP version is not 1.0 or 1.1 (RFC 9110 2.5)")            \
    XX(HTTP_ECONTROL, -10106, 400, "control character, bare CR or bare LF (section 2.2)")          \
    XX(HTTP_EEMPTY, -10107, 400, "too many empty lines before the request (section 2.2)")          \
    XX(HTTP_EFIELD, -10108, 400, "malformed header field (section 5)")                             \
    XX(HTTP_ESPACE, -10109, 400, "white space before the colon (section 5.1)")                     \
    XX(HTTP_EFOLD, -10110, 400, "folded header line (section 5.2)")                                \
    XX(HTTP_EHOST, -10111, 400, "missing, repeated or invalid Host (section 3.2)")                 \
    XX(HTTP_ELENGTH, -10112, 400, "invalid or conflicting Content-Length (section 6.3)")           \
    XX(HTTP_ESMUGGLE, -10113, 400, "contradictory message framing (section 6)")                    \
    XX(HTTP_ECODING, -10114, 501, "transfer coding is not chunked (section 6.1)")                  \
    XX(HTTP_ECODING10, -10115, 400, "Transfer-Encoding in HTTP/1.0 (section 6.1)")                 \
    XX(HTTP_ECHUNK, -10116, 400, "malformed chunk (section 7.1)")                                  \
    XX(HTTP_ELINESIZE, -10117, 414, "request or status line too long (sections 3 and 4)")          \
    XX(HTTP_EHEADSIZE, -10118, 431, "header section too large (RFC 6585 section 5)")               \
    XX(HTTP_EFIELDS, -10119, 431, "too many header fields (RFC 6585 section 5)")                   \
    XX(HTTP_EBODYSIZE, -10120, 413, "body too large (RFC 9110 15.5.14)")                           \
    XX(HTTP_ECHUNKSIZE, -10121, 400, "chunk line, extensions or trailers too long (section 7.1)")  \
    XX(HTTP_EEXPECT, -10122, 417, "expectation is not 100-continue (RFC 9110 10.1.1)")             \
    XX(HTTP_ECONNECTION, -10123, 400,                                                              \
       "Connection is no list of tokens, or names Host or Content-Length (RFC 9110 7.6.1)")        \
    XX(HTTP_ESTATUSLINE, -10124, 502, "malformed status line (section 4)")                         \
    XX(HTTP_ESTATUS, -10125, 502, "status is not three digits, 100 to 999 (RFC 9110 section 15)")

/* XX(name, code, close, message): what is wrong with a WebSocket, and the code that it is closed with.
** The section named is of RFC 6455. Those without a close code are of connections that cannot be closed by
** one any more, or yet. */
#define ROTOR_WEBSOCKET_ERRORS(XX)                                                                 \
    XX(WEBSOCKET_ERSV, -10150, 1002, "reserved bit set in a frame (section 5.2)")                  \
    XX(WEBSOCKET_EOPCODE, -10151, 1002, "reserved opcode (section 5.2)")                           \
    XX(WEBSOCKET_ECONTROL, -10152, 1002,                                                           \
       "control frame fragmented, or longer than 125 bytes (section 5.5)")                         \
    XX(WEBSOCKET_EMASK, -10153, 1002,                                                              \
       "frame of a client not masked, or of a server masked (section 5.1)")                        \
    XX(WEBSOCKET_ELENGTH, -10154, 1002, "length not minimal, or over 63 bits (section 5.2)")       \
    XX(WEBSOCKET_EFRAGMENT, -10155, 1002,                                                          \
       "continuation of no message, or a message inside of another (section 5.4)")                 \
    XX(WEBSOCKET_ECLOSE, -10156, 1002, "malformed close frame (section 7.4)")                      \
    XX(WEBSOCKET_EUTF8, -10157, 1007, "text is not UTF-8 (section 8.1)")                           \
    XX(WEBSOCKET_ESIZE, -10158, 1009, "message too large (section 7.4.1)")                         \
    XX(WEBSOCKET_EFRAGMENTS, -10159, 1008, "message of too many fragments (section 7.4.1)")        \
    XX(WEBSOCKET_EKIND, -10160, 1003, "messages are not taken here (section 7.4.1)")               \
    XX(WEBSOCKET_ESILENT, -10161, 0, "peer did not answer a ping in time")                         \
    XX(WEBSOCKET_EUNCLOSED, -10162, 0, "peer did not answer the close in time")                    \
    XX(WEBSOCKET_EHANDSHAKE, -10163, 0, "not the handshake of a WebSocket (section 4)")            \
    XX(WEBSOCKET_EORIGIN, -10164, 0, "WebSocket for a page of another site (section 10.2)")        \
    XX(WEBSOCKET_EREFUSED, -10165, 0, "server has not accepted the WebSocket (section 4.1)")       \
    XX(WEBSOCKET_EURL, -10166, 0,                                                                  \
       "not a WebSocket URL: expected ws://HOST[:PORT][/PATH][?QUERY] (section 3)")                \
    XX(WEBSOCKET_ETLS, -10167, 0, "wss:// needs TLS, which this rotor does not have")

enum rotor_error {
#define XX(name, code, message) ROTOR_##name = (code),
    ROTOR_ERRORS(XX)
#undef XX
#define XX(name, code, status, message) ROTOR_##name = (code),
        ROTOR_HTTP_ERRORS(XX) ROTOR_WEBSOCKET_ERRORS(XX)
#undef XX
};

/* What went wrong, as a sentence fragment without a final dot. `code` may be any code of libuv or
** rotor; 0 yields "success", an unknown one "unknown error". The string is static. */
const char *rotor_strerror(int code);

/* The code's name, as in "ECONNREFUSED" or "ECAPACITY"; "OK" for 0, "UNKNOWN" for an unknown
** code. Static. */
const char *rotor_err_name(int code);

#endif
