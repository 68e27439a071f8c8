// Lets one function be compiled for several instruction sets; the loader picks the best that the processor has.

#pragma once

#include <cstdlib>  // defines __GLIBC__ where it applies

// Needs GNU indirect functions, so elsewhere the portable code stands alone. Not for templates or inline functions.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define INTONE_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define INTONE_CLONES
#endif
