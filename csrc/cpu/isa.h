// Instruction sets that hand-written kernels are compiled for. How far their results agree is stated with each kernel.

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

// "best", "portable", "avx2" or "avx512". Throws c10::Error for another name, or for one that this processor lacks.
Isa isa_named(const std::string& name);

}  // namespace intone
