/* A module with a protocol that cannot begin. */
#include "../../rotor_lua.h"

static const rotor_protocol incomplete = {.name = "incomplete", .size = sizeof(rotor_stream)};

ROTOR_EXPORTS({.name = "Incomplete", .protocol = &incomplete});
