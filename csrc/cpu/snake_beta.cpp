// snake_beta on the CPU: double the rate, x + sin²(αx) / (β + 1e-9), halve the rate, in one pass over blocks of a row.
// Computed in float for every storage type.
//
// The doubled signal s is stored as its even and its odd samples, so that every loop below reads contiguously:
//
//   x     x0    x1    x2    x3         3 samples on either side of a position, for both its samples of s,
//   s     e0 o0 e1 o1 e2 o2 e3 o3      and 3 positions on either side of an output
//   y     y0    y1    y2    y3
//
// x is extended beyond both ends by repeating its first and last sample; s is extended likewise, separately.

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "anti_alias.h"
#include "check.h"
#include "cpu/attributes.h"
#include "cpu/sin_squared.h"

namespace intone {
namespace {

constexpr int64_t kGrain = 4096;  // outputs that are worth waking a thread for
constexpr int64_t kBlock = 512;   // outputs at a time: their buffers stay in L1
constexpr int64_t kSide = 3;      // neighbours on either side, in both steps

// `n` positions of the doubled signal after the activation; `x` points at the input of the first one.
INTONE_CLONES void upsample_and_activate(const float* x, float* even, float* odd, int64_t n, float alpha,
                                         float inverse) {
  for (int64_t j = 0; j < n; ++j) {
    const float e = 2 * (kTap1 * x[j + 2] + kTap3 * x[j + 1] + kTap5 * x[j] + kTap4 * x[j - 1] + kTap2 * x[j - 2] +
                         kTap0 * x[j - 3]);
    const float o = 2 * (kTap0 * x[j + 3] + kTap2 * x[j + 2] + kTap4 * x[j + 1] + kTap5 * x[j] + kTap3 * x[j - 1] +
                         kTap1 * x[j - 2]);
    even[j] = e + sin_squared(alpha * e) * inverse;
    odd[j] = o + sin_squared(alpha * o) * inverse;
  }
}

// `n` outputs; `e` and `o` point at the position of the first one.
INTONE_CLONES void downsample(const float* e, const float* o, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    y[i] = kTap0 * (e[i + 3] + o[i - 3]) + kTap1 * (e[i - 2] + o[i + 2]) + kTap2 * (e[i + 2] + o[i - 2]) +
           kTap3 * (e[i - 1] + o[i + 1]) + kTap4 * (e[i + 1] + o[i - 1]) + kTap5 * (e[i] + o[i]);
  }
}

struct Buffers {
  float x[kBlock + 4 * kSide], even[kBlock + 2 * kSide], odd[kBlock + 2 * kSide], y[kBlock];
};

// `n` samples from index `start` on, as floats; the first and the last sample are repeated beyond the ends.
template <typename T>
void copy_extended(const T* x, float* to, int64_t length, int64_t start, int64_t n) {
  const int64_t left = std::clamp<int64_t>(-start, 0, n), right = std::clamp<int64_t>(length - start, left, n);
  std::fill(to, to + left, static_cast<float>(x[0]));
  for (int64_t i = left; i < right; ++i) to[i] = static_cast<float>(x[start + i]);
  std::fill(to + right, to + n, static_cast<float>(x[length - 1]));
}

// Outputs `start` to `stop` - 1, kBlock or fewer, of a row of `length` inputs.
template <typename T>
void block(const T* x, T* y, int64_t length, int64_t start, int64_t stop, float alpha, float inverse, Buffers& b) {
  const int64_t first = start - kSide, positions = stop - start + 2 * kSide;  // of the doubled signal, edges included
  copy_extended(x, b.x, length, first - kSide, positions + 2 * kSide);
  const int64_t from = std::max<int64_t>(0, -first),
                to = std::min(positions, length - first);  // positions inside the row
  upsample_and_activate(b.x + kSide + from, b.even + from, b.odd + from, to - from, alpha, inverse);
  std::fill(b.even, b.even + from, b.even[from]);
  std::fill(b.odd, b.odd + from, b.even[from]);
  std::fill(b.even + to, b.even + positions, b.odd[to - 1]);
  std::fill(b.odd + to, b.odd + positions, b.odd[to - 1]);
  downsample(b.even + kSide, b.odd + kSide, b.y, stop - start);
  for (int64_t i = 0; i < stop - start; ++i) y[i] = static_cast<T>(b.y[i]);
}

template <typename T>
void snake_beta_rows(const at::Tensor& x, at::Tensor& y, const float* alpha, const float* inverse, int64_t before) {
  const int64_t channels = x.size(1), length = x.size(2), outputs = y.size(2);
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  at::parallel_for(0, x.size(0) * channels, std::max<int64_t>(1, kGrain / outputs), [&](int64_t begin, int64_t end) {
    Buffers buffers;
    for (int64_t row = begin; row < end; ++row) {
      const int64_t c = row % channels;
      for (int64_t start = 0; start < outputs; start += kBlock) {
        const int64_t stop = std::min(start + kBlock, outputs);
        block(from + row * length, to + row * outputs + start, length, before + start, before + stop, alpha[c],
              inverse[c], buffers);
      }
    }
  });
}

void check(const at::Tensor& x, const at::Tensor& alpha, const at::Tensor& beta, int64_t before, int64_t after) {
  const Arg x_arg{"snake_beta", "x", x};
  check_cpu(x_arg);
  check_dim(x_arg, 3);
  check_dtype(x_arg, {at::kFloat, at::kBFloat16, at::kHalf});
  TORCH_CHECK(x.is_contiguous(), "snake_beta: x has strides ", x.strides(), ", expected [B, C, T] contiguous");
  for (const Arg& arg : {Arg{"snake_beta", "alpha", alpha}, Arg{"snake_beta", "beta", beta}}) {
    check_cpu(arg);
    check_dim(arg, 1);
    check_size(arg, 0, x.size(1));
    check_same_dtype(arg, x_arg);
  }
  TORCH_CHECK(before >= 0 && after >= 0 && before <= x.size(2) && after <= x.size(2) - before, "snake_beta: before is ",
              before, " and after is ", after, ", expected a sum of at most x's ", x.size(2), " samples");
}

at::Tensor snake_beta_cpu(const at::Tensor& x, const at::Tensor& alpha, const at::Tensor& beta, int64_t before,
                          int64_t after) {
  check(x, alpha, beta, before, after);
  at::Tensor y = at::empty({x.size(0), x.size(1), x.size(2) - before - after}, x.options());
  if (y.numel() == 0) return y;
  const at::Tensor a = alpha.to(at::kFloat).contiguous(), b = beta.to(at::kFloat).contiguous();
  std::vector<float> inverse(b.numel());
  for (size_t c = 0; c < inverse.size(); ++c) inverse[c] = 1.0f / (b.const_data_ptr<float>()[c] + 1e-9f);
  switch (x.scalar_type()) {
    case at::kBFloat16:
      snake_beta_rows<at::BFloat16>(x, y, a.const_data_ptr<float>(), inverse.data(), before);
      break;
    case at::kHalf:
      snake_beta_rows<at::Half>(x, y, a.const_data_ptr<float>(), inverse.data(), before);
      break;
    default:
      snake_beta_rows<float>(x, y, a.const_data_ptr<float>(), inverse.data(), before);
  }
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(intone, CPU, m) { m.impl("snake_beta", snake_beta_cpu); }

}  // namespace intone
