// The innermost part of a linear layer: a block of 64 columns times a block of rows. One function for each type of
// weights and each instruction set; knows neither threads nor what is done with the sums.
//
// Weights and rows come in words of 32 bits, each with as many inputs of one column or row as fit: 4 int8, 2 bfloat16
// or 1 float. A step is one word of every column.

#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace intone {

enum class WeightType {
  kInt8,   // a scale for each column; inputs are rounded too, with a scale for each row. The sums are exact.
  kBf16,   // inputs are rounded to bfloat16 too; the sums are float
  kFloat,  // nothing is rounded
};

constexpr int kPanel = 16;                       // columns of a register
constexpr int kPanels = 4;                       // of a block
constexpr int kBlockColumns = kPanel * kPanels;  // 64
constexpr int kHalfBlock = kBlockColumns / 2;    // of a gated layer: outputs, each the product of two columns
constexpr int kBlockRows = 24;                   // at most: their sums fill three quarters of the registers
constexpr int kTile = 16;                        // words of a row that lie side by side: a line of the cache

struct LinearBlock {
  int64_t steps;
  const uint32_t* weights;     // [kPanels, steps, kPanel]; int8 with 128 added where `adds_128` says so
  const float* column_scales;  // [kBlockColumns]
  const uint32_t* rows;        // [steps / kTile rounded up, count, kTile]
  const float* row_scales;     // [count]
  const int32_t* row_sums;     // [count], of the inputs as int8
  int count;                   // 1 to kBlockRows
  float* sums;                 // [count, kBlockColumns]
};

struct LinearKernel {
  void (*sum)(const LinearBlock& block);
  bool adds_128;
};

// A sum does not depend on how many rows there are. int8: the same to the bit on every instruction set.
LinearKernel linear_kernel(WeightType type, Isa isa);

LinearKernel linear_kernel_portable(WeightType type);
#if defined(__x86_64__)
LinearKernel linear_kernel_avx2(WeightType type);
LinearKernel linear_kernel_avx512(WeightType type);  // bfloat16 only where has_avx512_bf16()
#endif

}  // namespace intone
