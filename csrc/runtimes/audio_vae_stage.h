// One stage of a chain of causal convolutions: as it is described, and as it is computed with.

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

// One stage as it is described: `matrix(depthwise(snake(x · scale + shift)))`, plus x where it is residual. Tensors are
// float32 and copied.
struct StageWeights {
  // [Cin] each, what stands before the convolution; without alpha there is no snake, without scale no map.
  std::optional<at::Tensor> alpha, scale, shift;
  // [K, Cin], oldest first, [Cin] and [Cin]: the depthwise convolution and the snake after it, where there are any.
  std::optional<at::Tensor> taps, taps_bias, taps_alpha;
  // [up · Cout, window · Cin], windows of rows oldest first, and [up · Cout]: one product makes `up` rows.
  at::Tensor weight, bias;
  int64_t dilation, window, stride, up, tail_rows;
  bool residual;
};

// A stage ready to compute: channels padded to vectors with zeros, the matrix in panels of columns.
struct Stage {
  int64_t channels, width;          // of the input: real, and as stored
  int64_t out_channels, out_width;  // of the output
  int64_t window, stride, up, tail_rows, dilation;
  int64_t depth, columns;  // of the matrix, as stored
  bool residual;
  at::Tensor alpha, inverse, scale, shift;               // [width]
  at::Tensor taps, taps_bias, taps_alpha, taps_inverse;  // [kConvTaps, width], [width]
  at::Tensor panels;  // [columns / kConvPanel, depth, kConvPanel], the last filled up
  at::Tensor bias;    // [columns]

  bool mono;    // the input is samples: rows of one channel, not padded
  bool to_one;  // the output is samples; `panels` is then [window, width]

  // Number `index` of `count`.
  Stage(const StageWeights& weights, size_t index, size_t count);

  // As it was at the same place of another chain, from a copy of what its `packed` gave.
  Stage(const Packed& packed, size_t index, size_t count);

  // Everything above: what can be counted as "sizes", and the tensors that are there. Not copies.
  Packed packed() const;

  // Floats between rows of the input.
  int64_t seen_stride() const;

 private:
  void measure(size_t index, size_t count, bool has_taps);
};

}  // namespace intone
