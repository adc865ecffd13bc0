/* Conditional requests and ranges (RFC 9110 sections 13 and 14). Pure: what a request's header fields
** say about a representation, held against that representation's size and validators. Files use it, and
** so may any handler whose answers have an ETag or a Last-Modified:
**
**     rotor_http_conditions c = {.etag = etag, .has_modified = true, .modified = seconds};
**     for (size_t i = 0; rotor_http_header_at(h, i, &name, &value); i++)
**         rotor_http_conditions_add(&c, name, value);
**     status = rotor_http_conditions_judge(&c, rotor_http_method(h), size, &range); */
#ifndef ROTOR_HTTP_CONDITIONS_H
#define ROTOR_HTTP_CONDITIONS_H

#include "message.h"

/* A part of a representation: `length` > 0 bytes from `first` on. */
typedef struct rotor_http_range {
    uint64_t first, length;
} rotor_http_range;

/* The representation as it is now, and what the request says about it. All zero, but for the members that
** its maker sets. */
typedef struct rotor_http_conditions {
    rotor_text etag;   /* as in its field: with its quotes, and W/ if it is weak; data NULL: none */
    int64_t modified;  /* seconds since 1970 */
    bool has_modified; /* else nothing is known of that */
    uint64_t wall_ms;  /* the time now, for dates with a year of two digits */
    /* private */
    uint8_t match, none_match, modified_since, unmodified_since, if_range;
    bool has_range, repeated_range;
    rotor_text range;
} rotor_http_conditions;

/* Take notice of a header field, whatever it is; of Range `value` is kept until the judgement. */
void rotor_http_conditions_add(rotor_http_conditions *c, rotor_text name, rotor_text value);

/* What becomes of the request, whose `method` it is, if it would succeed without conditions; by the order
** of RFC 9110 section 13.2.2:
**
**     200    it goes on; GET and HEAD are answered with the whole representation
**     206    GET is answered with `range` of it, which is set
**     304    GET and HEAD: what the client has is up to date
**     412    a precondition does not hold
**     416    no byte of what GET wants is within `size`
**
** What is malformed counts as follows: a date as not sent; an entity tag as one that is no other's; a
** Range as not sent; an If-Range as one that does not hold. So does what is sent twice, but for the
** lists of If-Match and If-None-Match, which then go on. A request for several parts is answered with
** the whole, as section 14.2 allows: who may ask for many parts may ask for more than there is. */
int rotor_http_conditions_judge(const rotor_http_conditions *c, rotor_text method, uint64_t size,
                                rotor_http_range *range);

/* The value of a Range field, for a representation of `size` bytes: 206 with `range`; 416: no byte of it
** is there; or 200: it is ignored, being malformed, of another unit than bytes, for several parts that
** are there, or for some of what is empty. Only with 206 `range` is written to. */
int rotor_http_parse_range(rotor_text value, uint64_t size, rotor_http_range *range);

/* Whether `etag` is in a list of entity tags, or the list is "*". Strong comparison has neither be weak
** (section 8.8.3.2). The list is looked at as far as it is well-formed. */
bool rotor_http_etag_is_in(rotor_text list, rotor_text etag, bool strong);

#endif
