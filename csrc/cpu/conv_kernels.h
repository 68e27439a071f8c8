// The inner loops of causal convolutions over rows of channels, for each instruction set. They know nothing of models.
//
// Every sum is taken in one order, whichever rows are computed together: a row's bits do not depend on its company.

#pragma once

#include <cstdint>

#include "cpu/isa.h"

namespace intone {

constexpr int64_t kConvLanes = 16;  // channels come in multiples of this, zeros added
constexpr int64_t kConvPanel = 32;  // columns of a matrix that are summed at a time
constexpr int64_t kConvTaps = 7;    // of a depthwise convolution

// The activation before a layer: snake(x · scale + shift), one value of each for a channel. Without alpha x stays as it
// is, without scale it is not shifted either.
struct Bend {
  const float *alpha = nullptr, *inverse = nullptr, *scale = nullptr, *shift = nullptr;  // inverse: 1 / (alpha + 1e-9)
};

// A convolution of each channel with its own kernel, and the activation after it.
struct Depthwise {
  const float *taps, *bias;  // [kConvTaps, channels], oldest first, and [channels]
  Bend then;
  int64_t dilation, channels;
};

// Where the sums of one row go.
struct SumsRow {
  float* plain;  // added to what is there, or stored; null: not kept
  float* bent;   // after the activation of the next layer; null: there is none
};

// Rows of a product with kConvPanel columns of a matrix, and what is done to the sums.
struct PanelJob {
  const float* x;      // [rows, depth], `stride` apart
  const float* panel;  // [depth, kConvPanel]
  int64_t rows, depth, stride;
  float* sums;             // [rows, kConvPanel], to compute in
  const SumsRow* targets;  // of each row
  const float* bias;       // of the columns
  // Of the first and of the second kConvLanes columns: the activation, and where they stand in the targets.
  Bend bend[2];
  int64_t plain_at[2], bent_at[2];
  int64_t columns;  // kConvLanes or kConvPanel
  bool add;
};

struct ConvKernels {
  void (*panel)(const PanelJob& job);

  // Rows `stride` apart, the first one the oldest that the first result needs → y [rows, channels], `y_stride` apart.
  void (*depthwise)(const Depthwise& layer, const float* x, int64_t stride, float* y, int64_t y_stride, int64_t rows);

  // y[r] = bias + the sum over `window` rows from r on of x · weight [window, channels].
  void (*to_one)(const float* x, int64_t stride, int64_t window, int64_t channels, const float* weight, float bias,
                 float* y, int64_t rows);
};

const ConvKernels& conv_kernels(Isa isa);

}  // namespace intone
