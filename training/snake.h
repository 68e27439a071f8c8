// Snake activation x + sin²(αx) / α over flat arrays [..., C], and loops over such arrays.

#pragma once

#include <torch/types.h>

#include <algorithm>

namespace intone {

using torch::Tensor;

constexpr int64_t kWidth = 192;    // approximate length of an inner loop
constexpr double kEpsilon = 1e-9;  // the same guard against division by zero as in the torch module

struct Sines {
  float squared;  // sin²(y)
  float doubled;  // sin(2y), the derivative of sin²(y)
};

// Both have period π: reduces y to [-π/2, π/2] and evaluates polynomials for sine and cosine (errors below 1e-8).
inline __attribute__((always_inline)) Sines sines(float y) {
  constexpr float kInvPi = 0.318309886f, kPi1 = 3.140625f, kPi2 = 0x1.fbp-11f, kPi3 = 6.278329465e-7f;
  const float n = __builtin_rintf(y * kInvPi);
  const float r = ((y - n * kPi1) - n * kPi2) - n * kPi3;
  const float u = r * r;
  const float sine = r + r * u * (-0.166666567f + u * (8.33301712e-3f + u * (-1.98066147e-4f + u * 2.60005481e-6f)));
  const float fine = 2.48015873e-5f + u * (-2.75573192e-7f + u * 2.08767570e-9f);
  const float cosine = 1 + u * (-0.5f + u * (4.16666667e-2f + u * (-1.38888889e-3f + u * fine)));
  return {sine * sine, 2 * sine * cosine};
}

inline const float* data(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

// Repeats a per-channel parameter until it fills an inner loop.
inline Tensor repeated(const Tensor& values) {
  return values.flatten().repeat({std::max<int64_t>(1, kWidth / values.numel())});
}

// The adjoint of `repeated`: sums the repetitions of each channel.
inline Tensor folded(const Tensor& sums, int64_t channels) { return sums.view({-1, channels}).sum(0); }

struct Snake {
  Tensor alpha, inverse;
  explicit Snake(const Tensor& parameter) : alpha(repeated(parameter)), inverse(1 / (alpha + kEpsilon)) {}
};

// Splits [0, count) into blocks of at most `width` elements and calls body(start, size) for each.
template <typename Body>
inline void by_width(int64_t count, int64_t width, Body body) {
  for (int64_t start = 0; start < count; start += width) body(start, std::min(width, count - start));
}

inline void apply(const float* x, float* out, int64_t count, const Snake& snake) {
  const float *alpha = data(snake.alpha), *inverse = data(snake.inverse);
  by_width(count, snake.alpha.numel(), [&](int64_t start, int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[start + i] = x[start + i] + sines(alpha[i] * x[start + i]).squared * inverse[i];
  });
}

}  // namespace intone
