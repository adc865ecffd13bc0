/* Names for tests to look up, on any machine: getaddrinfo() is replaced by one that knows
**
**     two.test        [::1], then 127.0.0.1
**     elsewhere.test  192.0.2.1, which is no machine's own (RFC 5737), then 127.0.0.1
**     slow.test       127.0.0.1, but not before names_release()
**     set.test        what names_set() has said last
**
** and asks the system for any other. */
#ifndef ROTOR_TEST_NAMES_H
#define ROTOR_TEST_NAMES_H

/* From now on, who looks up slow.test waits; names_wait() returns when `n` do. */
void names_hold(void);
void names_wait(int n);
void names_release(void);

/* The addresses of set.test from now on: numeric ones with spaces between, in this order; or NULL, and
** there is no such name (EAI_NONAME). `hosts` must stay in place. */
void names_set(const char *hosts);

/* How often set.test has been looked up. */
int names_asked(void);

#endif
