/* A module with a machine type that is too small. */
#include "../../rotor_lua.h"

static rotor_response create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    return rotor_done();
}

static const rotor_type small = {.name = "small", .size = 8, .create = create};

ROTOR_EXPORTS({.name = "Small", .type = &small});
