// The snake x + sin²(αx) / α over flat arrays [..., C], and the walk over such arrays.

#pragma once

#include <torch/types.h>

#include <algorithm>

namespace intone {

using torch::Tensor;

constexpr int64_t kWidth = 192;          // numbers to an inner loop, about
constexpr double kNearlyNothing = 1e-9;  // the activation's own guard against a division by zero

struct Turn {
  float square;  // sin²(y)
  float twice;   // sin(2y)
};

// Both have period π: reduce to [-π/2, π/2], take polynomials for sine and cosine there (errors below 1e-8).
inline __attribute__((always_inline)) Turn turn(float y) {
  constexpr float kInvPi = 0.318309886f, kPi1 = 3.140625f, kPi2 = 0x1.fbp-11f, kPi3 = 6.278329465e-7f;
  const float n = __builtin_rintf(y * kInvPi);
  const float r = ((y - n * kPi1) - n * kPi2) - n * kPi3;
  const float u = r * r;
  const float sine = r + r * u * (-0.166666567f + u * (8.33301712e-3f + u * (-1.98066147e-4f + u * 2.60005481e-6f)));
  const float fine = 2.48015873e-5f + u * (-2.75573192e-7f + u * 2.08767570e-9f);
  const float cosine = 1 + u * (-0.5f + u * (4.16666667e-2f + u * (-1.38888889e-3f + u * fine)));
  return {sine * sine, 2 * sine * cosine};
}

inline const float* numbers(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

// A parameter of each channel, written out until it fills an inner loop.
inline Tensor repeated(const Tensor& values) {
  return values.flatten().repeat({std::max<int64_t>(1, kWidth / values.numel())});
}

// The other way for what was summed with it.
inline Tensor folded(const Tensor& sums, int64_t channels) { return sums.view({-1, channels}).sum(0); }

struct Snake {
  Tensor alpha, inverse;
  explicit Snake(const Tensor& given) : alpha(repeated(given)), inverse(1 / (alpha + kNearlyNothing)) {}
};

// The same loop for all numbers of a range, `width` of them at a time: body(where, how many).
template <typename Body>
inline void by_width(int64_t count, int64_t width, Body body) {
  for (int64_t at = 0; at < count; at += width) body(at, std::min(width, count - at));
}

inline void apply(const float* x, float* out, int64_t count, const Snake& snake) {
  const float *alpha = numbers(snake.alpha), *inverse = numbers(snake.inverse);
  by_width(count, snake.alpha.numel(), [&](int64_t at, int64_t n) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) out[at + i] = x[at + i] + turn(alpha[i] * x[at + i]).square * inverse[i];
  });
}

}  // namespace intone
