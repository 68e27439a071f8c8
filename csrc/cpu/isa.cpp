#include "cpu/isa.h"

#include <c10/util/Exception.h>

namespace intone {

namespace {

constexpr const char* kNames[] = {"portable", "avx2", "avx512", "avx512_bf16"};

}  // namespace

Isa best_isa() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::kPortable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512vnni");
  if (!avx512) return Isa::kAvx2;
  return __builtin_cpu_supports("avx512bf16") ? Isa::kAvx512Bf16 : Isa::kAvx512;
#else
  return Isa::kPortable;
#endif
}

std::string name_of(Isa isa) { return kNames[static_cast<int>(isa)]; }

Isa isa_named(const std::string& name) {
  const Isa best = best_isa();
  if (name == "best") return best;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16}) {
    if (name != name_of(isa)) continue;
    TORCH_CHECK(isa <= best, "this processor has no ", name);
    return isa;
  }
  TORCH_CHECK(false, "found instruction set '", name, "', expected best, portable, avx2, avx512 or avx512_bf16");
}

}  // namespace intone
