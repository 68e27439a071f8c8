// The innermost part of a linear layer: a block of 64 columns times a block of rows. One function for each type of
// weights and each instruction set. `linear.h` shows the packed layout.
//
// Weights and rows are packed in words of 32 bits, each with as many inputs of one column or row as fit: 4 int8,
// 2 bfloat16 or 1 float. A step is one word of every column.

#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace intone {

enum class WeightType {
  kInt8,   // one scale per column; inputs are quantized too, one scale per row. The sums are exact.
  kBf16,   // inputs are rounded to bfloat16 too; the sums are float. Half the bytes of floats to read
  kFloat,  // no rounding
};

constexpr int kPanel = 16;                       // columns in a register
constexpr int kPanels = 4;                       // panels in a block
constexpr int kBlockColumns = kPanel * kPanels;  // 64
constexpr int kHalfBlock = kBlockColumns / 2;    // outputs of a gated layer, each of two columns
constexpr int kBlockRows = 24;                   // at most: their sums take three quarters of the registers
constexpr int kTileWords = 16;                   // contiguous words of a row: one cache line

struct LinearBlock {
  int64_t steps;
  const uint32_t* weights;     // [kPanels, steps, kPanel]; int8 with an offset of 128 if `adds_128`
  const float* column_scales;  // [kBlockColumns]
  const uint32_t* rows;        // [ceil(steps * row_words / kTileWords), count, kTileWords]
  const float* row_scales;     // [count]
  const int32_t* row_sums;     // [count], sums of the int8 inputs
  int count;                   // 1 to kBlockRows
  float* sums;                 // [count, kBlockColumns]
};

struct LinearKernel {
  void (*sum)(const LinearBlock& block);
  bool adds_128 = false;
  // Words of a row to a step. 2 where the processor does not multiply bfloat16, or sums of four int8: the rounded
  // inputs are kept as floats, or in 16 bits, inputs 0 and 2 of a step in the first word, 1 and 3 in the second; and
  // only the weights, which are read from memory, are widened while they are multiplied.
  int row_words = 1;
};

// A row's sums do not depend on `count`. int8: bit-identical on every instruction set.
LinearKernel linear_kernel(WeightType type, Isa isa);

LinearKernel linear_kernel_portable(WeightType type);
#if defined(__x86_64__)
LinearKernel linear_kernel_avx2(WeightType type);
LinearKernel linear_kernel_avx512(WeightType type, bool has_bf16);
#endif

}  // namespace intone
