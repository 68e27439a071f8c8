// How a linear layer's packed weights lie in memory, and how they are kept and taken again.

#include <ATen/ops/tensor.h>

#include "cpu/large_pages.h"
#include "cpu/linear.h"

namespace intone {

Linear::Linear(const Packed& packed, WeightType type, Isa isa, bool gated)
    : type_(type), kernel_(linear_kernel(type, isa)), gated_(gated) {
  const at::Tensor sizes = part_of(packed, "sizes", at::kLong, {2});
  in_ = sizes.const_data_ptr<int64_t>()[0];
  out_ = sizes.const_data_ptr<int64_t>()[1];
  TORCH_CHECK(in_ > 0 && out_ > 0 && (!gated || out_ % 2 == 0), "a packed layer has ", in_, " inputs and ", out_,
              " outputs");
  measure();
  weights_ = copied_to_large_pages(part_of(packed, "weights", at::kInt, {columns(), steps_}));
  scales_ = part_of(packed, "scales", at::kFloat, {columns()}).clone();
  bias_ = part_of(packed, "bias", at::kFloat, {columns()}).clone();
}

Packed Linear::packed() const {
  return {{"sizes", at::tensor({in_, out_}, at::kLong)}, {"weights", weights_}, {"scales", scales_}, {"bias", bias_}};
}

// As stored: whole blocks.
int64_t Linear::columns() const { return (column_of(out_ - 1) / kBlockColumns + 1) * kBlockColumns; }

// Where an output's weights lie. A gated layer has both columns that make one output in the same block.
int64_t Linear::column_of(int64_t output) const {
  if (!gated_) return output;
  const int64_t half = out_ / 2, index = output % half;
  return index / kHalfBlock * kBlockColumns + output / half * kHalfBlock + index % kHalfBlock;
}

}  // namespace intone
