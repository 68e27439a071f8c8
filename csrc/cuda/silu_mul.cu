// silu_mul on CUDA: SiLU(gate) · up of rows that hold both, gate first. Computed in float.

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

template <typename T>
__global__ void silu_mul_kernel(const T* x, T* y, int64_t count, int64_t width) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= count) return;
  const int64_t row = at / width, column = at % width;
  const float gate = static_cast<float>(x[2 * row * width + column]);
  const float up = static_cast<float>(x[(2 * row + 1) * width + column]);
  y[at] = static_cast<T>(gate / (1.0f + expf(-gate)) * up);
}

Tensor silu_mul_cuda(Tensor x) {
  check_plain({"silu_mul", "x", x}, 2);
  STD_TORCH_CHECK(x.size(1) % 2 == 0, "silu_mul: x has ", x.size(1), " columns, expected an even number");
  const Guard guard(x);
  Tensor y = torch::stable::new_empty(x, {x.size(0), x.size(1) / 2});
  if (y.numel() == 0) return y;
  with_type("silu_mul", x, [&](auto zero) {
    using T = decltype(zero);
    launch("silu_mul", x, silu_mul_kernel<T>, (y.numel() + kThreads - 1) / kThreads, kThreads, data<T>(x),
           mutable_data<T>(y), y.numel(), y.size(1));
  });
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("silu_mul", TORCH_BOX(&silu_mul_cuda)); }

}  // namespace intone
