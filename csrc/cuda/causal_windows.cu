// causal_windows on CUDA: the matrix whose product with a weight is a streaming convolution, for units in slots: scale,
// shift and activation of each row, and the rows before it, from the unit's slot where they are of the past. float.

#include <optional>

#include "cuda/tail.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

struct Before {
  const float* scale;  // null for none, with `shift`
  const float* shift;
  const float* alpha;  // null for none

  __device__ float operator()(float value, int64_t channel) const {
    if (scale != nullptr) value = value * scale[channel] + shift[channel];
    return alpha != nullptr ? snake(value, alpha[channel]) : value;
  }
};

// A thread computes a number of the past or of the input, and writes it to every window that has it.
__global__ void causal_windows_kernel(const float* x, Before before, Tail tail, float* windows, int64_t count,
                                      int64_t length, int64_t channels) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t channel = at % channels, seen = length + tail.rows, unit = at / (channels * seen);
  const int64_t row = at / channels % seen;  // of the past and the input
  const float value = row < tail.rows ? tail.before(unit, row * channels + channel)
                                      : before(x[(unit * length + row - tail.rows) * channels + channel], channel);
  for (int64_t k = 0; k <= tail.rows; ++k) {  // window w holds rows w to w + rows
    const int64_t window = row - k;
    if (window < 0 || window >= length) continue;
    windows[((unit * length + window) * (tail.rows + 1) + k) * channels + channel] = value;
  }
  if (row >= length) tail.keep(unit, (row - length) * channels + channel, value);
}

Tensor causal_windows_cuda(Tensor x, std::optional<Tensor> scale, std::optional<Tensor> shift,
                           std::optional<Tensor> alpha, int64_t past, Tensor tails, Tensor slots, int64_t first,
                           Tensor after) {
  constexpr const char* op = "causal_windows";
  const Tail tail = tail_of(op, x, tails, slots, first, after, past);
  const int64_t channels = x.size(2);
  STD_TORCH_CHECK(scale.has_value() == shift.has_value(), op, ": scale without shift, or shift without scale");
  const Before before{channels_of(op, "scale", scale, channels), channels_of(op, "shift", shift, channels),
                      channels_of(op, "alpha", alpha, channels)};
  const Guard guard(x);
  Tensor windows = torch::stable::new_empty(x, {x.size(0) * x.size(1), (past + 1) * channels});
  if (x.numel() == 0) return windows;
  const int64_t count = x.size(0) * (x.size(1) + past) * channels;
  launch(op, x, causal_windows_kernel, (count + kThreads - 1) / kThreads, kThreads, data<float>(x), before, tail,
         mutable_data<float>(windows), count, x.size(1), channels);
  return windows;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("causal_windows", TORCH_BOX(&causal_windows_cuda)); }

}  // namespace intone
