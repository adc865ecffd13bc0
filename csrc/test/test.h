/* What every C test file includes: cmocka and its required headers, in the required order. */
#ifndef ROTOR_TEST_TEST_H
#define ROTOR_TEST_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
