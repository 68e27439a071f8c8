// snake_beta on CUDA: double the rate, x + sin²(αx) / (β + 1e-9), halve the rate, in one pass: the doubled signal lives
// in shared memory only. Computed in float for every storage type. `csrc/cpu/snake_beta.cpp` has a picture.

#include "anti_alias.h"
#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;
constexpr int kBlockOutputs = 512;  // outputs of a block
constexpr int kSide = 3;            // neighbours on either side, in both steps

__device__ inline float snake(float x, float alpha, float inverse) {
  const float sine = sinf(alpha * x);
  return x + sine * sine * inverse;
}

// One block computes kBlockOutputs outputs of one row from `positions` positions of the doubled signal, from index
// `first` on, kSide of them on either side of the outputs. Positions outside the row repeat the signal's first or last
// sample.
template <typename T>
__global__ void snake_beta_kernel(const T* x, const T* alpha, const T* beta, T* y, int64_t channels, int64_t length,
                                  int64_t outputs, int64_t before, int64_t tiles) {
  __shared__ float extended[kBlockOutputs + 4 * kSide], even[kBlockOutputs + 2 * kSide], odd[kBlockOutputs + 2 * kSide];
  const int64_t row = blockIdx.x / tiles, start = (blockIdx.x % tiles) * kBlockOutputs;
  const int count = static_cast<int>(min(static_cast<int64_t>(kBlockOutputs), outputs - start)),
            positions = count + 2 * kSide;
  const int64_t first = before + start - kSide;
  const float a = static_cast<float>(alpha[row % channels]);
  const float inverse = 1.0f / (static_cast<float>(beta[row % channels]) + 1e-9f);

  for (int i = threadIdx.x; i < positions + 2 * kSide; i += blockDim.x) {
    const int64_t at = min(max(first - kSide + i, static_cast<int64_t>(0)), length - 1);
    extended[i] = static_cast<float>(x[row * length + at]);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < positions; i += blockDim.x) {
    const float* v = extended + kSide + i;
    const float e = 2 * (kTap1 * v[2] + kTap3 * v[1] + kTap5 * v[0] + kTap4 * v[-1] + kTap2 * v[-2] + kTap0 * v[-3]);
    const float o = 2 * (kTap0 * v[3] + kTap2 * v[2] + kTap4 * v[1] + kTap5 * v[0] + kTap3 * v[-1] + kTap1 * v[-2]);
    even[i] = snake(e, a, inverse);
    odd[i] = snake(o, a, inverse);
  }
  __syncthreads();
  // Only the first and the last blocks of a row have positions outside it.
  const int from = first < 0 ? static_cast<int>(-first) : 0;
  const int to = first + positions > length ? static_cast<int>(length - first) : positions;
  for (int i = threadIdx.x; i < positions; i += blockDim.x) {
    if (i < from) even[i] = odd[i] = even[from];
    if (i >= to) even[i] = odd[i] = odd[to - 1];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    const float *e = even + kSide + i, *o = odd + kSide + i;
    const float sum = kTap0 * (e[3] + o[-3]) + kTap1 * (e[-2] + o[2]) + kTap2 * (e[2] + o[-2]) +
                      kTap3 * (e[-1] + o[1]) + kTap4 * (e[1] + o[-1]) + kTap5 * (e[0] + o[0]);
    y[row * outputs + start + i] = static_cast<T>(sum);
  }
}

void check(const Tensor& x, const Tensor& alpha, const Tensor& beta, int64_t before, int64_t after) {
  constexpr const char* op = "snake_beta";
  check_plain({op, "x", x}, 3);
  for (const Arg& vector : {Arg{op, "alpha", alpha}, Arg{op, "beta", beta}}) {
    check_plain(vector, 1);
    check_size(vector, 0, x.size(1));
    check_type(vector, x.scalar_type());
  }
  STD_TORCH_CHECK(before >= 0 && after >= 0 && before <= x.size(2) && after <= x.size(2) - before, op, ": before is ",
                  before, " and after is ", after, ", expected a sum of at most x's ", x.size(2), " samples");
}

Tensor snake_beta_cuda(Tensor x, Tensor alpha, Tensor beta, int64_t before, int64_t after) {
  check(x, alpha, beta, before, after);
  const Guard guard(x);
  Tensor y = torch::stable::new_empty(x, {x.size(0), x.size(1), x.size(2) - before - after});
  if (y.numel() == 0) return y;
  const int64_t rows = x.size(0) * x.size(1), tiles = (y.size(2) + kBlockOutputs - 1) / kBlockOutputs;
  with_type("snake_beta", x, [&](auto zero) {
    using T = decltype(zero);
    launch("snake_beta", x, snake_beta_kernel<T>, rows * tiles, kThreads, data<T>(x), data<T>(alpha), data<T>(beta),
           mutable_data<T>(y), x.size(1), x.size(2), y.size(2), before, tiles);
  });
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("snake_beta", TORCH_BOX(&snake_beta_cuda)); }

}  // namespace intone
