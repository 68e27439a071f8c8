// The matrix product of a warp: D += A · B with A [16, 16], B [16, 8], D [16, 8]. Lane l = 4 · g + t holds, of A, rows
// g and g + 8, of B and D, column g and columns 2t, 2t + 1. See "mma.m16n8k16" in the PTX manual.

#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>

namespace intone::cuda {

// `a`: inputs 2t, 2t + 1 of row g, of row g + 8; then inputs 2t + 8, 2t + 9 of both. `b`: inputs 2t, 2t + 1 and 2t + 8,
// 2t + 9 of column g. `d`: rows g, columns 2t, 2t + 1, then row g + 8. Two numbers to a word, the first one low.
__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], c10::BFloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ inline void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], c10::Half) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace intone::cuda
