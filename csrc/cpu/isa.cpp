#include "cpu/isa.h"

#include <c10/util/Exception.h>

namespace intone {

Isa best_isa() {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2 && avx512) return Isa::kAvx512;
  if (avx2) return Isa::kAvx2;
#endif
  return Isa::kPortable;
}

bool has_avx512_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa isa_named(const std::string& name) {
  const Isa best = best_isa();
  if (name == "best") return best;
  Isa isa = Isa::kPortable;
  if (name == "avx2") {
    isa = Isa::kAvx2;
  } else if (name == "avx512") {
    isa = Isa::kAvx512;
  } else {
    TORCH_CHECK(name == "portable", "found instruction set '", name, "', expected best, portable, avx2 or avx512");
  }
  TORCH_CHECK(isa <= best, "this processor has no ", name);
  return isa;
}

}  // namespace intone
