/* The parsers with vectors compiled out. */
#ifndef ROTOR_TEST_SCALAR_H
#define ROTOR_TEST_SCALAR_H

#include "../http/parser.h"

ptrdiff_t scalar_parse_request(rotor_http_head *head, const char *data, size_t len,
                               const rotor_http_limits *limits, rotor_http_progress *progress);
ptrdiff_t scalar_parse_response(rotor_http_response_head *head, const char *data, size_t len,
                                const rotor_http_limits *limits, rotor_http_progress *progress);
rotor_http_framing scalar_response_framing(const rotor_http_response_head *head, const char *method,
                                           size_t len);

#endif
