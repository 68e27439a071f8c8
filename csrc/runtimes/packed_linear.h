// A linear layer whose weights are laid out for few rows at a time: each thread reads its columns once, in order, for
// all rows. float32.

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace intone {

// What is done to a sum before it is stored.
enum class Finish {
  kStore,  // y = sum
  kGelu,   // y = GELU(sum), the tanh form
  kAdd,    // y = y + sum
};

class PackedLinear {
 public:
  // `weight` [in, out], `bias` [out]; both are copied.
  PackedLinear(const at::Tensor& weight, const at::Tensor& bias);

  int64_t in() const { return in_; }
  int64_t out() const { return out_; }

  // x [rows, in], y [rows, out], both contiguous. A row's result does not depend on the other rows.
  void apply(const float* x, float* y, int64_t rows, Finish finish) const;

 private:
  int64_t in_, out_;
  at::Tensor panels_;  // [out / kPanel, in, kPanel], zeros beyond the last column
  at::Tensor bias_;    // [out], zeros to the end of the last panel
};

}  // namespace intone
