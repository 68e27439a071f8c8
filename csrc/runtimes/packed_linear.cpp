#include "runtimes/packed_linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/constant_pad_nd.h>

#include <algorithm>
#include <cmath>

#include "cpu/clones.h"

namespace intone {
namespace {

constexpr int kLanes = 16;          // of a vector: one register with AVX-512, two with AVX2
constexpr int kPanel = 2 * kLanes;  // columns that are summed at a time
constexpr int kRows = 4;            // rows that share a reading of the weights
constexpr int64_t kGrain = 65536;   // multiplications a thread is worth waking for

typedef float Lanes __attribute__((vector_size(4 * kLanes)));

// The sums of kPanel columns for `Rows` rows. Each sum is taken in the order of the inputs, so it is the same whichever
// rows keep it company.
template <int Rows>
__attribute__((always_inline)) inline void sum_columns(const float* x, int64_t in, const float* weights, float* sums) {
  Lanes low[Rows] = {}, high[Rows] = {};
  for (int64_t i = 0; i < in; ++i) {
    const Lanes* w = reinterpret_cast<const Lanes*>(weights + i * kPanel);
    for (int r = 0; r < Rows; ++r) {
      low[r] += w[0] * x[r * in + i];
      high[r] += w[1] * x[r * in + i];
    }
  }
  for (int r = 0; r < Rows; ++r) {
    __builtin_memcpy(sums + r * kPanel, &low[r], sizeof(Lanes));
    __builtin_memcpy(sums + r * kPanel + kLanes, &high[r], sizeof(Lanes));
  }
}

INTONE_CLONES void sum_1(const float* x, int64_t in, const float* weights, float* sums) {
  sum_columns<1>(x, in, weights, sums);
}
INTONE_CLONES void sum_2(const float* x, int64_t in, const float* weights, float* sums) {
  sum_columns<2>(x, in, weights, sums);
}
INTONE_CLONES void sum_3(const float* x, int64_t in, const float* weights, float* sums) {
  sum_columns<3>(x, in, weights, sums);
}
INTONE_CLONES void sum_4(const float* x, int64_t in, const float* weights, float* sums) {
  sum_columns<4>(x, in, weights, sums);
}

constexpr void (*kSums[kRows])(const float*, int64_t, const float*, float*) = {sum_1, sum_2, sum_3, sum_4};

// GELU in the tanh form, x · (1 + tanh(u)) / 2, written as x / (1 + exp(-2u)).
inline float gelu(float x) {
  constexpr float kTwiceRoot2OverPi = 1.5957691216f;
  return x / (1.0f + std::exp(-kTwiceRoot2OverPi * (x + 0.044715f * x * x * x)));
}

void store(const float* sums, const float* bias, float* y, int64_t count, Finish finish) {
  switch (finish) {
    case Finish::kStore:
      for (int64_t j = 0; j < count; ++j) y[j] = sums[j] + bias[j];
      break;
    case Finish::kGelu:
      for (int64_t j = 0; j < count; ++j) y[j] = gelu(sums[j] + bias[j]);
      break;
    case Finish::kAdd:
      for (int64_t j = 0; j < count; ++j) y[j] += sums[j] + bias[j];
      break;
  }
}

}  // namespace

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& bias)
    : in_(weight.size(0)), out_(weight.size(1)) {
  TORCH_CHECK(bias.dim() == 1 && bias.size(0) == out_, "a linear layer's bias is ", bias.sizes(), ", expected [", out_,
              "]");
  const int64_t count = (out_ + kPanel - 1) / kPanel, missing = count * kPanel - out_;
  panels_ = at::constant_pad_nd(weight, {0, missing}).view({in_, count, kPanel}).transpose(0, 1).contiguous();
  bias_ = at::constant_pad_nd(bias, {0, missing}).contiguous();
}

void PackedLinear::apply(const float* x, float* y, int64_t rows, Finish finish) const {
  const float *panels = panels_.const_data_ptr<float>(), *bias = bias_.const_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(1, kGrain / (in_ * kPanel * rows));
  at::parallel_for(0, panels_.size(0), grain, [&](int64_t begin, int64_t end) {
    float sums[kRows * kPanel];
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t column = panel * kPanel, count = std::min<int64_t>(kPanel, out_ - column);
      for (int64_t row = 0; row < rows; row += kRows) {  // a panel stays in the second cache for all rows
        const int64_t together = std::min<int64_t>(kRows, rows - row);
        kSums[together - 1](x + row * in_, in_, panels + panel * in_ * kPanel, sums);
        for (int64_t r = 0; r < together; ++r) {
          store(sums + r * kPanel, bias + column, y + (row + r) * out_ + column, count, finish);
        }
      }
    }
  });
}

}  // namespace intone
