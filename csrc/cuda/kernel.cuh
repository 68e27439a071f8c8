// What kernels share: argument checks, the choice of a storage type, sums and maxima over the threads of a block.

#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>

#include "cuda/launch.cuh"

namespace intone::cuda {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// An argument with the names used in messages.
struct Arg {
  const char* op;
  const char* name;
  const Tensor& tensor;
};

inline void check_here(const Arg& arg, int64_t dim) {
  STD_TORCH_CHECK(is_here(arg.tensor), arg.op, ": ", arg.name, " is not on ", kPlace);
  STD_TORCH_CHECK(arg.tensor.dim() == dim, arg.op, ": ", arg.name, " has ", arg.tensor.dim(), " dimensions, expected ",
                  dim);
}

inline void check_plain(const Arg& arg, int64_t dim) {
  check_here(arg, dim);
  STD_TORCH_CHECK(arg.tensor.is_contiguous(), arg.op, ": ", arg.name, " is not contiguous");
}

inline void check_size(const Arg& arg, int64_t axis, int64_t size) {
  STD_TORCH_CHECK(arg.tensor.size(axis) == size, arg.op, ": ", arg.name, " has size ", arg.tensor.size(axis),
                  " along axis ", axis, ", expected ", size);
}

inline void check_type(const Arg& arg, ScalarType type) {
  STD_TORCH_CHECK(arg.tensor.scalar_type() == type, arg.op, ": ", arg.name, " is of another dtype than expected");
}

// Calls `f` with a zero of the storage type of x: float, bfloat16 or half.
template <typename F>
void with_type(const char* op, const Tensor& x, F f) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::BFloat16:
      return f(c10::BFloat16{});
    case ScalarType::Half:
      return f(c10::Half{});
    default:
      STD_TORCH_CHECK(false, op, ": x is of a dtype other than float32, bfloat16 and float16");
  }
}

template <typename T>
const T* data(const Tensor& x) {
  return static_cast<const T*>(x.data_ptr());
}

template <typename T>
T* mutable_data(const Tensor& x) {
  return static_cast<T*>(x.data_ptr());
}

__device__ inline float warp_sum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ inline float warp_max(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, step));
  return value;
}

// The sum over all threads of a block, in each of them. `partial` is shared memory for a number for each warp, which
// must not be in use.
__device__ inline float block_sum(float value, float* partial) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  value = warp_sum(value);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

}  // namespace intone::cuda
