// causal_to_one on CUDA: the last layer of an audio decoder, from activated channels to samples in [-1, 1], for units
// in slots: a streaming convolution with one output, then tanh. A block for some samples of a unit. float.

#include "cuda/tail.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;  // and samples of a block
constexpr int kMaxPast = 8;
constexpr int kMaxChannels = 64;  // at a time
constexpr int kPitch = kMaxChannels + 1;

__global__ void causal_to_one_kernel(const float* x, const float* alpha, const float* weight, const float* bias,
                                     Tail tail, float* y, int64_t length, int64_t channels, int64_t tiles) {
  __shared__ float seen[(kThreads + kMaxPast) * kPitch], own_weight[(kMaxPast + 1) * kMaxChannels];
  const int64_t unit = blockIdx.x / tiles, first = blockIdx.x % tiles * kThreads;
  const int past = static_cast<int>(tail.rows);
  const int count = static_cast<int>(min(static_cast<int64_t>(kThreads), length - first));
  const bool last = first + count == length;  // the last rows of a unit are its next past
  float sum = bias[0];
  for (int64_t from = 0; from < channels; from += kMaxChannels) {
    const int wide = static_cast<int>(min(static_cast<int64_t>(kMaxChannels), channels - from));
    for (int i = threadIdx.x; i < (past + 1) * wide; i += kThreads) {
      own_weight[i] = weight[i / wide * channels + from + i % wide];
    }
    for (int i = threadIdx.x; i < (past + count) * wide; i += kThreads) {
      const int64_t row = first + i / wide - past, channel = from + i % wide;
      const float value = row < 0 ? tail.before(unit, (row + past) * channels + channel)
                                  : snake(x[(unit * length + row) * channels + channel], alpha[channel]);
      seen[i / wide * kPitch + i % wide] = value;
      if (last && row >= length - past) tail.keep(unit, (row - length + past) * channels + channel, value);
    }
    __syncthreads();
    for (int k = 0; threadIdx.x < count && k <= past; ++k) {
      const float *rows = seen + (threadIdx.x + k) * kPitch, *taps = own_weight + k * wide;
      for (int c = 0; c < wide; ++c) sum += rows[c] * taps[c];
    }
    __syncthreads();
  }
  if (threadIdx.x < count) y[unit * length + first + threadIdx.x] = tanhf(sum);
}

Tensor causal_to_one_cuda(Tensor x, Tensor alpha, Tensor weight, Tensor bias, Tensor tails, Tensor slots, int64_t first,
                          Tensor after) {
  constexpr const char* op = "causal_to_one";
  check_plain({op, "weight", weight}, 2);
  check_type({op, "weight", weight}, ScalarType::Float);
  STD_TORCH_CHECK(1 <= weight.size(0) && weight.size(0) <= kMaxPast + 1, op, ": ", weight.size(0),
                  " taps, expected 1 to ", kMaxPast + 1);
  const Tail tail = tail_of(op, x, tails, slots, first, after, weight.size(0) - 1);
  const int64_t channels = x.size(2);
  check_size({op, "weight", weight}, 1, channels);
  const float* own_alpha = channels_of(op, "alpha", alpha, channels);
  const float* own_bias = channels_of(op, "bias", bias, 1);
  const Guard guard(x);
  Tensor y = torch::stable::new_empty(x, {x.size(0), x.size(1)});
  if (y.numel() == 0) return y;
  const int64_t tiles = (x.size(1) + kThreads - 1) / kThreads;
  launch(op, x, causal_to_one_kernel, x.size(0) * tiles, kThreads, data<float>(x), own_alpha, data<float>(weight),
         own_bias, tail, mutable_data<float>(y), x.size(1), channels, tiles);
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("causal_to_one", TORCH_BOX(&causal_to_one_cuda)); }

}  // namespace intone
