#include "cpu/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/large_pages.h"

namespace intone {
namespace {

constexpr float kMinMagnitude = 1e-36f;  // of a row; rows of smaller numbers, whose factor would overflow, become zeros
constexpr int64_t kMaxSide = int64_t{1} << 31;  // inputs or outputs: products of two sizes do not overflow

int64_t inputs_per_word(WeightType type) { return type == WeightType::kInt8 ? 4 : type == WeightType::kBf16 ? 2 : 1; }

struct PackedRow {
  float scale;  // x ≈ scale · int8
  int32_t sum;  // of the int8 inputs
};

// Packs x [count] into `words` words; the last one is padded with zeros. `wide`: two words for each, see
// `LinearKernel`.
PackedRow pack_row(const VectorKernels& kernels, const float* x, int64_t count, WeightType type, int64_t words,
                   const Tiles& to, bool wide) {
  to.first[(words - 1) / kTileWords * to.stride + (words - 1) % kTileWords] = 0;
  switch (type) {
    case WeightType::kInt8: {
      const float magnitude = kernels.max_magnitude(x, count), scale = magnitude / kMaxInt8;
      const float factor = magnitude < kMinMagnitude ? 0.0f : kMaxInt8 / magnitude;
      return {scale, (wide ? kernels.round_to_wide_int8 : kernels.round_to_int8)(x, count, factor, to)};
    }
    case WeightType::kBf16:
      (wide ? kernels.round_to_wide_bf16 : kernels.round_to_bf16)(x, count, to);
      return {1.0f, 0};
    default:
      for (int64_t begin = 0; begin < count; begin += kTileWords) {
        std::memcpy(to.first + begin / kTileWords * to.stride, x + begin,
                    std::min<int64_t>(kTileWords, count - begin) * 4);
      }
      return {1.0f, 0};
  }
}

// Rows per block for `count` rows: blocks of equal size, because a last block of one or two rows would waste a pass
// over the weights.
int64_t rows_per_block(int64_t count) {
  const int64_t blocks = std::max<int64_t>(1, (count + kBlockRows - 1) / kBlockRows);
  return (count + blocks - 1) / blocks;
}

}  // namespace

LinearKernel linear_kernel(WeightType type, Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return linear_kernel_avx512(type, isa == Isa::kAvx512Bf16);
  if (isa == Isa::kAvx2) return linear_kernel_avx2(type);
#endif
  return linear_kernel_portable(type);
}

WeightType weight_type_named(const std::string& name) {
  if (name == "int8") return WeightType::kInt8;
  if (name == "bf16") return WeightType::kBf16;
  TORCH_CHECK(name == "fp32", "found weights '", name, "', expected int8, bf16 or fp32");
  return WeightType::kFloat;
}

void PackedRows::reserve(int64_t rows, int64_t row_words) {
  words.resize(rows * row_words);
  scales.resize(rows);
  sums.resize(rows);
}

Linear::Linear(const at::Tensor& weight, const std::optional<at::Tensor>& bias, WeightType type, Isa isa, bool gated)
    : type_(type), isa_(isa), kernel_(linear_kernel(type, isa)), gated_(gated) {
  const bool narrow = weight.scalar_type() == at::kBFloat16;
  TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0 && (narrow || weight.scalar_type() == at::kFloat) &&
                  weight.device().is_cpu(),
              "a linear layer's weight is ", weight.sizes(), " ", weight.scalar_type(), " on ", weight.device(),
              ", expected [N, K] Float or BFloat16 on cpu");
  in_ = weight.size(1);
  out_ = weight.size(0);
  TORCH_CHECK(!gated || (out_ % 2 == 0 && !bias), "a gated layer has an even number of columns and no bias");
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == out_ && bias->scalar_type() == at::kFloat &&
                        bias->device().is_cpu()),
              "a linear layer's bias is not Float [", out_, "] on cpu");
  set_steps();
  weights_ = zeros_in_large_pages(columns() * steps_).view({columns(), steps_});
  scales_ = at::zeros({columns()}, at::kFloat);
  bias_ = at::zeros({columns()}, at::kFloat);
  const at::Tensor from = weight.contiguous();
  const at::Tensor shift = bias ? bias->contiguous() : at::zeros({out_}, at::kFloat);
  const uint32_t flipped = kernel_.adds_128 ? 0x80808080u : 0u;  // adding 128 to a byte flips its top bit
  int32_t* to = weights_.mutable_data_ptr<int32_t>();
  at::parallel_for(0, out_, 64, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> words(steps_);
    std::vector<float> wide(narrow ? in_ : 0);
    for (int64_t output = begin; output < end; ++output) {
      const int64_t column = column_of(output), panel = column / kPanel, lane = column % kPanel;
      if (narrow) std::copy_n(from.const_data_ptr<at::BFloat16>() + output * in_, in_, wide.data());
      const float* x = narrow ? wide.data() : from.const_data_ptr<float>() + output * in_;
      scales_.mutable_data_ptr<float>()[column] =
          pack_row(vectors(), x, in_, type_, steps_, {words.data(), kTileWords}, false).scale;
      bias_.mutable_data_ptr<float>()[column] = shift.const_data_ptr<float>()[output];
      for (int64_t step = 0; step < steps_; ++step) to[(panel * steps_ + step) * kPanel + lane] = words[step] ^ flipped;
    }
  });
}

Linear::Linear(const Packed& packed, WeightType type, Isa isa, bool gated)
    : type_(type), isa_(isa), kernel_(linear_kernel(type, isa)), gated_(gated) {
  const at::Tensor sizes = part_of(packed, "sizes", at::kLong, {2});
  in_ = sizes.const_data_ptr<int64_t>()[0];
  out_ = sizes.const_data_ptr<int64_t>()[1];
  TORCH_CHECK(0 < in_ && in_ < kMaxSide && 0 < out_ && out_ < kMaxSide && (!gated || out_ % 2 == 0),
              "a packed layer has ", in_, " inputs and ", out_, " outputs");
  set_steps();
  weights_ = copied_to_large_pages(part_of(packed, "weights", at::kInt, {columns(), steps_}));
  scales_ = part_of(packed, "scales", at::kFloat, {columns()}).clone();
  bias_ = part_of(packed, "bias", at::kFloat, {columns()}).clone();
}

Packed Linear::packed() const {
  return {{"sizes", at::tensor({in_, out_}, at::kLong)}, {"weights", weights_}, {"scales", scales_}, {"bias", bias_}};
}

// Columns as stored: whole blocks.
int64_t Linear::columns() const { return (column_of(out_ - 1) / kBlockColumns + 1) * kBlockColumns; }

// The stored column of an output. In a gated layer, both columns of one output are in the same block.
int64_t Linear::column_of(int64_t output) const {
  if (!gated_) return output;
  const int64_t half = out_ / 2, index = output % half;
  return index / kHalfBlock * kBlockColumns + output / half * kHalfBlock + index % kHalfBlock;
}

void Linear::set_steps() {
  const int64_t each = inputs_per_word(type_);
  steps_ = (in_ + each - 1) / each;
}

void Linear::pack(const float* x, PackedRows& rows, int64_t row, int64_t count) const {
  const int64_t block_rows = rows_per_block(count), first = row / block_rows * block_rows;
  const int64_t stride = std::min(block_rows, count - first) * kTileWords;
  uint32_t* to = rows.words.data() + first * row_words() + (row - first) * kTileWords;
  const PackedRow packed =
      pack_row(vectors(), x, in_, type_, steps_ * kernel_.row_words, {to, stride}, kernel_.row_words > 1);
  rows.scales[row] = packed.scale;
  rows.sums[row] = packed.sum;
}

void Linear::pack_all(Team& team, const float* x, PackedRows& rows, int64_t count) const {
  team.split(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) pack(x + row * in_, rows, row, count);
  });
}

void Linear::apply(Team& team, const PackedRows& rows, int64_t count, float* y, Epilogue epilogue) const {
  const int64_t block_rows = rows_per_block(count);
  team.split(weights_.size(0) / kBlockColumns, 1, [&](int64_t begin, int64_t end) {
    alignas(64) float sums[kBlockRows * kBlockColumns];
    for (int64_t block = begin; block < end; ++block) {
      const auto* weights = reinterpret_cast<const uint32_t*>(weights_.const_data_ptr<int32_t>());
      const int64_t column = block * kBlockColumns;
      for (int64_t first = 0; first < count; first += block_rows) {
        const int64_t here = std::min(block_rows, count - first);
        kernel_.sum({steps_, weights + column * steps_, scales_.const_data_ptr<float>() + column,
                     rows.words.data() + first * row_words(), rows.scales.data() + first, rows.sums.data() + first,
                     static_cast<int>(here), sums});
        store_sums(sums, block, first, here, y, epilogue);
      }
    }
  });
}

// Applies the epilogue to the sums [count, kBlockColumns] of one block of columns, for rows `first` and on.
void Linear::store_sums(const float* sums, int64_t block, int64_t first, int64_t count, float* y,
                        Epilogue epilogue) const {
  const int64_t width = epilogue == Epilogue::kSwiGlu ? kHalfBlock : kBlockColumns, column = block * width;
  const int64_t columns = std::min(width, out() - column);
  const float* bias = bias_.const_data_ptr<float>() + block * kBlockColumns;
  for (int64_t row = 0; row < count; ++row, sums += kBlockColumns) {
    float* to = y + (first + row) * out() + column;
    switch (epilogue) {
      case Epilogue::kStore:
        vectors().store(sums, bias, columns, to);
        break;
      case Epilogue::kAccumulate:
        vectors().accumulate(sums, bias, columns, to);
        break;
      case Epilogue::kSwiGlu:
        vectors().swiglu(sums, columns, to);
        break;
      case Epilogue::kGelu:
        vectors().gelu(sums, bias, columns, to);
        break;
    }
  }
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  TORCH_CHECK(x.dim() == 2 && x.size(1) == in_ && x.scalar_type() == at::kFloat && x.device().is_cpu(),
              "a linear layer's input is ", x.sizes(), " ", x.scalar_type(), ", expected [M, ", in_, "] Float on cpu");
  const at::Tensor from = x.contiguous();
  const int64_t count = x.size(0);
  at::Tensor y = at::empty({count, out()}, at::kFloat);
  PackedRows rows;
  rows.reserve(count, row_words());
  Team::run([&](Team& team) {
    pack_all(team, from.const_data_ptr<float>(), rows, count);
    apply(team, rows, count, y.mutable_data_ptr<float>(), gated_ ? Epilogue::kSwiGlu : Epilogue::kStore);
  });
  return y;
}

}  // namespace intone
