/* Compiled from the same sources, under other names. */
#define ROTOR__SCALAR
#include "scalar.h"

#define rotor_http_parse_request    scalar_parse_request
#define rotor_http_parse_response   scalar_parse_response
#define rotor_http_response_framing scalar_response_framing

#include "../http/parse_request.c"
#include "../http/parse_response.c"
