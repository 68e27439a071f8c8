#include "runtimes/conv_graph_layer.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>

#include "cpu/large_pages.h"
#include "cpu/toom_cook.h"

namespace intone {
namespace {

constexpr int64_t kMaxSize = int64_t{1} << 16;  // of an axis: products do not overflow

int64_t ceil_to(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

at::Tensor checked(const at::Tensor& tensor, at::IntArrayRef shape, size_t layer, const char* name) {
  TORCH_CHECK(tensor.sizes() == shape && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "layer ",
              layer, ": ", name, " is ", tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device(),
              ", expected ", shape, " Float on cpu");
  return tensor.contiguous();
}

at::Tensor pad_last(const at::Tensor& tensor, int64_t size) {
  return at::constant_pad_nd(tensor, {0, size - tensor.size(-1)}).contiguous();
}

// The width of a panel, in vectors, that leaves the fewest columns unused; a wide one needs fewer loads.
int64_t panel_vectors(int64_t columns, int64_t lanes) {
  int64_t best = kMaxVectors;
  for (int64_t vectors = kMaxVectors - 1; vectors > 0; --vectors) {
    if (ceil_to(columns, vectors * lanes) < ceil_to(columns, best * lanes)) best = vectors;
  }
  return best;
}

// Packs columns from `first` on: weight [Cout, Cin, K] → [points, blocks · width, columns of a panel].
template <int M, int R>
void pack_panel(const GraphLayer& layer, const float* weight, int64_t first, int64_t columns, float* panel) {
  const int64_t used = std::min(columns, layer.out_channels - first);
  for (int64_t block = 0; block < layer.shape.blocks(layer.kernel); ++block) {
    const int64_t taps = std::min<int64_t>(R, layer.kernel - block * R);
    for (int64_t channel = 0; channel < layer.channels; ++channel) {
      float* to = panel + (block * layer.width + channel) * columns;
      for (int64_t column = 0; column < used; ++column) {
        const float* from = weight + ((first + column) * layer.channels + channel) * layer.kernel + block * R;
        for (int64_t point = 0; point < M + R - 1; ++point) {
          double sum = 0;
          for (int64_t r = 0; r < taps; ++r) sum += kToomCook<M, R>.weights[point][r] * from[r];
          to[point * layer.depth() * columns + column] = static_cast<float>(sum);
        }
      }
    }
  }
}

void pack_panel(const GraphLayer& layer, const float* weight, int64_t first, int64_t columns, float* panel) {
  switch (layer.shape.taps) {
    case 1:
      return pack_panel<1, 1>(layer, weight, first, columns, panel);
    case 2:
      return pack_panel<4, 2>(layer, weight, first, columns, panel);
    case 3:
      return pack_panel<4, 3>(layer, weight, first, columns, panel);
    default:
      return pack_panel<4, 4>(layer, weight, first, columns, panel);
  }
}

}  // namespace

GraphLayer::GraphLayer(const GraphLayerWeights& weights, const TiledConvKernels& kernels, size_t index)
    : sources(weights.sources),
      target(weights.target),
      residual(weights.residual.value_or(-1)),
      dilation(weights.dilation),
      up(weights.up),
      gain(static_cast<float>(weights.gain)) {
  TORCH_CHECK(!sources.empty() && sources.size() <= kMaxSources, "layer ", index, " has ", sources.size(),
              " sources, expected 1 to ", kMaxSources);
  TORCH_CHECK(residual >= 0 || !weights.residual, "layer ", index, " reads signal ", residual);
  TORCH_CHECK(0 < dilation && dilation <= kMaxSize && 0 < up && up <= kMaxSize, "layer ", index, ": dilation is ",
              dilation, " and up is ", up, ", expected 1 to ", kMaxSize);
  const at::Tensor& given = weights.weight;
  TORCH_CHECK(given.dim() == 3 && given.numel() > 0 && given.size(0) % up == 0 && given.size(0) <= kMaxSize &&
                  given.size(1) <= kMaxSize && given.size(2) <= kMaxSize,
              "layer ", index, ": weight is ", given.sizes(), ", expected [", up, " · Cout, Cin, K], axes of 1 to ",
              kMaxSize);
  kernel = given.size(2);
  channels = given.size(1);
  out_channels = given.size(0) / up;
  TORCH_CHECK(up == 1 ? kernel % 2 == 1 : kernel == 2 && up % 2 == 0 && dilation == 1, "layer ", index, ": kernel ",
              kernel, " and dilation ", dilation, " do not go with up ", up);
  TORCH_CHECK(kernel * dilation <= kMaxSize, "layer ", index, " reaches over ", kernel * dilation,
              " rows, expected at most ", kMaxSize);
  TORCH_CHECK(weights.alpha.has_value() == weights.beta.has_value(), "layer ", index,
              ": expected both alpha and beta, or neither");
  width = ceil_to(channels, kernels.lanes);
  out_width = ceil_to(out_channels, kernels.lanes);
  shape = tile_shape(kernel);
  if (weights.alpha) {
    alpha = pad_last(checked(*weights.alpha, {channels}, index, "alpha"), width);
    inverse = pad_last(checked(*weights.beta, {channels}, index, "beta").add(1e-9).reciprocal(), width);
  }
  vectors = panel_vectors(out_width, kernels.lanes);
  const int64_t columns = vectors * kernels.lanes, padded = ceil_to(out_width, columns);
  const at::Tensor checked_weight = checked(given, given.sizes(), index, "weight");
  matrix = zeros_in_large_pages(up * padded * shape.points() * depth()).view(at::kFloat);
  matrix = matrix.view({up, padded / columns, shape.points(), depth(), columns});
  float* packed = matrix.mutable_data_ptr<float>();
  at::parallel_for(0, up * panels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* of_phase = checked_weight.const_data_ptr<float>() + i / panels() * out_channels * channels * kernel;
      pack_panel(*this, of_phase, i % panels() * columns, columns, packed + i * shape.points() * depth() * columns);
    }
  });
  const at::Tensor row = weights.bias ? checked(*weights.bias, {up * out_channels}, index, "bias")
                                      : at::zeros({up * out_channels}, at::kFloat);
  bias = pad_last(row.view({up, out_channels}), padded);
}

}  // namespace intone
