// The snakes and the depthwise convolution of the VAE's residual units with their gradients, for training on a CPU.
//
// Sound is [B, T, C], so a unit is arithmetic on flat arrays in which the parameters of a channel come round every C
// numbers. Time goes by in tiles that stay in the cache; the backward pass computes again what the forward pass did.

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <array>
#include <vector>

#include "snake.h"

namespace intone {
namespace {

constexpr int64_t kTaps = 7;
constexpr int64_t kTile = 1 << 14;  // numbers to a tile, about: some of these fit the second cache
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
    for (int64_t k = 0; k < kTaps; ++k) taps[k] = numbers(weights) + k * width;
  }

  // Room for a tile, its halo, and what vectors read past the end.
  Tensor buffer() const { return torch::zeros({halo + tile + width + kLanes}); }
};

void forward_one(const float* x, float* out, int64_t size, const Unit& unit) {
  Tensor room = unit.buffer();
  float* heard = room.mutable_data_ptr<float>();
  const float *alpha = numbers(unit.second.alpha), *inverse = numbers(unit.second.inverse), *bias = numbers(unit.bias);
  const auto w = unit.taps;
  const int64_t step = unit.step;
  for (int64_t start = 0; start < size; start += unit.tile) {
    const int64_t count = std::min(unit.tile, size - start);
    apply(x + start, heard + unit.halo, count, unit.first);
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float* from = heard + at;
      float* to = out + start + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float mixed = bias[i];
        for (int64_t k = 0; k < kTaps; ++k) mixed += w[k][i] * from[i + k * step];
        to[i] = mixed + turn(alpha[i] * mixed).square * inverse[i];
      }
    });
    if (count == unit.tile) std::copy_n(heard + count, unit.halo, heard);
  }
}

// One example's way back. Tiles come in reverse: a gradient goes to what stands before it.
struct Backward {
  const Unit& unit;
  Tensor heard_room = unit.buffer(), slope_room = unit.buffer(), later_room = unit.buffer();
  Tensor sums = torch::zeros({3, unit.width}), tap_sums = torch::zeros({kTaps, unit.width + kLanes});
  float *heard = heard_room.mutable_data_ptr<float>(), *slope = slope_room.mutable_data_ptr<float>();
  float* later = later_room.mutable_data_ptr<float>();  // the convolution's gradient, with a halo after the tile

  // What the convolution hears: a halo and a tile that begins at `x`. The slope of the first snake with it.
  void listen(const float* x, int64_t past, int64_t count) {
    const float *alpha = numbers(unit.first.alpha), *inverse = numbers(unit.first.inverse);
    std::fill_n(heard, unit.halo - past, 0.0f);
    by_width(past + count, unit.width, [&](int64_t at, int64_t n) {
      const float* from = x - past + at;
      float *to = heard + unit.halo - past + at, *bend = slope + unit.halo - past + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const Turn turned = turn(alpha[i] * from[i]);
        to[i] = from[i] + turned.square * inverse[i];
        bend[i] = turned.twice;
      }
    });
  }

  void through_second(const float* grad, int64_t count) {
    const float *alpha = numbers(unit.second.alpha), *inverse = numbers(unit.second.inverse);
    const float* bias = numbers(unit.bias);
    float *bias_sum = sums.mutable_data_ptr<float>(), *sum = bias_sum + unit.width;
    const auto w = unit.taps;
    const int64_t step = unit.step;
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float *from = heard + at, *wanted = grad + at;
      float* to = later + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float mixed = bias[i];
        for (int64_t k = 0; k < kTaps; ++k) mixed += w[k][i] * from[i + k * step];
        const Turn turned = turn(alpha[i] * mixed);
        to[i] = wanted[i] * (1 + turned.twice);
        bias_sum[i] += to[i];
        sum[i] += wanted[i] * (mixed * turned.twice - turned.square * inverse[i]) * inverse[i];
      }
    });
  }

  // The taps' gradients, a few channels at a time through the whole tile, so that the sums stay in registers. What
  // `later` holds past `count` is zeros.
  void add_products(int64_t count) {
    float* to = tap_sums.mutable_data_ptr<float>();
    for (int64_t lane = 0; lane < unit.width; lane += kLanes) {
      Lanes sum[kTaps] = {};
      for (int64_t at = lane; at < count; at += unit.width) {
        const Lanes wanted = *reinterpret_cast<const Lanes*>(later + at);
        const float* seen = heard + at;
        for (int64_t k = 0; k < kTaps; ++k) sum[k] += wanted * *reinterpret_cast<const Lanes*>(seen + k * unit.step);
      }
      for (int64_t k = 0; k < kTaps; ++k) *reinterpret_cast<Lanes*>(to + k * (unit.width + kLanes) + lane) += sum[k];
    }
  }

  void through_first(const float* x, const float* passed, float* grad_x, int64_t count) {
    const float* inverse = numbers(unit.first.inverse);
    float* sum = sums.mutable_data_ptr<float>() + 2 * unit.width;
    const auto w = unit.taps;
    const int64_t step = unit.step;
    by_width(count, unit.width, [&](int64_t at, int64_t n) {
      const float *from = x + at, *to = later + at, *added = passed + at;
      const float *bend = slope + unit.halo + at, *bent = heard + unit.halo + at;
      float* result = grad_x + at;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        float wanted = 0;
        for (int64_t k = 0; k < kTaps; ++k) wanted += w[k][i] * to[i + (kTaps - 1 - k) * step];
        result[i] = added[i] + wanted * (1 + bend[i]);
        sum[i] += wanted * (from[i] * bend[i] - (bent[i] - from[i])) * inverse[i];
      }
    });
  }

  void run(const float* x, const float* grad, const float* passed, float* grad_x, int64_t size) {
    for (int64_t start = (size - 1) / unit.tile * unit.tile; start >= 0; start -= unit.tile) {
      const int64_t count = std::min(unit.tile, size - start);
      listen(x + start, start == 0 ? 0 : unit.halo, count);
      through_second(grad + start, count);
      add_products(count);
      through_first(x + start, passed + start, grad_x + start, count);
      std::copy_n(later, unit.halo, later + unit.tile);
    }
  }
};

void check(const Tensor& tensor, const Tensor& like, const char* name) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.scalar_type() == torch::kFloat && tensor.sizes() == like.sizes(), name,
              ": contiguous float32 of the shape of x expected");
}

Tensor unit_forward(const Tensor& x, const Tensor& alpha1, const Tensor& kernels, const Tensor& bias,
                    const Tensor& alpha2, int64_t dilation) {
  check(x, x, "x");
  const Unit unit(alpha1, kernels, bias, alpha2, dilation);
  Tensor out = torch::empty_like(x);
  float* to = out.mutable_data_ptr<float>();
  const int64_t size = x.size(1) * x.size(2);
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) forward_one(numbers(x) + b * size, to + b * size, size, unit);
  });
  return out;
}

std::vector<Tensor> unit_backward(const Tensor& x, const Tensor& alpha1, const Tensor& kernels, const Tensor& bias,
                                  const Tensor& alpha2, int64_t dilation, const Tensor& grad, const Tensor& passed) {
  check(x, x, "x"), check(grad, x, "grad"), check(passed, x, "passed");
  const Unit unit(alpha1, kernels, bias, alpha2, dilation);
  Tensor grad_x = torch::empty_like(x);
  float* to = grad_x.mutable_data_ptr<float>();
  const int64_t count = x.size(0), channels = x.size(2), size = x.size(1) * channels;
  Tensor sums = torch::empty({count, 3, channels}), tap_sums = torch::empty({count, kTaps, channels});
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      Backward way{unit};
      way.run(numbers(x) + b * size, numbers(grad) + b * size, numbers(passed) + b * size, to + b * size, size);
      sums[b] = way.sums.view({3, -1, channels}).sum(1);
      tap_sums[b] = way.tap_sums.slice(1, 0, unit.width).reshape({kTaps, -1, channels}).sum(1);
    }
  });
  const Tensor total = sums.sum(0);
  return {grad_x, total[2], tap_sums.sum(0).t().contiguous(), total[0], total[1]};
}

Tensor snake_forward(const Tensor& x, const Tensor& alpha) {
  check(x, x, "x");
  Tensor out = torch::empty_like(x);
  apply(numbers(x), out.mutable_data_ptr<float>(), x.numel(), Snake(alpha));
  return out;
}

std::vector<Tensor> snake_backward(const Tensor& x, const Tensor& alpha, const Tensor& grad) {
  check(x, x, "x"), check(grad, x, "grad");
  const Snake snake(alpha);
  Tensor grad_x = torch::empty_like(x), sums = torch::zeros_like(snake.alpha);
  const float *from = numbers(x), *wanted = numbers(grad);
  const float *alphas = numbers(snake.alpha), *inverse = numbers(snake.inverse);
  float *result = grad_x.mutable_data_ptr<float>(), *sum = sums.mutable_data_ptr<float>();
  by_width(x.numel(), sums.numel(), [&](int64_t at, int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) {
      const Turn turned = turn(alphas[i] * from[at + i]);
      result[at + i] = wanted[at + i] * (1 + turned.twice);
      sum[i] += wanted[at + i] * (from[at + i] * turned.twice - turned.square * inverse[i]) * inverse[i];
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
      "Tensor passed) -> Tensor[]",
      unit_backward);
  m.def("snake_forward(Tensor x, Tensor alpha) -> Tensor", snake_forward);
  m.def("snake_backward(Tensor x, Tensor alpha, Tensor grad) -> Tensor[]", snake_backward);
}
