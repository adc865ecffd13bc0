/* A module that was made for a rotor of this version, but not for this one. */
#include "../../rotor_lua.h"

extern const rotor__module rotor_exports;
const rotor__module rotor_exports = {ROTOR_VERSION, {1}, (const rotor_export *)1};
