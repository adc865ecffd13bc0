/* A datagram socket for tests: counts what happens to it, keeps what it was given, and does what the
** test says. It fails the test when a transition runs inside another one. */
#ifndef ROTOR_TEST_PARTY_H
#define ROTOR_TEST_PARTY_H

#include "../stream/datagram.h"

typedef enum party_event {
    PARTY_CREATE,
    PARTY_DATAGRAM,
    PARTY_WRITABLE,
    PARTY_TIMEOUT,
    PARTY_WAKEUP,
    PARTY_EXCEPTION,
    PARTY_DROP,
    PARTY_EVENTS
} party_event;

typedef struct party party;

/* What a socket is to do, and what it has seen. Its seed; outlives it. */
struct party {
    /* What each transition returns; rotor_ok() where it is NULL. What `drop` returns is nothing. */
    rotor_response (*on[PARTY_EVENTS])(party *p, rotor_scope *scope);
    /* party_protocol, or one that leaves some out. */
    rotor_datagram_protocol protocol;
    void *context; /* the test's */

    int count[PARTY_EVENTS]; /* how often each was called */
    int released;            /* how often the seed was */
    rotor_handle self;
    rotor_datagram *d; /* NULL before rotor_udp() and after the end */
    char where[128];   /* its own address */
    /* The arguments of the transition called last. */
    char data[65536]; /* and a NUL behind it */
    size_t n;
    rotor_datagram_info info;
    int error;
    char log[1024]; /* all datagrams, a space behind each, cut off when long */
};

/* Has every transition. */
extern const rotor_datagram_protocol party_protocol;

/* A party that knows no transition but the default ones. */
void party_init(party *p);

/* rotor_udp() with the party as its seed, which must succeed; options may be NULL. Then d and where are
** set, unless the party has ended already. */
void party_open(party *p, rotor_loop *loop, const char *address, const rotor_udp_options *options);

/* The same, of which the error is returned. */
int party_try(party *p, rotor_loop *loop, const char *address, const rotor_udp_options *options);

/* An abstract Unix address of this process's; another for each number below 4. */
const char *party_unix(int which);

/* Send text, to an address (NULL: the peer): what rotor_datagram_send() says. */
int party_send(party *p, const char *text, const char *to);

/* End it from outside, at once. */
void party_end(party *p, rotor_loop *loop);

/* What `on` may be: end, well or with UV_EIO; keep waiting for the same; send the datagram back. */
rotor_response party_done(party *p, rotor_scope *scope);
rotor_response party_fail(party *p, rotor_scope *scope);
rotor_response party_same(party *p, rotor_scope *scope);
rotor_response party_echo(party *p, rotor_scope *scope);

/* Turn `loop` until `p` has got `n` datagrams; no other may come meanwhile. */
void party_expect(party *p, rotor_loop *loop, int n);

/* For rotor_config: the error told last, and how often one was told. */
void party_on_error(rotor_loop *loop, rotor_machine *m, int error);
extern int party_errors, party_last_error;

/* A loop on the test's clock, with party_on_error. Closing it must succeed. */
rotor_loop *party_loop(void);
void party_close(rotor_loop *loop);

#endif
