// Instruction sets that hand-written kernels come in. Each level gives the same results as far as its kernels say so.

#pragma once

#include <string>

namespace intone {

enum class Isa {
  kPortable,  // plain C++, any processor
  kAvx2,      // with FMA
  kAvx512,    // F, BW, DQ, VL and VNNI
};

// The best that this processor has.
Isa best_isa();

// Whether it also multiplies bfloat16 (AVX512_BF16), which not every processor of kAvx512 does.
bool has_avx512_bf16();

// "best", "portable", "avx2" or "avx512". Throws c10::Error where the name or the processor does not know it.
Isa isa_named(const std::string& name);

}  // namespace intone

// Lets one function use instructions that the rest of the file may not. Whoever calls it has asked the processor.
#if defined(__x86_64__)
#define INTONE_AVX2 __attribute__((target("avx2,fma")))
#define INTONE_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")))
#endif
