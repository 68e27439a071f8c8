// What every CUDA body needs around its kernel, by the stable interface of torch alone: it compiles without a GPU and
// without a CUDA build of torch.

#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/shim_utils.h>

#include <cstdint>

namespace intone::cuda {

// The stream that torch queues work for this tensor's device on.
inline cudaStream_t stream_of(const torch::stable::Tensor& x) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// Blocks as a grid wants them; more than a grid has is an input far beyond any use.
inline unsigned grid_of(const char* op, int64_t blocks) {
  STD_TORCH_CHECK(blocks <= INT32_MAX, op, ": needs ", blocks, " blocks, a grid has ", INT32_MAX);
  return static_cast<unsigned>(blocks);
}

inline void check_launch(const char* op) {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, op, ": the kernel did not start: ", cudaGetErrorString(error));
}

}  // namespace intone::cuda
