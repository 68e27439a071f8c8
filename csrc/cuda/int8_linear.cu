// int8_linear on CUDA: a linear layer with int8 weights for few rows, which takes as long as reading the weights. The
// weights become bfloat16 or float16 in registers, the products are of tensor cores, the sums float.
//
// A block computes 16 outputs of all rows; its warps share the inputs, 64 at a time. Which input a lane takes to which
// step of a product does not matter for the sum, as long as weights and rows agree: lane l = 4 · g + t takes 16
// neighbouring inputs, which is a read of 16 bytes of weights.
//
//   inputs of a warp's turn   0 .. 15   16 .. 31   32 .. 47   48 .. 63
//   lane                      t = 0     t = 1      t = 2      t = 3      of outputs g and g + 8, and of row g
//   four products of 16       0-3 | 4-7 | 8-11 | 12-15 of each lane's inputs

#include <optional>

#include "cuda/kernel.cuh"
#include "cuda/mma.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kOutputs = 16;  // of a block
constexpr int kInputs = 64;   // of a turn of a warp
constexpr int kTile = 8;      // rows of a product
constexpr int kMaxTiles = 8;

struct alignas(16) Bytes {
  int8_t value[16];
};

template <typename T>
struct alignas(16) Row {
  T value[8];
};

template <typename T>
__device__ inline uint32_t packed(T low, T high) {
  return static_cast<uint32_t>(low.x) | static_cast<uint32_t>(high.x) << 16;
}

template <typename T, int kTiles>
__global__ void int8_linear_kernel(const T* x, const int8_t* weight, const float* scale, const T* bias, T* y, int rows,
                                   int inputs, int outputs) {
  __shared__ float partial[kWarps * kTiles * kTile * kOutputs];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, g = lane / 4, t = lane % 4;
  const int first = blockIdx.x * kOutputs;
  const int8_t* upper = weight + static_cast<int64_t>(first + g) * inputs + 16 * t;
  const int8_t* lower = upper + static_cast<int64_t>(kTile) * inputs;
  float sums[kTiles][4] = {};
#pragma unroll 2
  for (int at = warp * kInputs; at < inputs; at += kWarps * kInputs) {
    const Bytes of_upper = *reinterpret_cast<const Bytes*>(upper + at);
    const Bytes of_lower = *reinterpret_cast<const Bytes*>(lower + at);
    uint32_t a[4][4];
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const int i = 4 * step + 2 * pair;
        a[step][2 * pair] = packed(static_cast<T>(static_cast<float>(of_upper.value[i])),
                                   static_cast<T>(static_cast<float>(of_upper.value[i + 1])));
        a[step][2 * pair + 1] = packed(static_cast<T>(static_cast<float>(of_lower.value[i])),
                                       static_cast<T>(static_cast<float>(of_lower.value[i + 1])));
      }
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const int row = tile * kTile + g;
      Row<T> own[2] = {};
      if (row < rows) {
        const Row<T>* from = reinterpret_cast<const Row<T>*>(x + static_cast<int64_t>(row) * inputs + at + 16 * t);
        own[0] = from[0];
        own[1] = from[1];
      }
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        const T* four = own[step / 2].value + step % 2 * 4;
        const uint32_t b[2] = {packed(four[0], four[1]), packed(four[2], four[3])};
        multiply_add(sums[tile], a[step], b, T{});
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = tile * kTile + 2 * t + i % 2, output = g + i / 2 * 8;
      partial[(warp * kTiles * kTile + row) * kOutputs + output] = sums[tile][i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < rows * kOutputs; i += kThreads) {
    const int row = i / kOutputs, output = first + i % kOutputs;
    float sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) sum += partial[(w * kTiles * kTile + row) * kOutputs + i % kOutputs];
    sum *= scale[output];
    if (bias != nullptr) sum += static_cast<float>(bias[output]);
    y[static_cast<int64_t>(row) * outputs + output] = static_cast<T>(sum);
  }
}

template <typename T>
auto kernel_for(int64_t rows) {
  if (rows <= kTile) return int8_linear_kernel<T, 1>;
  if (rows <= 2 * kTile) return int8_linear_kernel<T, 2>;
  if (rows <= 3 * kTile) return int8_linear_kernel<T, 3>;
  if (rows <= 4 * kTile) return int8_linear_kernel<T, 4>;
  return int8_linear_kernel<T, kMaxTiles>;
}

Tensor int8_linear_cuda(Tensor x, Tensor weight, Tensor scale, std::optional<Tensor> bias) {
  constexpr const char* op = "int8_linear";
  check_plain({op, "x", x}, 2);
  check_plain({op, "weight", weight}, 2);
  check_plain({op, "scale", scale}, 1);
  const int64_t rows = x.size(0), inputs = x.size(1), outputs = weight.size(0);
  check_size({op, "weight", weight}, 1, inputs);
  check_size({op, "scale", scale}, 0, outputs);
  check_type({op, "weight", weight}, ScalarType::Char);
  check_type({op, "scale", scale}, ScalarType::Float);
  if (bias.has_value()) {
    check_plain({op, "bias", *bias}, 1);
    check_size({op, "bias", *bias}, 0, outputs);
    check_type({op, "bias", *bias}, x.scalar_type());
  }
  STD_TORCH_CHECK(rows <= kMaxTiles * kTile, op, ": ", rows, " rows, expected at most ", kMaxTiles * kTile);
  STD_TORCH_CHECK(inputs % kInputs == 0 && outputs % kOutputs == 0, op, ": ", inputs, " inputs and ", outputs,
                  " outputs, expected multiples of ", kInputs, " and ", kOutputs);
  STD_TORCH_CHECK(
      (reinterpret_cast<uintptr_t>(x.data_ptr()) | reinterpret_cast<uintptr_t>(weight.data_ptr())) % 16 == 0, op,
      ": x or weight does not start at a multiple of 16 bytes");
  const Guard guard(x);
  Tensor y = torch::stable::new_empty(x, {rows, outputs});
  if (y.numel() == 0) return y;
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    launch(op, x, kernel_for<T>(rows), outputs / kOutputs, kThreads, data<T>(x), data<int8_t>(weight),
           data<float>(scale), bias.has_value() ? data<T>(*bias) : nullptr, mutable_data<T>(y), rows, inputs, outputs);
  };
  if (x.scalar_type() == ScalarType::BFloat16) {
    run(c10::BFloat16{});
  } else {
    check_type({op, "x", x}, ScalarType::Half);
    run(c10::Half{});
  }
  return y;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("int8_linear", TORCH_BOX(&int8_linear_cuda)); }

}  // namespace intone
