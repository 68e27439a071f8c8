// Snake activations and depthwise convolution of the VAE's residual units, with gradients, for training on a CPU.
//
// Activations are [B, T, C], processed as flat arrays in which the parameters repeat every C elements. Time is
// processed in tiles that stay in the cache. The backward pass recomputes the intermediate results of the forward pass.

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <array>
#include <vector>

#include "snake.h"

namespace intone {
namespace {

constexpr int64_t kTaps = 7;
constexpr int64_t kTile = 1 << 14;  // elements per tile, approximately: several tiles fit into the L2 cache
constexpr int64_t kLanes = 8;
using Lanes = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));

struct Unit {
  Snake first, second;
  Tensor bias, weights;  // weights: [taps, width]
  int64_t width, step, halo, tile;
  std::array<const float*, kTaps> taps;

  Unit(const Tensor& alpha1, const Tensor& kernels, const Tensor& shift, const Tensor& alpha2, int64_t dilation)
      : first(alpha1), second(alpha2), bias(repeated(shift)), width(bias.numel()), step(dilation * shift.numel()) {
    halo = (kTaps - 1) * step;
    tile = (std::max(kTile, halo) + width - 1) / width * width;
    weights = kernels.view({-1, kTaps}).t().repeat({1, width / shift.numel()}).contiguous();
    for (int64_t k = 0; k < kTaps; ++k) taps[k] = data(weights) + k * width;
  }

  // Zeros for a tile, its halo, and the elements that vector loads read past the end.
  Tensor buffer() const { return torch::zeros({halo + tile + width + kLanes}); }
};

void forward_one(const float* x, float* out, int64_t size, const Unit& unit) {
  Tensor buffer = unit.buffer();
  float* activated = buffer.mutable_data_ptr<float>();
  const float *alpha = data(unit.second.alpha), *inverse = data(unit.second.inverse), *bias = data(unit.bias);
  const auto w = unit.taps;
  const int64_t step = unit.step;
  for (int64_t start = 0; start < size; start += unit.tile) {
    const int64_t count = std::min(unit.tile, size - start);
    apply(x + start, activated + unit.halo, count, unit.first);
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float* from = activated + at;
      float* to = out + start + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float convolved = bias[i];
        for (int64_t k = 0; k < kTaps; ++k) convolved += w[k][i] * from[i + k * step];
        to[i] = convolved + sines(alpha[i] * convolved).squared * inverse[i];
      }
    });
    if (count == unit.tile) std::copy_n(activated + count, unit.halo, activated);
  }
}

// Backward pass of one example. Tiles are processed in reverse, since gradients propagate to earlier samples.
struct Backward {
  const Unit& unit;
  Tensor activated_buffer = unit.buffer(), slope_buffer = unit.buffer(), conv_grad_buffer = unit.buffer();
  Tensor sums = torch::zeros({3, unit.width}), tap_sums = torch::zeros({kTaps, unit.width + kLanes});
  // Output of the first Snake, the input of the convolution, and the Snake's derivative minus 1; halo before the tile.
  float *activated = activated_buffer.mutable_data_ptr<float>(), *slope = slope_buffer.mutable_data_ptr<float>();
  // Gradient of the convolution's output; halo after the tile.
  float* conv_grad = conv_grad_buffer.mutable_data_ptr<float>();

  // Recomputes `activated` and `slope` for the tile of `count` elements at `x` and the `past` elements before it.
  void load_input(const float* x, int64_t past, int64_t count) {
    const float *alpha = data(unit.first.alpha), *inverse = data(unit.first.inverse);
    std::fill_n(activated, unit.halo - past, 0.0f);
    by_width(past + count, unit.width, [&](int64_t at, int64_t n) {
      const float* from = x - past + at;
      float *to = activated + unit.halo - past + at, *derivative = slope + unit.halo - past + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const Sines s = sines(alpha[i] * from[i]);
        to[i] = from[i] + s.squared * inverse[i];
        derivative[i] = s.doubled;
      }
    });
  }

  // Backward through the second Snake: fills `conv_grad`, adds to the gradient sums of the bias and of alpha.
  void second_snake(const float* grad, int64_t count) {
    const float *alpha = data(unit.second.alpha), *inverse = data(unit.second.inverse);
    const float* bias = data(unit.bias);
    float *bias_sum = sums.mutable_data_ptr<float>(), *sum = bias_sum + unit.width;
    const auto w = unit.taps;
    const int64_t step = unit.step;
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float *from = activated + at, *grad_out = grad + at;
      float* to = conv_grad + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float convolved = bias[i];
        for (int64_t k = 0; k < kTaps; ++k) convolved += w[k][i] * from[i + k * step];
        const Sines s = sines(alpha[i] * convolved);
        to[i] = grad_out[i] * (1 + s.doubled);
        bias_sum[i] += to[i];
        sum[i] += grad_out[i] * (convolved * s.doubled - s.squared * inverse[i]) * inverse[i];
      }
    });
  }

  // Adds the gradients of the taps. Processes a few channels over the whole tile at a time, so that the sums stay in
  // registers. In a partial tile `conv_grad` is zero past `count`, so vectors may read beyond it.
  void accumulate_taps(int64_t count) {
    float* to = tap_sums.mutable_data_ptr<float>();
    for (int64_t lane = 0; lane < unit.width; lane += kLanes) {
      Lanes sum[kTaps] = {};
      for (int64_t at = lane; at < count; at += unit.width) {
        const Lanes grad = *reinterpret_cast<const Lanes*>(conv_grad + at);
        const float* input = activated + at;
        for (int64_t k = 0; k < kTaps; ++k) sum[k] += grad * *reinterpret_cast<const Lanes*>(input + k * unit.step);
      }
      for (int64_t k = 0; k < kTaps; ++k) *reinterpret_cast<Lanes*>(to + k * (unit.width + kLanes) + lane) += sum[k];
    }
  }

  // Backward through the convolution and the first Snake: writes the input gradient, adds to the sum of alpha
  // gradients.
  void first_snake(const float* x, const float* skip_grad, float* grad_x, int64_t count) {
    const float* inverse = data(unit.first.inverse);
    float* sum = sums.mutable_data_ptr<float>() + 2 * unit.width;
    const auto w = unit.taps;
    const int64_t step = unit.step;
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float *from = x + at, *to = conv_grad + at, *skip = skip_grad + at;
      const float *derivative = slope + unit.halo + at, *output = activated + unit.halo + at;
      float* result = grad_x + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float grad = 0;
        for (int64_t k = 0; k < kTaps; ++k) grad += w[k][i] * to[i + (kTaps - 1 - k) * step];
        result[i] = skip[i] + grad * (1 + derivative[i]);
        sum[i] += grad * (from[i] * derivative[i] - (output[i] - from[i])) * inverse[i];
      }
    });
  }

  void run(const float* x, const float* grad, const float* skip_grad, float* grad_x, int64_t size) {
    for (int64_t start = (size - 1) / unit.tile * unit.tile; start >= 0; start -= unit.tile) {
      const int64_t count = std::min(unit.tile, size - start);
      load_input(x + start, start == 0 ? 0 : unit.halo, count);
      second_snake(grad + start, count);
      accumulate_taps(count);
      first_snake(x + start, skip_grad + start, grad_x + start, count);
      std::copy_n(conv_grad, unit.halo, conv_grad + unit.tile);
    }
  }
};

void check(const Tensor& tensor, const Tensor& x, const char* name) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.scalar_type() == torch::kFloat && tensor.sizes() == x.sizes(), name,
              ": expected contiguous float32 of the shape of x");
}

// The second Snake's output [B, T, C]; the caller adds the pointwise convolution and the skip connection.
Tensor unit_forward(const Tensor& x, const Tensor& alpha1, const Tensor& kernels, const Tensor& bias,
                    const Tensor& alpha2, int64_t dilation) {
  check(x, x, "x");
  const Unit unit(alpha1, kernels, bias, alpha2, dilation);
  Tensor out = torch::empty_like(x);
  float* to = out.mutable_data_ptr<float>();
  const int64_t size = x.size(1) * x.size(2);
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) forward_one(data(x) + b * size, to + b * size, size, unit);
  });
  return out;
}

// Gradients of x, alpha1, kernels, bias and alpha2, from those of the second Snake's output and of the skip connection.
std::vector<Tensor> unit_backward(const Tensor& x, const Tensor& alpha1, const Tensor& kernels, const Tensor& bias,
                                  const Tensor& alpha2, int64_t dilation, const Tensor& grad, const Tensor& skip_grad) {
  check(x, x, "x"), check(grad, x, "grad"), check(skip_grad, x, "skip_grad");
  const Unit unit(alpha1, kernels, bias, alpha2, dilation);
  Tensor grad_x = torch::empty_like(x);
  float* to = grad_x.mutable_data_ptr<float>();
  const int64_t count = x.size(0), channels = x.size(2), size = x.size(1) * channels;
  Tensor sums = torch::empty({count, 3, channels}), tap_sums = torch::empty({count, kTaps, channels});
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Backward pass{unit};
      pass.run(data(x) + b * size, data(grad) + b * size, data(skip_grad) + b * size, to + b * size, size);
      sums[b] = pass.sums.view({3, -1, channels}).sum(1);
      tap_sums[b] = pass.tap_sums.slice(1, 0, unit.width).reshape({kTaps, -1, channels}).sum(1);
    }
  });
  const Tensor total = sums.sum(0);
  return {grad_x, total[2], tap_sums.sum(0).t().contiguous(), total[0], total[1]};
}

Tensor snake_forward(const Tensor& x, const Tensor& alpha) {
  check(x, x, "x");
  Tensor out = torch::empty_like(x);
  apply(data(x), out.mutable_data_ptr<float>(), x.numel(), Snake(alpha));
  return out;
}

std::vector<Tensor> snake_backward(const Tensor& x, const Tensor& alpha, const Tensor& grad) {
  check(x, x, "x"), check(grad, x, "grad");
  const Snake snake(alpha);
  Tensor grad_x = torch::empty_like(x), sums = torch::zeros_like(snake.alpha);
  const float *from = data(x), *grad_out = data(grad);
  const float *alphas = data(snake.alpha), *inverse = data(snake.inverse);
  float *result = grad_x.mutable_data_ptr<float>(), *sum = sums.mutable_data_ptr<float>();
  by_width(x.numel(), sums.numel(), [&](int64_t at, int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const Sines s = sines(alphas[i] * from[at + i]);
      result[at + i] = grad_out[at + i] * (1 + s.doubled);
      sum[i] += grad_out[at + i] * (from[at + i] * s.doubled - s.squared * inverse[i]) * inverse[i];
    }
  });
  return {grad_x, folded(sums, alpha.numel())};
}

}  // namespace
}  // namespace intone

TORCH_LIBRARY(intone_training, m) {
  using namespace intone;
  m.def("unit_forward(Tensor x, Tensor alpha1, Tensor kernels, Tensor bias, Tensor alpha2, int dilation) -> Tensor",
        unit_forward);
  m.def(
      "unit_backward(Tensor x, Tensor alpha1, Tensor kernels, Tensor bias, Tensor alpha2, int dilation, Tensor grad, "
      "Tensor skip_grad) -> Tensor[]",
      unit_backward);
  m.def("snake_forward(Tensor x, Tensor alpha) -> Tensor", snake_forward);
  m.def("snake_backward(Tensor x, Tensor alpha, Tensor grad) -> Tensor[]", snake_backward);
}
