/* A module that was made for a rotor of another version: nothing but its version may be read. */
#include "../../rotor_lua.h"

extern const rotor__module rotor_exports;
const rotor__module rotor_exports = {"0.0.1", {1}, (const rotor_export *)1};
