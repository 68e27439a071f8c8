// add_norm on CUDA: adds to a float residual stream in place and norms the sum, a block for each row. Layer norm, or
// root mean square norm with a bias. Computed in float; the result has the type of what is added.

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kMaxWidth = 8192;  // whose sums fit into shared memory

template <typename T>
__global__ void add_norm_kernel(float* x, const T* delta, const float* weight, const float* bias, T* normed,
                                int64_t width, float eps, bool centred) {
  __shared__ float sum[kMaxWidth], of_sums[kWarp], of_squares[kWarp];
  const int64_t row = blockIdx.x * width;
  float total = 0.0f, squares = 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    sum[i] = x[row + i] + static_cast<float>(delta[row + i]);
    x[row + i] = sum[i];
    total += sum[i];
  }
  const float mean = centred ? block_sum(total, of_sums) / static_cast<float>(width) : 0.0f;
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {  // a thread reads what it has written
    sum[i] -= mean;
    squares += sum[i] * sum[i];
  }
  const float scale = rsqrtf(block_sum(squares, of_squares) / static_cast<float>(width) + eps);
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) {
    normed[row + i] = static_cast<T>(sum[i] * scale * weight[i] + bias[i]);
  }
}

Tensor add_norm_cuda(Tensor x, Tensor delta, Tensor weight, Tensor bias, double eps, bool centred) {
  constexpr const char* op = "add_norm";
  check_plain({op, "x", x}, 2);
  check_plain({op, "delta", delta}, 2);
  for (const int64_t axis : {0, 1}) check_size({op, "delta", delta}, axis, x.size(axis));
  check_type({op, "x", x}, ScalarType::Float);
  for (const Arg& vector : {Arg{op, "weight", weight}, Arg{op, "bias", bias}}) {
    check_plain(vector, 1);
    check_size(vector, 0, x.size(1));
    check_type(vector, ScalarType::Float);
  }
  STD_TORCH_CHECK(x.size(1) <= kMaxWidth, op, ": x has ", x.size(1), " columns, expected at most ", kMaxWidth);
  const Guard guard(x);
  Tensor normed = torch::stable::empty_like(delta);
  if (x.numel() == 0) return normed;
  with_type(op, delta, [&](auto zero) {
    using T = decltype(zero);
    launch(op, x, add_norm_kernel<T>, x.size(0), kThreads, mutable_data<float>(x), data<T>(delta), data<float>(weight),
           data<float>(bias), mutable_data<T>(normed), x.size(1), eps, centred);
  });
  return normed;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("add_norm", TORCH_BOX(&add_norm_cuda)); }

}  // namespace intone
