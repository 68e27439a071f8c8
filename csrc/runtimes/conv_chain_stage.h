// One stage of a chain of causal convolutions: its description, and its packed weights.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cpu/conv_kernels.h"
#include "cpu/packed.h"

namespace intone {

// Description of a stage: `matrix(depthwise(snake(x · scale + shift)))`, plus x where it is residual. Tensors are
// float32 and copied.
struct StageWeights {
  // [Cin] each, applied before the convolution; without alpha there is no snake, without scale no scale and shift.
  std::optional<at::Tensor> alpha, scale, shift;
  // [K, Cin], oldest first, [Cin] and [Cin]: the optional depthwise convolution and the snake after it.
  std::optional<at::Tensor> taps, taps_bias, taps_alpha;
  // [up · Cout, window · Cin], windows of rows oldest first, and [up · Cout]: one product makes `up` rows.
  at::Tensor weight, bias;
  int64_t dilation, window, stride, up, tail_rows;
  bool residual;
};

constexpr int64_t kRowPadding = kConvLanes;  // floats between rows: without them all rows would map to one cache set

// A packed stage: channels padded to whole vectors with zeros, the matrix in panels of columns.
struct Stage {
  int64_t channels, width;          // of the input: real and padded
  int64_t out_channels, out_width;  // of the output: real and padded
  int64_t window, stride, up, tail_rows, dilation;
  int64_t depth, columns;  // of the matrix, padded
  bool residual;
  at::Tensor alpha, inverse, scale, shift;               // [width]
  at::Tensor taps, taps_bias, taps_alpha, taps_inverse;  // [kConvTaps, width], [width]
  at::Tensor panels;  // [ceil(columns / kConvPanel), depth, kConvPanel], the last one padded
  at::Tensor bias;    // [columns]

  bool mono;    // the input is samples: rows of one channel, not padded
  bool to_one;  // the output is samples; `panels` is then [window, width]

  // Stage `index` of `count`.
  Stage(const StageWeights& weights, size_t index, size_t count);

  // From a copy of the tensors of `packed`, of the stage at the same index of another chain.
  Stage(const Packed& packed, size_t index, size_t count);

  // The members above, not copies: the integers as "sizes", and the tensors that are defined.
  Packed packed() const;

  // Floats from one row of the input to the next.
  int64_t input_stride() const;

 private:
  void set_padded_sizes(size_t index, size_t count, bool has_taps);
};

}  // namespace intone
