/* Shared counters and dictionaries. */
#include <stdatomic.h>
#include <string.h>
#include <uv.h>

#include "../core/alloc.h"
#include "shared.h"

/* -- counters ---------------------------------------------------------------------------------- */

struct rotor__counter {
    atomic_uint refs;
    _Atomic int64_t value;
};

rotor__counter *rotor__counter_new(int64_t value)
{
    rotor__counter *c = rotor_alloc(sizeof *c);
    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    atomic_init(&c->value, value);
    return c;
}

rotor__counter *rotor__counter_ref(rotor__counter *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void rotor__counter_unref(rotor__counter *c)
{
    if (c && atomic_fetch_sub(&c->refs, 1) == 1)
        rotor_free(c);
}

int64_t rotor__counter_get(rotor__counter *c)
{
    return atomic_load(&c->value);
}

void rotor__counter_set(rotor__counter *c, int64_t value)
{
    atomic_store(&c->value, value);
}

int64_t rotor__counter_add(rotor__counter *c, int64_t n)
{
    return (int64_t)((uint64_t)atomic_fetch_add(&c->value, n) + (uint64_t)n);
}

bool rotor__counter_compare_and_set(rotor__counter *c, int64_t expected, int64_t to)
{
    return atomic_compare_exchange_strong(&c->value, &expected, to);
}

/* -- dictionaries ------------------------------------------------------------------------------ */

/* A key and its value; the string behind the key. */
typedef struct entry {
    struct entry *next;          /* of its bucket */
    struct entry *newer, *older; /* by use */
    uint64_t hash;
    uint64_t expires; /* UINT64_MAX: never */
    size_t key_len;
    rotor__dict_value value;
    char bytes[];
} entry;

typedef struct part {
    uv_mutex_t lock;
    entry **buckets;
    size_t nbuckets; /* a power of two, or 0 */
    size_t count, bytes;
    entry *newest, *oldest;
} part;

enum { PARTS = 16, FIRST_BUCKETS = 16 };

struct rotor__dict {
    atomic_uint refs;
    unsigned parts; /* 1 or PARTS */
    uint64_t seed;  /* or who chooses keys could have them all in one bucket */
    size_t room;    /* of each */
    uint64_t (*now)(void);
    part part[PARTS];
};

static uint64_t system_now(void)
{
    return uv_hrtime() / 1000000;
}

static void unlink_used(part *s, entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void link_newest(part *s, entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

static void touch(part *s, entry *e)
{
    if (s->newest == e)
        return;
    unlink_used(s, e);
    link_newest(s, e);
}

static size_t string_len(const rotor__dict_value *value)
{
    return value->type == ROTOR__DICT_STRING ? value->string.len : 0;
}

/* With what malloc adds, and its share of the buckets. */
static size_t entry_bytes(size_t key_len, const rotor__dict_value *value)
{
    return sizeof(entry) + key_len + string_len(value) + 3 * sizeof(void *);
}

static entry **find(const part *s, const char *key, size_t len, uint64_t hash)
{
    static entry *none = NULL;
    if (s->nbuckets == 0)
        return &none;
    entry **e = &s->buckets[hash & (s->nbuckets - 1)];
    while (*e && ((*e)->hash != hash || (*e)->key_len != len || memcmp((*e)->bytes, key, len) != 0))
        e = &(*e)->next;
    return e;
}

static void take_out(part *s, entry **where)
{
    entry *e = *where;
    *where = e->next;
    unlink_used(s, e);
    s->count--;
    s->bytes -= entry_bytes(e->key_len, &e->value);
}

static void drop(part *s, entry **where)
{
    entry *e = *where;
    take_out(s, where);
    rotor_free(e);
}

/* The living entry of that key, or where it is to stand: what has expired goes when it is met. */
static entry **find_living(const rotor__dict *d, part *s, const char *key, size_t len,
                           uint64_t hash)
{
    entry **e = find(s, key, len, hash);
    if (*e && (*e)->expires != UINT64_MAX && (*e)->expires <= d->now()) {
        drop(s, e);
        e = find(s, key, len, hash);
    }
    return e;
}

static bool grow(part *s)
{
    size_t n = s->nbuckets ? s->nbuckets * 2 : FIRST_BUCKETS;
    entry **buckets = rotor_alloc_zero(n * sizeof *buckets);
    if (!buckets)
        return s->nbuckets > 0; /* the old ones will do */
    for (size_t i = 0; i < s->nbuckets; i++)
        for (entry *e = s->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (n - 1)];
            buckets[e->hash & (n - 1)] = e;
        }
    rotor_free(s->buckets);
    s->buckets = buckets;
    s->nbuckets = n;
    return true;
}

/* An entry that is nowhere yet, or an error. */
static int make(const rotor__dict *d, const char *key, size_t len, uint64_t hash,
                const rotor__dict_value *value, uint64_t expires, entry **made)
{
    size_t text = string_len(value);
    if (len > d->room || text > d->room || entry_bytes(len, value) > d->room)
        return UV_E2BIG;
    entry *e = rotor_alloc(sizeof *e + len + text);
    if (!e)
        return UV_ENOMEM;
    memset(e, 0, sizeof *e);
    e->hash = hash;
    e->expires = expires;
    e->key_len = len;
    e->value = *value;
    memcpy(e->bytes, key, len);
    if (value->type == ROTOR__DICT_STRING) {
        memcpy(e->bytes + len, value->string.data, text);
        e->value.string.data = e->bytes + len;
    }
    *made = e;
    return 0;
}

/* Put `value` in place of what the key has. */
static int store(const rotor__dict *d, part *s, const char *key, size_t len, uint64_t hash,
                 const rotor__dict_value *value, uint64_t expires)
{
    entry *made = NULL, **old = find(s, key, len, hash);
    if (*old && value->type != ROTOR__DICT_STRING && (*old)->value.type != ROTOR__DICT_STRING) {
        (*old)->value = *value;
        (*old)->expires = expires;
        touch(s, *old);
        return 1;
    }
    int error = make(d, key, len, hash, value, expires, &made);
    if (!error && s->count >= s->nbuckets && !grow(s)) {
        rotor_free(made);
        error = UV_ENOMEM;
    }
    if (error)
        return error;
    old = find(s, key, len, hash);
    if (*old)
        drop(s, old);
    size_t bytes = entry_bytes(len, value);
    while (s->bytes + bytes > d->room)
        drop(s, find(s, s->oldest->bytes, s->oldest->key_len, s->oldest->hash));
    entry **bucket = &s->buckets[hash & (s->nbuckets - 1)];
    made->next = *bucket;
    *bucket = made;
    link_newest(s, made);
    s->count++;
    s->bytes += bytes;
    return 1;
}

/* FNV-1a, and the finish of a mixer, so that the part and the bucket are of different bits. */
static uint64_t hash_of(const rotor__dict *d, const char *key, size_t len)
{
    uint64_t h = 14695981039346656037u ^ d->seed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)key[i]) * 1099511628211u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 33;
}

static part *enter(rotor__dict *d, uint64_t hash)
{
    part *s = &d->part[(hash >> 48) & (d->parts - 1)];
    uv_mutex_lock(&s->lock);
    return s;
}

static uint64_t expiry(const rotor__dict *d, uint64_t ms)
{
    uint64_t now = ms ? d->now() : 0;
    return ms && ms < UINT64_MAX - now ? now + ms : UINT64_MAX;
}

/* -- their life -------------------------------------------------------------------------------- */

rotor__dict *rotor__dict_new(size_t max_bytes, uint64_t (*now)(void))
{
    rotor__dict *d = rotor_alloc_zero(sizeof *d);
    if (!d)
        return NULL;
    atomic_init(&d->refs, 1);
    d->now = now ? now : system_now;
    if (uv_random(NULL, NULL, &d->seed, sizeof d->seed, 0, NULL))
        d->seed = uv_hrtime() ^ (uint64_t)(uintptr_t)d;
    unsigned parts = max_bytes < PARTS * ROTOR__DICT_LEAST ? 1 : PARTS;
    d->room = max_bytes / parts;
    for (; d->parts < parts; d->parts++)
        if (uv_mutex_init(&d->part[d->parts].lock)) {
            rotor__dict_unref(d);
            return NULL;
        }
    return d;
}

rotor__dict *rotor__dict_ref(rotor__dict *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void rotor__dict_unref(rotor__dict *d)
{
    if (!d || atomic_fetch_sub(&d->refs, 1) > 1)
        return;
    for (unsigned i = 0; i < d->parts; i++) {
        part *s = &d->part[i];
        for (entry *e = s->newest, *older; e; e = older) {
            older = e->older;
            rotor_free(e);
        }
        rotor_free(s->buckets);
        uv_mutex_destroy(&s->lock);
    }
    rotor_free(d);
}

/* -- using them -------------------------------------------------------------------------------- */

rotor__dict_value rotor__dict_get(rotor__dict *d, const char *key, size_t len, char *room,
                                  size_t size)
{
    rotor__dict_value value = {.type = ROTOR__DICT_NONE};
    uint64_t hash = hash_of(d, key, len);
    part *s = enter(d, hash);
    entry *e = *find_living(d, s, key, len, hash);
    if (e) {
        value = e->value;
        touch(s, e);
    }
    if (value.type == ROTOR__DICT_STRING) {
        bool fits = value.string.len <= size;
        if (fits && value.string.len > 0)
            memcpy(room, value.string.data, value.string.len);
        value.string.data = fits ? room : NULL;
    }
    uv_mutex_unlock(&s->lock);
    return value;
}

int rotor__dict_put(rotor__dict *d, rotor__dict_how how, const char *key, size_t len,
                    const rotor__dict_value *value, uint64_t ms)
{
    uint64_t hash = hash_of(d, key, len), expires = expiry(d, ms);
    part *s = enter(d, hash);
    int done = 0;
    if (how == ROTOR__DICT_SET || !*find_living(d, s, key, len, hash))
        done = store(d, s, key, len, hash, value, expires);
    uv_mutex_unlock(&s->lock);
    return done;
}

static double as_float(const rotor__dict_value *value)
{
    return value->type == ROTOR__DICT_INTEGER ? (double)value->integer : value->number;
}

static bool is_number(const rotor__dict_value *value)
{
    return value->type == ROTOR__DICT_INTEGER || value->type == ROTOR__DICT_FLOAT;
}

static rotor__dict_value sum(const rotor__dict_value *a, const rotor__dict_value *b)
{
    if (a->type == ROTOR__DICT_INTEGER && b->type == ROTOR__DICT_INTEGER)
        return (rotor__dict_value){.type = ROTOR__DICT_INTEGER,
                                   .integer =
                                       (int64_t)((uint64_t)a->integer + (uint64_t)b->integer)};
    return (rotor__dict_value){.type = ROTOR__DICT_FLOAT, .number = as_float(a) + as_float(b)};
}

int rotor__dict_incr(rotor__dict *d, const char *key, size_t len, const rotor__dict_value *n,
                     const rotor__dict_value *initial, uint64_t ms, rotor__dict_value *result)
{
    uint64_t hash = hash_of(d, key, len), expires = expiry(d, ms);
    part *s = enter(d, hash);
    const entry *e = *find_living(d, s, key, len, hash);
    const rotor__dict_value *old = e ? &e->value : initial;
    int done = old ? UV_EINVAL : 0;
    if (old && is_number(old)) {
        *result = sum(old, n);
        done = store(d, s, key, len, hash, result, e ? e->expires : expires);
    }
    uv_mutex_unlock(&s->lock);
    return done;
}

/* Whether an integer and a float are the same number: exactly, not once the one is rounded. */
static bool same_number(int64_t integer, double number)
{
    return number >= -9223372036854775808.0 && number < 9223372036854775808.0 &&
           (double)(int64_t)number == number && (int64_t)number == integer;
}

static bool is_equal(const rotor__dict_value *a, const rotor__dict_value *b)
{
    if (a->type == ROTOR__DICT_INTEGER && b->type == ROTOR__DICT_FLOAT)
        return same_number(a->integer, b->number);
    if (a->type == ROTOR__DICT_FLOAT && b->type == ROTOR__DICT_INTEGER)
        return same_number(b->integer, a->number);
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case ROTOR__DICT_BOOLEAN:
        return a->boolean == b->boolean;
    case ROTOR__DICT_INTEGER:
        return a->integer == b->integer;
    case ROTOR__DICT_FLOAT:
        return a->number == b->number;
    case ROTOR__DICT_STRING:
        return a->string.len == b->string.len &&
               (a->string.len == 0 || memcmp(a->string.data, b->string.data, a->string.len) == 0);
    default:
        return true;
    }
}

int rotor__dict_compare_and_set(rotor__dict *d, const char *key, size_t len,
                                const rotor__dict_value *expected, const rotor__dict_value *to,
                                uint64_t ms)
{
    static const rotor__dict_value none = {.type = ROTOR__DICT_NONE};
    uint64_t hash = hash_of(d, key, len), expires = expiry(d, ms);
    part *s = enter(d, hash);
    entry **e = find_living(d, s, key, len, hash);
    int done = is_equal(*e ? &(*e)->value : &none, expected);
    if (done && to->type != ROTOR__DICT_NONE)
        done = store(d, s, key, len, hash, to, expires);
    else if (done && *e)
        drop(s, e);
    uv_mutex_unlock(&s->lock);
    return done;
}

bool rotor__dict_delete(rotor__dict *d, const char *key, size_t len)
{
    uint64_t hash = hash_of(d, key, len);
    part *s = enter(d, hash);
    entry **e = find_living(d, s, key, len, hash);
    bool was = *e != NULL;
    if (was)
        drop(s, e);
    uv_mutex_unlock(&s->lock);
    return was;
}

size_t rotor__dict_flush(rotor__dict *d)
{
    size_t dropped = 0;
    uint64_t now = d->now();
    for (unsigned i = 0; i < d->parts; i++) {
        part *s = &d->part[i];
        uv_mutex_lock(&s->lock);
        for (entry *e = s->newest, *older; e; e = older) {
            older = e->older;
            if (e->expires != UINT64_MAX && e->expires <= now) {
                drop(s, find(s, e->bytes, e->key_len, e->hash));
                dropped++;
            }
        }
        uv_mutex_unlock(&s->lock);
    }
    return dropped;
}

size_t rotor__dict_count(rotor__dict *d)
{
    size_t count = 0;
    uint64_t now = d->now();
    for (unsigned i = 0; i < d->parts; i++) {
        uv_mutex_lock(&d->part[i].lock);
        for (const entry *e = d->part[i].newest; e; e = e->older)
            count += e->expires > now;
        uv_mutex_unlock(&d->part[i].lock);
    }
    return count;
}

size_t rotor__dict_bytes(rotor__dict *d)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < d->parts; i++) {
        uv_mutex_lock(&d->part[i].lock);
        bytes += d->part[i].bytes;
        uv_mutex_unlock(&d->part[i].lock);
    }
    return bytes;
}

bool rotor__dict_keys(rotor__dict *d, unsigned number, char *room, size_t size, size_t *used)
{
    *used = 0;
    if (number >= d->parts)
        return false;
    uint64_t now = d->now();
    part *s = &d->part[number];
    uv_mutex_lock(&s->lock);
    for (const entry *e = s->newest; e; e = e->older)
        *used += e->expires > now ? sizeof e->key_len + e->key_len : 0;
    for (const entry *e = s->newest; *used <= size && e; e = e->older) {
        if (e->expires <= now)
            continue;
        memcpy(room, &e->key_len, sizeof e->key_len);
        memcpy(room + sizeof e->key_len, e->bytes, e->key_len);
        room += sizeof e->key_len + e->key_len;
    }
    uv_mutex_unlock(&s->lock);
    return true;
}
