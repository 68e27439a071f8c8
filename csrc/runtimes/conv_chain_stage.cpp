#include "runtimes/conv_chain_stage.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "cpu/large_pages.h"

namespace intone {
namespace {

constexpr int64_t kSizes = 8;
constexpr int64_t kMaxSize = int64_t{1} << 20;  // of a stage: products of three do not overflow

int64_t padded(int64_t channels, int64_t multiple = kConvLanes) {
  return (channels + multiple - 1) / multiple * multiple;
}

// The name of a tensor in messages.
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

// Pads the last axis with zeros; always a copy.
at::Tensor pad_last(const at::Tensor& tensor, int64_t size) {
  return at::constant_pad_nd(tensor, {0, size - tensor.size(-1)}).contiguous();
}

at::Tensor padded_row(const std::optional<at::Tensor>& values, int64_t width, int64_t channels, const Name& name) {
  return values ? pad_last(checked(*values, {channels}, name), width) : at::Tensor();
}

at::Tensor reciprocal_of(const at::Tensor& alpha) { return alpha.defined() ? alpha.add(1e-9).reciprocal() : alpha; }

// Packs weight [up · Cout, window · Cin] into panels.
at::Tensor pack_panels(const Stage& stage, const at::Tensor& weight) {
  const int64_t up = stage.up, out = stage.out_channels, window = stage.window, in = stage.channels;
  at::Tensor matrix = pad_last(weight.view({up, out, window, in}), stage.width);  // [up, Cout, window, width]
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
  TORCH_CHECK(weights.weight.dim() == 2 && window > 0 && up > 0 && weights.weight.numel() > 0 &&
                  weights.weight.size(0) % up == 0 && weights.weight.size(1) % window == 0,
              "stage ", index, ": weight is ", weights.weight.sizes(), ", expected [", up, " · Cout, ", window,
              " · Cin]");
  channels = weights.weight.size(1) / window;
  out_channels = weights.weight.size(0) / up;
  set_padded_sizes(index, count, weights.taps.has_value());

  alpha = padded_row(weights.alpha, width, channels, {index, "alpha"});
  inverse = reciprocal_of(alpha);
  scale = padded_row(weights.scale, width, channels, {index, "scale"});
  shift = padded_row(weights.shift, width, channels, {index, "shift"});
  TORCH_CHECK(scale.defined() == shift.defined(), "stage ", index, ": expected both scale and shift, or neither");
  if (weights.taps) {
    taps = pad_last(checked(*weights.taps, {kConvTaps, channels}, {index, "taps"}), width);
    taps_bias = padded_row(weights.taps_bias.value_or(at::zeros(channels)), width, channels, {index, "taps_bias"});
    taps_alpha = padded_row(weights.taps_alpha, width, channels, {index, "taps_alpha"});
    taps_inverse = reciprocal_of(taps_alpha);
  }
  const at::Tensor matrix = checked(weights.weight, {up * out_channels, window * channels}, {index, "weight"});
  const at::Tensor row = checked(weights.bias, {up * out_channels}, {index, "bias"});
  panels = to_one ? pad_last(matrix.view({window, channels}), width) : pack_panels(*this, matrix);
  bias = pad_last(row.view({up, out_channels}), out_width).flatten();
}

Stage::Stage(const Packed& packed, size_t index, size_t count) {
  const at::Tensor sizes = part_of(packed, "sizes", at::kLong, {kSizes});
  const int64_t* size = sizes.const_data_ptr<int64_t>();
  channels = size[0];
  out_channels = size[1];
  window = size[2];
  stride = size[3];
  up = size[4];
  tail_rows = size[5];
  dilation = size[6];
  residual = size[7] != 0;
  set_padded_sizes(index, count, packed.count("taps") > 0);
  const auto row = [&](const char* name) {
    return packed.count(name) ? part_of(packed, name, at::kFloat, {width}).clone() : at::Tensor();
  };
  alpha = row("alpha");
  inverse = row("inverse");
  scale = row("scale");
  shift = row("shift");
  taps_bias = row("taps_bias");
  taps_alpha = row("taps_alpha");
  taps_inverse = row("taps_inverse");
  TORCH_CHECK(alpha.defined() == inverse.defined() && scale.defined() == shift.defined() &&
                  taps_alpha.defined() == taps_inverse.defined(),
              "packed stage ", index, ": a tensor of a pair is missing");
  if (packed.count("taps")) {
    taps = part_of(packed, "taps", at::kFloat, {kConvTaps, width}).clone();
    TORCH_CHECK(taps_bias.defined(), "packed stage ", index, ": taps_bias is missing");
  }
  panels = copied_to_large_pages(
      to_one ? part_of(packed, "panels", at::kFloat, {window, width})
             : part_of(packed, "panels", at::kFloat, {padded(columns, kConvPanel) / kConvPanel, depth, kConvPanel}));
  bias = part_of(packed, "bias", at::kFloat, {columns}).clone();
}

Packed Stage::packed() const {
  Packed all{{"sizes", at::tensor({channels, out_channels, window, stride, up, tail_rows, dilation, int64_t{residual}},
                                  at::kLong)}};
  const std::pair<const char*, const at::Tensor*> parts[] = {
      {"alpha", &alpha}, {"inverse", &inverse},     {"scale", &scale},           {"shift", &shift},
      {"taps", &taps},   {"taps_bias", &taps_bias}, {"taps_alpha", &taps_alpha}, {"taps_inverse", &taps_inverse},
      {"bias", &bias},   {"panels", &panels},
  };
  for (const auto& [name, tensor] : parts) {
    if (tensor->defined()) all.emplace(name, *tensor);
  }
  return all;
}

// Derives the padded sizes, and checks that the sizes are consistent.
void Stage::set_padded_sizes(size_t index, size_t count, bool has_taps) {
  for (const int64_t size : {channels, out_channels, window, stride, up, dilation}) {
    TORCH_CHECK(0 < size && size <= kMaxSize, "stage ", index, ": found a size of ", size, ", expected 1 to ",
                kMaxSize);
  }
  TORCH_CHECK(0 <= tail_rows && tail_rows <= kMaxSize, "stage ", index, ": found ", tail_rows,
              " tail rows, expected 0 to ", kMaxSize);
  mono = index == 0 && channels == 1 && !has_taps;
  to_one = index + 1 == count && out_channels == 1 && !has_taps && up == 1 && stride == 1 && !mono && !residual;
  width = mono ? 1 : padded(channels);
  out_width = padded(out_channels);
  depth = padded(window * width);
  columns = up * out_width;
  const int64_t needed = has_taps ? (kConvTaps - 1) * dilation : window - stride;
  TORCH_CHECK(has_taps ? window == 1 && stride == 1 && tail_rows == needed : tail_rows >= needed, "stage ", index, ": ",
              tail_rows, " tail rows do not match its kernel");
  TORCH_CHECK(!residual || (up == 1 && stride == 1 && channels == out_channels), "stage ", index,
              ": a residual stage needs output and input of the same shape");
}

int64_t Stage::input_stride() const { return mono ? 1 : width + kRowPadding; }

}  // namespace intone
