// Instruction sets that hand-written kernels are compiled for. How far their results agree is stated with each kernel.

#pragma once

#include <string>

namespace intone {

enum class Isa {
  kPortable,    // plain C++, any processor
  kAvx2,        // with FMA
  kAvx512,      // F, BW, DQ, VL and VNNI
  kAvx512Bf16,  // also multiplies bfloat16
};

// The best that this processor has.
Isa best_isa();

// "portable", "avx2", "avx512" or "avx512_bf16".
std::string name_of(Isa isa);

// "best" or one of these. Throws c10::Error for another name, or for one that this processor lacks.
Isa isa_named(const std::string& name);

}  // namespace intone
