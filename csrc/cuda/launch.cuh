// Helpers around CUDA kernel launches. They use only torch's stable interface, so they compile without a GPU and
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

// Torch's current stream on the device of this tensor.
inline cudaStream_t stream_of(const torch::stable::Tensor& x) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// `blocks` as a grid dimension. Throws where the input is larger than a grid can cover.
inline unsigned grid_of(const char* op, int64_t blocks) {
  STD_TORCH_CHECK(blocks <= INT32_MAX, op, ": needs ", blocks, " blocks, a grid has at most ", INT32_MAX);
  return static_cast<unsigned>(blocks);
}

inline void check_launch(const char* op) {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, op, ": the kernel did not start: ", cudaGetErrorString(error));
}

}  // namespace intone::cuda
