// snake on the CPU: x + sin²(αx) / (α + 1e-9), computed in float for every storage type.

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "check.h"
#include "cpu/attributes.h"
#include "cpu/sin_squared.h"

namespace intone {
namespace {

constexpr int64_t kGrain = 16384;  // elements that are worth waking a thread for
constexpr int64_t kBlock = 1024;   // elements converted at a time: they stay in L1

// One α for the whole row: `[B, C, T]` with T contiguous.
INTONE_CLONES void snake_over_time(const float* x, float* y, int64_t n, float alpha, float inverse) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] + sin_squared(alpha * x[i]) * inverse;
}

// One α for each element: C contiguous.
INTONE_CLONES void snake_over_channels(const float* x, float* y, int64_t n, const float* alpha, const float* inverse) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] + sin_squared(alpha[i] * x[i]) * inverse[i];
}

// Runs `body(in, out, start, count)` over a row of any storage type, converted to float.
template <typename T, typename Body>
void in_floats(const T* x, T* y, int64_t n, const Body& body) {
  if constexpr (std::is_same_v<T, float>) {
    body(x, y, int64_t{0}, n);
  } else {
    float buffer[kBlock];
    for (int64_t start = 0; start < n; start += kBlock) {
      const int64_t count = std::min(kBlock, n - start);
      for (int64_t i = 0; i < count; ++i) buffer[i] = static_cast<float>(x[start + i]);
      body(buffer, buffer, start, count);
      for (int64_t i = 0; i < count; ++i) y[start + i] = static_cast<T>(buffer[i]);
    }
  }
}

template <typename T>
void snake_rows(const at::Tensor& x, at::Tensor& y, const float* alpha, const float* inverse, bool channels_last) {
  const int64_t channels = x.size(1), length = channels_last ? channels : x.size(2);
  const int64_t rows = x.numel() / length;
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / length), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t c = row % channels;
      in_floats(from + row * length, to + row * length, length,
                [&](const float* in, float* out, int64_t start, int64_t count) {
                  if (channels_last) {
                    snake_over_channels(in, out, count, alpha + start, inverse + start);
                  } else {
                    snake_over_time(in, out, count, alpha[c], inverse[c]);
                  }
                });
    }
  });
}

// Whether rows run over channels. Where one axis has size 1 both orders are correct, and longer rows are faster.
bool walks_channels(const at::Tensor& x) {
  const bool contiguous = x.is_contiguous();
  if (contiguous && x.size(2) >= x.size(1)) return false;
  const bool channels_last = x.transpose(1, 2).is_contiguous();
  TORCH_CHECK(contiguous || channels_last, "snake: x has strides ", x.strides(),
              ", expected [B, C, T] contiguous or channels last");
  return channels_last;
}

at::Tensor snake_cpu(const at::Tensor& x, const at::Tensor& alpha) {
  const Arg x_arg{"snake", "x", x}, alpha_arg{"snake", "alpha", alpha};
  check_cpu(x_arg);
  check_cpu(alpha_arg);
  check_dim(x_arg, 3);
  check_dim(alpha_arg, 1);
  check_size(alpha_arg, 0, x.size(1));
  check_dtype(x_arg, {at::kFloat, at::kBFloat16, at::kHalf});
  check_same_dtype(alpha_arg, x_arg);
  const bool channels_last = walks_channels(x);

  at::Tensor y = at::empty_like(x);  // keeps either layout
  if (x.numel() == 0) return y;
  const at::Tensor a = alpha.to(at::kFloat).contiguous();
  const float* values = a.const_data_ptr<float>();
  std::vector<float> inverse(a.numel());
  for (size_t c = 0; c < inverse.size(); ++c) inverse[c] = 1.0f / (values[c] + 1e-9f);
  switch (x.scalar_type()) {
    case at::kBFloat16:
      snake_rows<at::BFloat16>(x, y, values, inverse.data(), channels_last);
      break;
    case at::kHalf:
      snake_rows<at::Half>(x, y, values, inverse.data(), channels_last);
      break;
    default:
      snake_rows<float>(x, y, values, inverse.data(), channels_last);
  }
  return y;
}

}  // namespace

TORCH_LIBRARY_IMPL(intone, CPU, m) { m.impl("snake", snake_cpu); }

}  // namespace intone
