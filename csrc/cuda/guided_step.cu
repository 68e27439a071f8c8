// guided_step on CUDA: a step of the Euler solver with classifier-free guidance whose unconditional part is scaled, a
// block for each unit. Computed in float.

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;

template <typename T>
__global__ void guided_step_kernel(const float* x, const T* velocity, const float* guidance, const float* length,
                                   float* y, int64_t count) {
  __shared__ float of_products[kWarp], of_squares[kWarp];
  const int64_t unit = blockIdx.x, first = unit * count;
  const T *conditional = velocity + first, *plain = velocity + (gridDim.x + unit) * count;
  float products = 0.0f, squares = 0.0f;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const float p = static_cast<float>(plain[i]);
    products += static_cast<float>(conditional[i]) * p;
    squares += p * p;
  }
  const float scale = block_sum(products, of_products) / (block_sum(squares, of_squares) + 1e-8f);
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const float p = scale * static_cast<float>(plain[i]);
    y[first + i] = x[first + i] - length[unit] * (p + guidance[unit] * (static_cast<float>(conditional[i]) - p));
  }
}

Tensor guided_step_cuda(Tensor x, Tensor velocity, Tensor guidance, Tensor length) {
  constexpr const char* op = "guided_step";
  check_plain({op, "x", x}, 3);
  check_plain({op, "velocity", velocity}, 3);
  check_size({op, "velocity", velocity}, 0, 2 * x.size(0));
  for (const int64_t axis : {1, 2}) check_size({op, "velocity", velocity}, axis, x.size(axis));
  check_type({op, "x", x}, ScalarType::Float);
  for (const Arg& number : {Arg{op, "guidance", guidance}, Arg{op, "length", length}}) {
    check_plain(number, 1);
    check_size(number, 0, x.size(0));
    check_type(number, ScalarType::Float);
  }
  const Guard guard(x);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  with_type(op, velocity, [&](auto zero) {
    using T = decltype(zero);
    launch(op, x, guided_step_kernel<T>, x.size(0), kThreads, data<float>(x), data<T>(velocity), data<float>(guidance),
           data<float>(length), mutable_data<float>(y), x.size(1) * x.size(2));
  });
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("guided_step", TORCH_BOX(&guided_step_cuda)); }

}  // namespace intone
