// Helpers around CUDA kernel launches. They use only torch's stable interface, so they compile without a GPU and
// without a CUDA build of torch. `tests/native/emulation/cuda/launch.cuh` stands in for this file where the kernels run
// on the CPU.

#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/shim_utils.h>

#include <cstdint>

// Registers the functions of a file: INTONE_KERNELS(m) { m.impl(…); }
#define INTONE_KERNELS(m) STABLE_TORCH_LIBRARY_IMPL(intone, CUDA, m)

namespace intone::cuda {

constexpr const char* kPlace = "cuda";

inline bool is_here(const torch::stable::Tensor& x) { return x.is_cuda(); }

// Makes the device of a tensor the current one.
class Guard {
 public:
  explicit Guard(const torch::stable::Tensor& x) : guard_(x.get_device_index()) {}

 private:
  torch::stable::accelerator::DeviceGuard guard_;
};

// Torch's current stream on the device of this tensor.
inline cudaStream_t stream_of(const torch::stable::Tensor& x) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Runs a kernel on torch's current stream. Throws where it needs more blocks than a grid has, or does not start.
template <typename... Parameters, typename... Arguments>
void launch(const char* op, const torch::stable::Tensor& on, void (*kernel)(Parameters...), int64_t blocks, int threads,
            Arguments... arguments) {
  STD_TORCH_CHECK(blocks <= INT32_MAX, op, ": needs ", blocks, " blocks, a grid has at most ", INT32_MAX);
  kernel<<<static_cast<unsigned>(blocks), threads, 0, stream_of(on)>>>(static_cast<Parameters>(arguments)...);
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, op, ": the kernel did not start: ", cudaGetErrorString(error));
}

}  // namespace intone::cuda
