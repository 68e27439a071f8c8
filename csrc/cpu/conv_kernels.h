// The inner loops of causal convolutions over rows of channels, for each instruction set.
//
// Batch-invariant, bit for bit: every sum is taken in one order, whichever rows are computed together.

#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace intone {

constexpr int64_t kConvLanes = 16;  // channels are padded with zeros to a multiple of this
constexpr int64_t kConvPanel = 32;  // columns of a matrix that are summed at a time
constexpr int64_t kConvTaps = 7;    // of a depthwise convolution
constexpr int64_t kConvRows = 12;   // a multiple of the rows that fill the registers of any instruction set

// Parameters of an activation snake(x · scale + shift), one of each per channel. Without alpha there is no snake,
// without scale no scale and shift.
struct SnakeParameters {
  const float *alpha = nullptr, *inverse = nullptr, *scale = nullptr, *shift = nullptr;  // inverse: 1 / (alpha + 1e-9)
};

// A depthwise convolution and the activation after it.
struct Depthwise {
  const float *taps, *bias;  // [kConvTaps, channels], oldest first, and [channels]
  SnakeParameters snake;
  int64_t dilation, channels;
};

// Where the sums of one row are stored.
struct SumsRow {
  float* plain;      // added to the existing value, or stored; null: not stored
  float* activated;  // after the activation of the next layer; null: there is none
};

// A product of rows with kConvPanel columns of a matrix, and how its sums are stored.
struct PanelJob {
  const float* x;      // [rows, depth], `stride` apart
  const float* panel;  // [depth, kConvPanel]
  int64_t rows, depth, stride;
  float* sums;             // [rows, kConvPanel], scratch
  const SumsRow* targets;  // one per row
  const float* bias;       // of the columns
  // For the first and the second kConvLanes columns: the activation, and their offsets in the targets.
  SnakeParameters snake[2];
  int64_t plain_at[2], activated_at[2];
  int64_t columns;  // kConvLanes or kConvPanel
  bool accumulate;
};

struct ConvKernels {
  void (*panel)(const PanelJob& job);

  // Input rows are `stride` apart, from the oldest one that the first result needs → y [rows, channels], `y_stride`
  // apart.
  void (*depthwise)(const Depthwise& layer, const float* x, int64_t stride, float* y, int64_t y_stride, int64_t rows);

  // y[r] = bias + Σ over `window` rows from r on of x · weight [window, channels].
  void (*to_one)(const float* x, int64_t stride, int64_t window, int64_t channels, const float* weight, float bias,
                 float* y, int64_t rows);
};

const ConvKernels& conv_kernels(Isa isa);

}  // namespace intone
