// The matrix product of a warp on the CPU, for tests: stands in for `csrc/cuda/mma.cuh`. Every lane shows its part to
// the others and computes its four sums from theirs, by the layout that the PTX manual gives for "mma.m16n8k16".

#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>

#include "cuda/launch.cuh"

namespace intone::cuda {

template <typename T>
float number_of(uint32_t word, int index) {
  T number;
  number.x = static_cast<uint16_t>(index == 0 ? word : word >> 16);
  return static_cast<float>(number);
}

template <typename T>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], T) {
  uint32_t of_a[4][32], of_b[2][32];
  for (int i = 0; i < 4; ++i) emulation::gather(a[i], of_a[i]);
  for (int i = 0; i < 2; ++i) emulation::gather(b[i], of_b[i]);
  const int lane = static_cast<int>(threadIdx.x) % emulation::kWarpSize;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2;  // of the four lanes of a row, or of a column
      const float left = number_of<T>(of_a[k / 8 * 2 + row / 8][row % 8 * 4 + holder], k % 2);
      d[i] += left * number_of<T>(of_b[k / 8][column * 4 + holder], k % 2);
    }
  }
}

}  // namespace intone::cuda
