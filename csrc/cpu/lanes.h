// Sixteen floats at a time in plain C++: one register with AVX-512, two with AVX2, four otherwise. Sums are taken in
// the same order on every processor. All of it is inlined into functions that are compiled for one instruction set.

#pragma once

#include <cstdint>

#include "cpu/attributes.h"
#include "cpu/vector_kernels.h"

namespace intone {

typedef float Lanes __attribute__((vector_size(4 * kLanes)));

// By reference: how a vector is passed by value depends on the instruction set.
INTONE_INLINE void load_lanes(const float* from, Lanes& to) { __builtin_memcpy(&to, from, sizeof(Lanes)); }
INTONE_INLINE void store_lanes(const Lanes& from, float* to) { __builtin_memcpy(to, &from, sizeof(Lanes)); }

INTONE_INLINE float sum_of(const Lanes& lanes) {
  float parts[kLanes];
  store_lanes(lanes, parts);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) parts[i] += parts[i + width];
  }
  return parts[0];
}

// e^x to 2 units in the last place; 0 below -87, e^88 above 88.
INTONE_INLINE float exponential(float x) {
  constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f, kRound = 12582912.0f;
  const float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float rounded = clamped * kLog2E + kRound, power = rounded - kRound;  // to the nearest integer
  const float rest = (clamped - power * kLn2High) - power * kLn2Low;
  float series = 1.0f / 5040.0f;
  series = series * rest + 1.0f / 720.0f;
  series = series * rest + 1.0f / 120.0f;
  series = series * rest + 1.0f / 24.0f;
  series = series * rest + 1.0f / 6.0f;
  series = series * rest + 0.5f;
  series = series * rest + 1.0f;
  series = series * rest + 1.0f;
  // The last bits of `rounded` are the integer. Not a conversion, which is undefined for NaN.
  uint32_t bits, offset;
  __builtin_memcpy(&bits, &rounded, sizeof(bits));
  __builtin_memcpy(&offset, &kRound, sizeof(offset));
  bits = (bits - offset + 127u) << 23;
  float scale;
  __builtin_memcpy(&scale, &bits, sizeof(scale));
  return x < -87.0f ? 0.0f : series * scale;
}

}  // namespace intone
