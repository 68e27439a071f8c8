// One layer of a graph of centred convolutions: its description, and its packed weights.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/tiled_conv.h"

namespace intone {

// Description of a layer: `target = conv(activation(gain · Σ sources)) + residual`. Signals are numbered; 0 is the
// input. Tensors are float32 and copied.
struct GraphLayerWeights {
  std::vector<int64_t> sources;
  int64_t target;
  std::optional<int64_t> residual;
  // [up · Cout, Cin, K], K odd: row q of the target depends on rows q ± (K - 1) / 2 · dilation. Or, where `up` is even,
  // K = 2: rows q - 1 and q of the source make rows up · q - up / 2 and on of the target, `up` rows. [up · Cout].
  at::Tensor weight;
  std::optional<at::Tensor> bias;
  std::optional<at::Tensor> alpha, beta;  // [Cin], of the anti-aliased activation; both or none
  int64_t dilation, up;
  double gain;
};

struct GraphLayer {
  std::vector<int64_t> sources;
  int64_t target, residual;         // -1: none
  int64_t channels, width;          // of the sources: real, and padded to whole vectors
  int64_t out_channels, out_width;  // of the target
  int64_t kernel, dilation, up;
  float gain;
  TileShape shape;
  at::Tensor alpha, inverse;  // [width]
  // [up, panels, points, blocks · width, vectors · lanes], the columns of the last panel padded:
  //
  //   panel 0, point 0      block 0: channel 0, the panel's columns
  //                                  channel 1 …
  //                         block 1 …
  //            point 1 …
  //   panel 1 …
  at::Tensor matrix;
  at::Tensor bias;  // [up, panels · vectors · lanes]
  int64_t vectors;  // of a panel

  GraphLayer(const GraphLayerWeights& weights, const TiledConvKernels& kernels, size_t index);

  int64_t depth() const { return shape.blocks(kernel) * width; }
  int64_t panels() const { return matrix.size(1); }
  // Rows before and behind a product's that it takes from the activated sources.
  int64_t left() const { return up > 1 ? 1 : (kernel - 1) / 2 * dilation; }
  int64_t right() const { return (kernel - 1) * dilation - left(); }
  int64_t shift() const { return up / 2; }  // product q makes the target's row up · q - shift and those after it
  int64_t reach() const { return alpha.defined() ? kSnakeReach : 0; }
};

}  // namespace intone
