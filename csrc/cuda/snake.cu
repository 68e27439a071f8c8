// snake on CUDA: x + sin²(αx) / (α + 1e-9), one α per channel, for both layouts. Computed in float.

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

// `inner` numbers of a channel follow each other: the times where time is contiguous, 1 where channels are.
template <typename T>
__global__ void snake_kernel(const T* x, const T* alpha, T* y, int64_t count, int64_t channels, int64_t inner) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const float a = static_cast<float>(alpha[at / inner % channels]), value = static_cast<float>(x[at]);
  const float sine = sinf(a * value);
  y[at] = static_cast<T>(value + sine * sine / (a + 1e-9f));
}

Tensor snake_cuda(Tensor x, Tensor alpha) {
  check_here({"snake", "x", x}, 3);
  check_plain({"snake", "alpha", alpha}, 1);
  check_size({"snake", "alpha", alpha}, 0, x.size(1));
  check_type({"snake", "alpha", alpha}, x.scalar_type());
  const bool time_last = x.is_contiguous();
  STD_TORCH_CHECK(time_last || torch::stable::transpose(x, 1, 2).is_contiguous(),
                  "snake: x has strides of neither layout: time or channels contiguous");
  const Guard guard(x);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  with_type("snake", x, [&](auto zero) {
    using T = decltype(zero);
    launch("snake", x, snake_kernel<T>, (x.numel() + kThreads - 1) / kThreads, kThreads, data<T>(x), data<T>(alpha),
           mutable_data<T>(y), x.numel(), x.size(1), time_last ? x.size(2) : 1);
  });
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("snake", TORCH_BOX(&snake_cuda)); }

}  // namespace intone
