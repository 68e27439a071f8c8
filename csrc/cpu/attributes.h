// Compiler attributes: functions compiled for several instruction sets or for one, and forced inlining.

#pragma once

#include <cstdlib>  // defines __GLIBC__ where it applies

// Compiles one function for several instruction sets; the loader picks the best that the processor has. Needs GNU
// indirect functions; elsewhere only the portable code exists. Not for templates or inline functions.
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define INTONE_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define INTONE_CLONES
#endif

#define INTONE_INLINE __attribute__((always_inline)) inline

// Let one function use instructions that the rest of the file may not. The caller checks the processor, see `Isa`.
#if defined(__x86_64__)
#define INTONE_AVX2 __attribute__((target("avx2,fma")))
#define INTONE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")))
#endif
