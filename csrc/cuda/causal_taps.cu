// causal_taps on CUDA: a streaming depthwise convolution with the periodic activations around it, for units in slots. A
// block for some rows of some channels of a unit; their past is read from its slot. float.

#include <optional>

#include "cuda/tail.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kChannels = 32;  // of a block: neighbours in memory
constexpr int kRows = 64;      // of a block
constexpr int kMaxPast = 64;
constexpr int kStep = kThreads / kChannels;

struct Layer {
  const float* alpha;       // of the activation before; null for none
  const float* taps;        // [K, C], oldest first
  const float* bias;        // [C]
  const float* then_alpha;  // of the activation after; null for none
  int kernel;
  int dilation;
};

__global__ void causal_taps_kernel(const float* x, Layer layer, Tail tail, float* y, int64_t length, int64_t channels,
                                   int64_t row_tiles, int64_t channel_tiles) {
  __shared__ float seen[(kRows + kMaxPast) * kChannels];  // the past, then the activated input
  const int64_t unit = blockIdx.x / (row_tiles * channel_tiles), tile = blockIdx.x / channel_tiles % row_tiles;
  const int64_t channel = blockIdx.x % channel_tiles * kChannels + threadIdx.x % kChannels, first = tile * kRows;
  const int lane = threadIdx.x % kChannels, past = static_cast<int>(tail.rows);
  const int count = static_cast<int>(min(static_cast<int64_t>(kRows), length - first));
  const bool inside = channel < channels;
  const float* own = x + unit * length * channels + channel;
  const float alpha = inside && layer.alpha != nullptr ? layer.alpha[channel] : 0.0f;
  for (int i = threadIdx.x / kChannels; inside && i < past + count; i += kStep) {
    const int64_t row = first + i - past;
    float value = row < 0 ? tail.before(unit, (row + past) * channels + channel) : own[row * channels];
    if (row >= 0 && layer.alpha != nullptr) value = snake(value, alpha);
    seen[i * kChannels + lane] = value;
  }
  __syncthreads();
  if (!inside) return;
  const float then_alpha = layer.then_alpha != nullptr ? layer.then_alpha[channel] : 0.0f;
  for (int i = threadIdx.x / kChannels; i < count; i += kStep) {
    float sum = layer.bias[channel];
    for (int k = 0; k < layer.kernel; ++k) {
      sum += layer.taps[k * channels + channel] * seen[(i + k * layer.dilation) * kChannels + lane];
    }
    if (layer.then_alpha != nullptr) sum = snake(sum, then_alpha);
    y[(unit * length + first + i) * channels + channel] = sum;
  }
  if (first + count < length) return;  // the last rows of a unit are its next past
  for (int i = threadIdx.x / kChannels; i < past; i += kStep) {
    tail.keep(unit, i * channels + channel, seen[(count + i) * kChannels + lane]);
  }
}

Tensor causal_taps_cuda(Tensor x, std::optional<Tensor> alpha, Tensor taps, Tensor bias, int64_t dilation,
                        std::optional<Tensor> then_alpha, Tensor tails, Tensor slots, int64_t first, Tensor after) {
  constexpr const char* op = "causal_taps";
  check_plain({op, "taps", taps}, 2);
  check_type({op, "taps", taps}, ScalarType::Float);
  const int64_t past = (taps.size(0) - 1) * dilation;
  STD_TORCH_CHECK(taps.size(0) >= 1 && dilation >= 1 && past <= kMaxPast, op, ": ", taps.size(0),
                  " taps with a dilation of ", dilation, ", expected at most ", kMaxPast, " rows of past");
  const Tail tail = tail_of(op, x, tails, slots, first, after, past);
  const int64_t channels = x.size(2);
  check_size({op, "taps", taps}, 1, channels);
  const Layer layer{channels_of(op, "alpha", alpha, channels),
                    data<float>(taps),
                    channels_of(op, "bias", bias, channels),
                    channels_of(op, "then_alpha", then_alpha, channels),
                    static_cast<int>(taps.size(0)),
                    static_cast<int>(dilation)};
  const Guard guard(x);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  const int64_t rows = (x.size(1) + kRows - 1) / kRows, columns = (channels + kChannels - 1) / kChannels;
  launch(op, x, causal_taps_kernel, x.size(0) * rows * columns, kThreads, data<float>(x), layer, tail,
         mutable_data<float>(y), x.size(1), channels, rows, columns);
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("causal_taps", TORCH_BOX(&causal_taps_cuda)); }

}  // namespace intone
