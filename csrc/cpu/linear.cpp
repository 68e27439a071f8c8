#include "cpu/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/clones.h"
#include "cpu/lanes.h"
#include "cpu/large_pages.h"

namespace intone {
namespace {

constexpr float kMostInt8 = 127.0f;  // -128 is left out: the range is the same on both sides

int64_t inputs_of_a_word(WeightType type) { return type == WeightType::kInt8 ? 4 : type == WeightType::kBf16 ? 2 : 1; }

// Of non-negative floats the order is that of their bits, and integers can be compared many at a time.
INTONE_CLONES float greatest_magnitude(const float* x, int64_t count) {
  uint32_t greatest = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits &= 0x7fffffffu;
    greatest = bits > greatest ? bits : greatest;
  }
  float value;
  std::memcpy(&value, &greatest, sizeof(value));
  return value;
}

// Where the words of one row go: tiles of kTile words, the beginnings of two tiles `stride` words apart.
struct Tiles {
  uint32_t* first;
  int64_t stride;
};

// x [count] to int8; their sum. A whole tile has a loop of its own, whose length the compiler knows.
INTONE_CLONES int32_t round_to_int8(const float* x, int64_t count, float factor, const Tiles& to) {
  constexpr int64_t kOfTile = 4 * kTile;
  const auto rounded = [factor](float value) { return static_cast<int32_t>(std::nearbyint(value * factor)); };
  auto* y = reinterpret_cast<int8_t*>(to.first);
  int32_t sum = 0;
  for (; count >= kOfTile; count -= kOfTile, x += kOfTile, y += 4 * to.stride) {
    for (int64_t i = 0; i < kOfTile; ++i) {
      const int32_t value = rounded(x[i]);
      y[i] = static_cast<int8_t>(value);
      sum += value;
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const int32_t value = rounded(x[i]);
    y[i] = static_cast<int8_t>(value);
    sum += value;
  }
  return sum;
}

// To nearest, ties to even. What is not a number may become infinite, which shows as well.
INTONE_CLONES void round_to_bf16(const float* x, int64_t count, const Tiles& to) {
  constexpr int64_t kOfTile = 2 * kTile;
  auto* y = reinterpret_cast<uint16_t*>(to.first);
  for (int64_t begin = 0; begin < count; begin += kOfTile, y += 2 * to.stride) {
    const int64_t here = std::min(kOfTile, count - begin);
    for (int64_t i = 0; i < here; ++i) {
      uint32_t bits;
      std::memcpy(&bits, x + begin + i, sizeof(bits));
      y[i] = static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
    }
  }
}

struct PackedRow {
  float scale;  // what gives the inputs back
  int32_t sum;  // of int8
};

// x [count] to `steps` words, zeros to the end of the last one.
PackedRow to_words(const float* x, int64_t count, WeightType type, int64_t steps, const Tiles& to) {
  to.first[(steps - 1) / kTile * to.stride + (steps - 1) % kTile] = 0;
  switch (type) {
    case WeightType::kInt8: {
      const float greatest = greatest_magnitude(x, count), scale = greatest / kMostInt8;
      const float factor = greatest == 0.0f ? 0.0f : kMostInt8 / greatest;
      return {scale, round_to_int8(x, count, factor, to)};
    }
    case WeightType::kBf16:
      round_to_bf16(x, count, to);
      return {1.0f, 0};
    default:
      for (int64_t begin = 0; begin < count; begin += kTile) {
        std::memcpy(to.first + begin / kTile * to.stride, x + begin, std::min<int64_t>(kTile, count - begin) * 4);
      }
      return {1.0f, 0};
  }
}

INTONE_CLONES void store(const float* sums, const float* bias, int64_t count, float* y) {
  for (int64_t j = 0; j < count; ++j) y[j] = sums[j] + bias[j];
}

INTONE_CLONES void add(const float* sums, const float* bias, int64_t count, float* y) {
  for (int64_t j = 0; j < count; ++j) y[j] += sums[j] + bias[j];
}

INTONE_CLONES void gate(const float* sums, int64_t count, float* y) {
  float gated[kHalfBlock];
  for (int64_t j = 0; j < kHalfBlock; ++j) gated[j] = sums[j] / (1.0f + exponential(-sums[j])) * sums[kHalfBlock + j];
  std::copy_n(gated, count, y);
}

// Rows of a block where there are `count`: even blocks, because a last one of a row or two would waste a reading.
int64_t rows_of_a_block(int64_t count) {
  const int64_t blocks = std::max<int64_t>(1, (count + kBlockRows - 1) / kBlockRows);
  return (count + blocks - 1) / blocks;
}

}  // namespace

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
    : type_(type), kernel_(linear_kernel(type, isa)), gated_(gated) {
  const bool narrow = weight.scalar_type() == at::kBFloat16;
  TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0 && (narrow || weight.scalar_type() == at::kFloat) &&
                  weight.device().is_cpu(),
              "a linear layer's weight is ", weight.sizes(), " ", weight.scalar_type(), " on ", weight.device(),
              ", expected [N, K] Float or BFloat16 on cpu");
  in_ = weight.size(1);
  out_ = weight.size(0);
  TORCH_CHECK(!gated || (out_ % 2 == 0 && !bias), "a gated layer has an even number of columns and no bias");
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == out_ && bias->scalar_type() == at::kFloat),
              "a linear layer's bias is not Float [", out_, "]");
  measure();
  weights_ = zeros_in_large_pages(columns() * steps_).view({columns(), steps_});
  scales_ = at::zeros({columns()}, at::kFloat);
  bias_ = at::zeros({columns()}, at::kFloat);
  const at::Tensor from = weight.contiguous();
  const at::Tensor shift = bias ? bias->contiguous() : at::zeros({out_}, at::kFloat);
  const uint32_t flipped = kernel_.adds_128 ? 0x80808080u : 0u;  // adding 128 to a byte flips its first bit
  int32_t* to = weights_.mutable_data_ptr<int32_t>();
  at::parallel_for(0, out_, 64, [&](int64_t begin, int64_t end) {
    std::vector<uint32_t> words(steps_);
    std::vector<float> wide(narrow ? in_ : 0);
    for (int64_t output = begin; output < end; ++output) {
      const int64_t column = column_of(output), panel = column / kPanel, lane = column % kPanel;
      if (narrow) std::copy_n(from.const_data_ptr<at::BFloat16>() + output * in_, in_, wide.data());
      const float* x = narrow ? wide.data() : from.const_data_ptr<float>() + output * in_;
      scales_.mutable_data_ptr<float>()[column] = to_words(x, in_, type_, steps_, {words.data(), kTile}).scale;
      bias_.mutable_data_ptr<float>()[column] = shift.const_data_ptr<float>()[output];
      for (int64_t step = 0; step < steps_; ++step) to[(panel * steps_ + step) * kPanel + lane] = words[step] ^ flipped;
    }
  });
}

void Linear::measure() {
  const int64_t each = inputs_of_a_word(type_);
  steps_ = (in_ + each - 1) / each;
}

void Linear::pack(const float* x, PackedRows& rows, int64_t row, int64_t count) const {
  const int64_t together = rows_of_a_block(count), first = row / together * together;
  const int64_t stride = std::min(together, count - first) * kTile;
  uint32_t* to = rows.words.data() + first * row_words() + (row - first) * kTile;
  const PackedRow packed = to_words(x, in_, type_, steps_, {to, stride});
  rows.scales[row] = packed.scale;
  rows.sums[row] = packed.sum;
}

void Linear::pack_all(Team& team, const float* x, PackedRows& rows, int64_t count) const {
  team.split(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) pack(x + row * in_, rows, row, count);
  });
}

void Linear::apply(Team& team, const PackedRows& rows, int64_t count, float* y, Ending ending) const {
  const int64_t together = rows_of_a_block(count);
  team.split(weights_.size(0) / kBlockColumns, 1, [&](int64_t begin, int64_t end) {
    alignas(64) float sums[kBlockRows * kBlockColumns];
    for (int64_t block = begin; block < end; ++block) {
      const auto* weights = reinterpret_cast<const uint32_t*>(weights_.const_data_ptr<int32_t>());
      const int64_t column = block * kBlockColumns;
      for (int64_t first = 0; first < count; first += together) {
        const int64_t here = std::min(together, count - first);
        kernel_.sum({steps_, weights + column * steps_, scales_.const_data_ptr<float>() + column,
                     rows.words.data() + first * row_words(), rows.scales.data() + first, rows.sums.data() + first,
                     static_cast<int>(here), sums});
        this->end(sums, block, first, here, y, ending);
      }
    }
  });
}

// What follows the sums [count, kBlockColumns] of one block of columns, for rows `first` and on.
void Linear::end(const float* sums, int64_t block, int64_t first, int64_t count, float* y, Ending ending) const {
  const int64_t width = ending == Ending::kGate ? kHalfBlock : kBlockColumns, column = block * width;
  const int64_t columns = std::min(width, out() - column);
  const float* bias = bias_.const_data_ptr<float>() + block * kBlockColumns;
  for (int64_t row = 0; row < count; ++row, sums += kBlockColumns) {
    float* to = y + (first + row) * out() + column;
    switch (ending) {
      case Ending::kStore:
        store(sums, bias, columns, to);
        break;
      case Ending::kAdd:
        add(sums, bias, columns, to);
        break;
      case Ending::kGate:
        gate(sums, columns, to);
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
    apply(team, rows, count, y.mutable_data_ptr<float>(), gated_ ? Ending::kGate : Ending::kStore);
  });
  return y;
}

}  // namespace intone
