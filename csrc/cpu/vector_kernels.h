// Loops over rows of activations: rounding, epilogues, norms, rotary positions, attention. Compiled for each
// instruction set from the same code; sums are taken in the same order on all of them.

#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace intone {

constexpr int64_t kLanes = 16;      // floats that are summed side by side
constexpr float kMaxInt8 = 127.0f;  // symmetric: -128 is not used

// Where the words of a packed row are stored: tiles of kTileWords words, the starts of two tiles `stride` words apart.
struct Tiles {
  uint32_t* first;
  int64_t stride;
};

// c [rows, columns] += a [rows, steps] · b [steps, columns]; rows are `a_stride`, `b_stride` and `c_stride` apart.
struct Product {
  static constexpr int64_t kMaxRows = 4;

  const float* a;
  int64_t rows, a_stride, steps;
  const float* b;
  int64_t columns, b_stride;
  float* c;
  int64_t c_stride;
};

struct VectorKernels {
  float (*max_magnitude)(const float* x, int64_t count);

  // Quantizes x [count] to int8 and returns the sum. `wide`: each in 16 bits, inputs 0 and 2, then 1 and 3 of each four
  // in a word; the last four are filled up with zeros.
  int32_t (*round_to_int8)(const float* x, int64_t count, float factor, const Tiles& to);
  int32_t (*round_to_wide_int8)(const float* x, int64_t count, float factor, const Tiles& to);

  // To nearest, ties to even: two in a word, or `wide`, each as a float. NaN may become infinity, which propagates as
  // well.
  void (*round_to_bf16)(const float* x, int64_t count, const Tiles& to);
  void (*round_to_wide_bf16)(const float* x, int64_t count, const Tiles& to);

  // Epilogues: y [count] from the sums of a row of a block; `swiglu` from all of them.
  void (*store)(const float* sums, const float* bias, int64_t count, float* y);
  void (*accumulate)(const float* sums, const float* bias, int64_t count, float* y);
  void (*gelu)(const float* sums, const float* bias, int64_t count, float* y);
  void (*swiglu)(const float* sums, int64_t count, float* y);

  // x [width] to y, which may be x.
  void (*rms_norm)(const float* x, const float* gain, float eps, int64_t width, float* y);
  void (*layer_norm)(const float* x, const float* gain, const float* shift, float eps, int64_t width, float* y);

  // In place, [heads, head_dim]; cos and sin [head_dim], the first half of sin negated.
  void (*rotate_heads)(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin);

  // Up to kMaxRows rows.
  void (*multiply)(const Product& product);

  // In place: scores [count], a multiple of kLanes, to exp(scale · (score - maximum)). Returns their sum.
  float (*exp_scores)(float* scores, int64_t count, float scale);
};

const VectorKernels& vector_kernels(Isa isa);

}  // namespace intone
