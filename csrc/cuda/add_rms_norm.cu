// add_rms_norm on CUDA: a residual sum and its root mean square norm, a block for each row. Computed in float.

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;

template <typename T>
__global__ void add_rms_norm_kernel(const T* x, const T* delta, const T* weight, T* total, T* normed, int64_t width,
                                    float eps) {
  __shared__ float partial[kWarp];
  const int64_t row = blockIdx.x * width;
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float sum = static_cast<float>(x[row + i]) + static_cast<float>(delta[row + i]);
    total[row + i] = static_cast<T>(sum);
    squares += sum * sum;
  }
  const float scale = rsqrtf(block_sum(squares, partial) / static_cast<float>(width) + eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    const float sum = static_cast<float>(x[row + i]) + static_cast<float>(delta[row + i]);  // not yet rounded
    normed[row + i] = static_cast<T>(sum * scale * static_cast<float>(weight[i]));
  }
}

Tensor add_rms_norm_cuda(Tensor x, Tensor delta, Tensor weight, double eps) {
  constexpr const char* op = "add_rms_norm";
  check_plain({op, "x", x}, 2);
  check_plain({op, "delta", delta}, 2);
  check_plain({op, "weight", weight}, 1);
  for (const int64_t axis : {0, 1}) check_size({op, "delta", delta}, axis, x.size(axis));
  check_size({op, "weight", weight}, 0, x.size(1));
  check_type({op, "delta", delta}, x.scalar_type());
  check_type({op, "weight", weight}, x.scalar_type());
  const Guard guard(x);
  Tensor both = torch::stable::new_empty(x, {2, x.size(0), x.size(1)});
  if (x.numel() == 0) return both;
  with_type(op, x, [&](auto zero) {
    using T = decltype(zero);
    T* total = mutable_data<T>(both);
    launch(op, x, add_rms_norm_kernel<T>, x.size(0), kThreads, data<T>(x), data<T>(delta), data<T>(weight), total,
           total + x.numel(), x.size(1), eps);
  });
  return both;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("add_rms_norm", TORCH_BOX(&add_rms_norm_cuda)); }

}  // namespace intone
