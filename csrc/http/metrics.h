/* Counters of HTTP servers, and their text for Prometheus. */
#ifndef ROTOR_HTTP_METRICS_H
#define ROTOR_HTTP_METRICS_H

#include "server.h"

/* The upper bounds of the histogram's buckets, in microseconds; the last bucket has none. */
#define ROTOR_HTTP_BUCKETS_US                                                                      \
    {                                                                                              \
        100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,     \
            2500000, 5000000, 10000000                                                             \
    }

enum { ROTOR_HTTP_BUCKETS = 17 };

/* What servers count that were given it in rotor_http_config.metrics; several may share one, in one thread.
** All zero at the start. Read-only. */
typedef struct rotor_http_metrics {
    uint64_t connections, connections_active; /* accepted; open */
    uint64_t requests_active;                 /* whose head was received, and which are not over */
    uint64_t
        statuses[600]; /* requests that are over, by the status of their answer; [0]: without */
    uint64_t cut;      /* of those, not wholly answered */
    uint64_t received, sent;              /* bytes, as in rotor_http_record */
    uint64_t buckets[ROTOR_HTTP_BUCKETS]; /* requests by the time they took */
    uint64_t total_ns;
} rotor_http_metrics;

/* Append all that was counted to `out`, in Prometheus' text format 0.0.4 (Content-Type "text/plain;
** version=0.0.4"). 0 or UV_ENOMEM, with what was appended left there. */
int rotor_http_metrics_text(const rotor_http_metrics *m, rotor_buf *out);

#endif
