/* A module that calls what is nowhere. */
#include "../../rotor_lua.h"

int rotor_test_nowhere(void);

static rotor_response create(rotor_machine *m, rotor_scope *scope, void *seed)
{
    return rotor_error(rotor_test_nowhere());
}

static const rotor_type lost = {.name = "lost", .size = sizeof(rotor_machine), .create = create};

ROTOR_EXPORTS({.name = "Lost", .type = &lost});
