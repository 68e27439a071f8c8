// Runs kernels on the CPU, for tests: stands in for `csrc/cuda/launch.cuh`. Blocks run one after the other. The threads
// of a block take turns on one thread of the system (`fibers.h`); under ThreadSanitizer each is a thread of the system
// (`threads.h`), so that it sees the races that a GPU would have within a block.

#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __SANITIZE_THREAD__
#include "threads.h"
#else
#include "fibers.h"
#endif

#define __global__
#define __device__
#define __shared__ static  // blocks run one after the other
#define INTONE_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(intone_emulated, CPU, m)

namespace intone::emulation {

// `value` of the thread whose lane is `own lane ^ step`.
template <typename T>
T shuffle_xor(T value, int step) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned self = thread_index.x;
  std::memcpy(&exchanged()[self], &value, sizeof(T));
  sync_warp();
  T other;
  std::memcpy(&other, &exchanged()[self ^ static_cast<unsigned>(step)], sizeof(T));
  sync_warp();
  return other;
}

// The values of all lanes of a full warp.
template <typename T>
void gather(T value, T (&all)[kWarpSize]) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned self = thread_index.x, first = self / kWarpSize * kWarpSize;
  std::memcpy(&exchanged()[self], &value, sizeof(T));
  sync_warp();
  for (unsigned lane = 0; lane < kWarpSize; ++lane) std::memcpy(&all[lane], &exchanged()[first + lane], sizeof(T));
  sync_warp();
}

}  // namespace intone::emulation

// As in CUDA, without a namespace.
#define threadIdx (::intone::emulation::thread_index)
#define blockIdx (::intone::emulation::block_index)
#define blockDim (::intone::emulation::block_size)
#define gridDim (::intone::emulation::grid_size)

inline void __syncthreads() { ::intone::emulation::sync_block(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int step) {
  return ::intone::emulation::shuffle_xor(value, step);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

using std::max;
using std::min;

namespace intone::cuda {

constexpr const char* kPlace = "cpu";

inline bool is_here(const torch::stable::Tensor& x) { return x.is_cpu(); }

struct Guard {
  explicit Guard(const torch::stable::Tensor&) {}
};

template <typename... Parameters, typename... Arguments>
void launch(const char* op, const torch::stable::Tensor&, void (*kernel)(Parameters...), int64_t blocks, int threads,
            Arguments... arguments) {
  STD_TORCH_CHECK(blocks <= INT32_MAX && threads % emulation::kWarpSize == 0, op, ": ", blocks, " blocks of ", threads);
  emulation::run_blocks(static_cast<unsigned>(blocks), threads, [&] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace intone::cuda
