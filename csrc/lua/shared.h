/* What threads share and do not pass on: counters, and a dictionary in bounded memory. Nothing here knows
** of Lua; any thread may call anything at any time.
**
** The dictionary is for what is read much more often than written, and may be forgotten: caches, rate
** limits, who is logged in. What is stored at a key is a number, a boolean or a string. When there is no
** room for something new, what was not used for longest goes. A large dictionary is 16 parts with a lock
** each, and a key's part has its share of the room; so the longest value is a 16th of it. */
#ifndef ROTOR_LUA_SHARED_H
#define ROTOR_LUA_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- counters ---------------------------------------------------------------------------------- */

typedef struct rotor__counter rotor__counter;

rotor__counter *rotor__counter_new(int64_t value); /* NULL: no memory */
rotor__counter *rotor__counter_ref(rotor__counter *c);
void rotor__counter_unref(rotor__counter *c); /* NULL is fine */

int64_t rotor__counter_get(rotor__counter *c);
void rotor__counter_set(rotor__counter *c, int64_t value);

/* Add `n`, around the ends of the range if it comes to that; the new value. */
int64_t rotor__counter_add(rotor__counter *c, int64_t n);

/* Set it to `to` if it is `expected`; whether it was. */
bool rotor__counter_compare_and_set(rotor__counter *c, int64_t expected, int64_t to);

/* -- dictionaries ------------------------------------------------------------------------------ */

typedef struct rotor__dict rotor__dict;

typedef enum rotor__dict_type {
    ROTOR__DICT_NONE, /* there is no such key */
    ROTOR__DICT_BOOLEAN,
    ROTOR__DICT_INTEGER,
    ROTOR__DICT_FLOAT,
    ROTOR__DICT_STRING
} rotor__dict_type;

typedef struct rotor__dict_value {
    rotor__dict_type type;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct {
            const char *data;
            size_t len;
        } string;
    };
} rotor__dict_value;

enum { ROTOR__DICT_LEAST = 4096 };

/* A dictionary that takes at most `max_bytes` (from ROTOR__DICT_LEAST). `now` is a monotonic clock in ms
** for expiry; NULL: the system's. NULL: no memory. */
rotor__dict *rotor__dict_new(size_t max_bytes, uint64_t (*now)(void));
rotor__dict *rotor__dict_ref(rotor__dict *d);
void rotor__dict_unref(rotor__dict *d); /* NULL is fine */

/* What is stored at the key. A string is copied to `room`, if it fits into its `size` bytes; its data is
** NULL if it does not, and len tells what it would take. */
rotor__dict_value rotor__dict_get(rotor__dict *d, const char *key, size_t len, char *room,
                                  size_t size);

/* How rotor__dict_put() goes about it. */
typedef enum rotor__dict_how { ROTOR__DICT_SET, ROTOR__DICT_ADD } rotor__dict_how;

/* Store `value` at the key for `ms` (0: for good); to add is to do so only if there is no such key. 1: it
** is stored; 0: there was one. UV_E2BIG when a part of the dictionary is too small for it, UV_ENOMEM; then
** the key is as it was before. */
int rotor__dict_put(rotor__dict *d, rotor__dict_how how, const char *key, size_t len,
                    const rotor__dict_value *value, uint64_t ms);

/* Add `n`, a number, to what is at the key; *result is the new value. Integers stay integers, and go
** around the ends of the range. Where there is no such key, `initial` (NULL: none) is what there was, for
** `ms` from now on; else its expiry stays. 1; 0: there is no such key; UV_EINVAL: it is not a number; or as
** of rotor__dict_put(). */
int rotor__dict_incr(rotor__dict *d, const char *key, size_t len, const rotor__dict_value *n,
                     const rotor__dict_value *initial, uint64_t ms, rotor__dict_value *result);

/* Store `to` (of type NONE: delete it) for `ms` if what is stored is `expected` (of type NONE: if there is
** no such key), where numbers are equal as in Lua. 1: it was; 0: it was not; or as of rotor__dict_put(). */
int rotor__dict_compare_and_set(rotor__dict *d, const char *key, size_t len,
                                const rotor__dict_value *expected, const rotor__dict_value *to,
                                uint64_t ms);

/* Whether it was there. */
bool rotor__dict_delete(rotor__dict *d, const char *key, size_t len);

/* Drop what has expired, which otherwise goes when it is met or the room is needed; how many. */
size_t rotor__dict_flush(rotor__dict *d);

/* How many keys there are (that have not expired), and what they take. */
size_t rotor__dict_count(rotor__dict *d);
size_t rotor__dict_bytes(rotor__dict *d);

/* The keys of one part of the dictionary (from 0; false: there is none of that number), each behind its
** length as a size_t, into `room`. *used is what they take, in which case nothing is there if that is more
** than `size`. */
bool rotor__dict_keys(rotor__dict *d, unsigned part, char *room, size_t size, size_t *used);

#endif
