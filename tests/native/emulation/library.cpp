// The operations under a namespace of their own, so that the kernels can run beside those of the CPU; and a kernel with
// a race, which a search for races must find.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "cuda/launch.cuh"
#include "schemas.h"

namespace {

constexpr int kThreads = 64;

// The numbers of x in reverse order, without the barrier between writing and reading.
__global__ void reversed_kernel(const float* x, float* y) {
  __shared__ float copy[kThreads];
  copy[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = copy[kThreads - 1 - threadIdx.x];
}

torch::stable::Tensor reversed_with_a_race(torch::stable::Tensor x) {
  torch::stable::Tensor y = torch::stable::empty_like(x);
  intone::cuda::launch("reversed_with_a_race", x, reversed_kernel, 1, kThreads, static_cast<const float*>(x.data_ptr()),
                       static_cast<float*>(y.data_ptr()));
  return y;
}

}  // namespace

STABLE_TORCH_LIBRARY(intone_emulated, m) {
  for (const char* schema : intone::kSchemas) m.def(schema);
  m.def("reversed_with_a_race(Tensor x) -> Tensor");
}

INTONE_KERNELS(m) { m.impl("reversed_with_a_race", TORCH_BOX(&reversed_with_a_race)); }
