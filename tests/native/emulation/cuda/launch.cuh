// Runs kernels on the CPU, for tests: stands in for `csrc/cuda/launch.cuh`. One thread of the system for each thread of
// a block, a barrier for each block and one for each warp; blocks one after the other. So that ThreadSanitizer sees the
// races that a GPU would have within a block.

#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __shared__ static  // blocks run one after the other
#define INTONE_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(intone_emulated, CPU, m)

namespace intone::emulation {

struct Index {
  unsigned x = 0;
};

constexpr int kWarpSize = 32;

// A block that is running.
struct Block {
  explicit Block(int threads) : all(threads), exchanged(threads) {
    for (int first = 0; first < threads; first += kWarpSize) {
      warps.push_back(std::make_unique<std::barrier<>>(std::min(kWarpSize, threads - first)));
    }
  }

  std::barrier<> all;
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  std::vector<uint64_t> exchanged;  // what each thread gives in a shuffle
};

inline thread_local Index thread_index, block_index, block_size;
inline thread_local Block* block = nullptr;

// `value` of the thread whose lane is `own lane ^ step`.
template <typename T>
T shuffle_xor(T value, int step) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned self = thread_index.x;
  std::barrier<>& warp = *block->warps[self / kWarpSize];
  std::memcpy(&block->exchanged[self], &value, sizeof(T));
  warp.arrive_and_wait();
  T other;
  std::memcpy(&other, &block->exchanged[self ^ static_cast<unsigned>(step)], sizeof(T));
  warp.arrive_and_wait();
  return other;
}

}  // namespace intone::emulation

// As in CUDA, without a namespace.
#define threadIdx (::intone::emulation::thread_index)
#define blockIdx (::intone::emulation::block_index)
#define blockDim (::intone::emulation::block_size)

inline void __syncthreads() { ::intone::emulation::block->all.arrive_and_wait(); }

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
  emulation::Block running(threads);
  std::vector<std::thread> started;
  for (int thread = 0; thread < threads; ++thread) {
    started.emplace_back([&, thread] {
      emulation::block = &running;
      emulation::thread_index.x = thread;
      emulation::block_size.x = threads;
      for (int64_t index = 0; index < blocks; ++index) {
        emulation::block_index.x = static_cast<unsigned>(index);
        kernel(static_cast<Parameters>(arguments)...);
        running.all.arrive_and_wait();  // shared memory is free for the next block
      }
    });
  }
  for (std::thread& thread : started) thread.join();
}

}  // namespace intone::cuda
