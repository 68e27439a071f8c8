// How a stage's weights are laid out.

#include "runtimes/audio_vae_stage.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "cpu/large_pages.h"

namespace intone {
namespace {

constexpr int64_t kSkew = kConvLanes;  // floats between rows: without them all rows would meet in one set of the cache

int64_t padded(int64_t channels, int64_t multiple = kConvLanes) {
  return (channels + multiple - 1) / multiple * multiple;
}

// What a message calls a tensor.
struct Name {
  size_t stage;
  const char* part;
};

at::Tensor checked(const at::Tensor& tensor, at::IntArrayRef shape, const Name& name) {
  TORCH_CHECK(tensor.sizes() == shape && tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "stage ",
              name.stage, ": ", name.part, " is ", tensor.sizes(), " ", tensor.scalar_type(), " on ", tensor.device(),
              ", expected ", shape, " Float on cpu");
  return tensor.contiguous();
}

// The last axis filled up with zeros; always a copy.
at::Tensor filled_up(const at::Tensor& tensor, int64_t size) {
  return at::constant_pad_nd(tensor, {0, size - tensor.size(-1)}).contiguous();
}

at::Tensor row_of(const std::optional<at::Tensor>& values, int64_t width, int64_t channels, const Name& name) {
  return values ? filled_up(checked(*values, {channels}, name), width) : at::Tensor();
}

at::Tensor inverse_of(const at::Tensor& alpha) { return alpha.defined() ? alpha.add(1e-9).reciprocal() : alpha; }

// weight [up · Cout, window · Cin] to panels.
at::Tensor in_panels(const Stage& stage, const at::Tensor& weight) {
  const int64_t up = stage.up, out = stage.out_channels, window = stage.window, in = stage.channels;
  at::Tensor matrix = filled_up(weight.view({up, out, window, in}), stage.width);  // [up, Cout, window, width]
  matrix = at::constant_pad_nd(matrix, {0, 0, 0, 0, 0, stage.out_width - out}).view({stage.columns, -1});
  const int64_t columns = padded(stage.columns, kConvPanel);
  matrix = at::constant_pad_nd(matrix, {0, stage.depth - matrix.size(1), 0, columns - stage.columns});
  at::Tensor panels = zeros_in_large_pages(columns * stage.depth).view(at::kFloat);
  panels = panels.view({-1, stage.depth, kConvPanel});
  return panels.copy_(matrix.view({-1, kConvPanel, stage.depth}).transpose(1, 2));
}

}  // namespace

Stage::Stage(const StageWeights& weights, size_t index, size_t count)
    : window(weights.window),
      stride(weights.stride),
      up(weights.up),
      tail_rows(weights.tail_rows),
      dilation(weights.dilation),
      residual(weights.residual) {
  TORCH_CHECK(weights.weight.dim() == 2 && window > 0 && stride > 0 && up > 0 && tail_rows >= 0 && dilation > 0 &&
                  weights.weight.size(0) % up == 0 && weights.weight.size(1) % window == 0,
              "stage ", index, ": weight is ", weights.weight.sizes(), ", expected [", up, " · Cout, ", window,
              " · Cin]");
  channels = weights.weight.size(1) / window;
  out_channels = weights.weight.size(0) / up;
  mono = index == 0 && channels == 1 && !weights.taps;
  to_one = index + 1 == count && out_channels == 1 && !weights.taps && up == 1 && stride == 1;
  width = mono ? 1 : padded(channels);
  out_width = padded(out_channels);
  depth = padded(window * width);
  columns = up * out_width;
  const int64_t needed = weights.taps ? (kConvTaps - 1) * dilation : window - stride;
  TORCH_CHECK(weights.taps ? window == 1 && stride == 1 && tail_rows == needed : tail_rows >= needed, "stage ", index,
              ": ", tail_rows, " rows of past do not fit its kernel");
  TORCH_CHECK(!residual || (up == 1 && stride == 1 && channels == out_channels), "stage ", index,
              ": its output does not fit its input, to which it is added");

  alpha = row_of(weights.alpha, width, channels, {index, "alpha"});
  inverse = inverse_of(alpha);
  scale = row_of(weights.scale, width, channels, {index, "scale"});
  shift = row_of(weights.shift, width, channels, {index, "shift"});
  TORCH_CHECK(scale.defined() == shift.defined(), "stage ", index, ": scale and shift come together");
  if (weights.taps) {
    taps = filled_up(checked(*weights.taps, {kConvTaps, channels}, {index, "taps"}), width);
    taps_bias = row_of(weights.taps_bias.value_or(at::zeros(channels)), width, channels, {index, "taps_bias"});
    taps_alpha = row_of(weights.taps_alpha, width, channels, {index, "taps_alpha"});
    taps_inverse = inverse_of(taps_alpha);
  }
  const at::Tensor matrix = checked(weights.weight, {up * out_channels, window * channels}, {index, "weight"});
  const at::Tensor row = checked(weights.bias, {up * out_channels}, {index, "bias"});
  panels = to_one ? filled_up(matrix.view({window, channels}), width) : in_panels(*this, matrix);
  bias = filled_up(row.view({up, out_channels}), out_width).flatten();
}

int64_t Stage::seen_stride() const { return mono ? 1 : width + kSkew; }

}  // namespace intone
