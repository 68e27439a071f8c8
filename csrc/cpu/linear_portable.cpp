// The kernels of `linear_block.h` in plain C++.

#include <cstring>

#include "cpu/linear_block.h"

namespace intone {
namespace {

inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

struct Int8 {
  using Sum = int32_t;
  static constexpr int kRowWords = 1;
  static Sum step(Sum sum, const uint32_t* x, uint32_t w) {
    for (int byte = 0; byte < 32; byte += 8) sum += static_cast<int8_t>(*x >> byte) * static_cast<int8_t>(w >> byte);
    return sum;
  }
  static float finish(Sum sum, float row_scale, float column_scale) {
    const float scale = row_scale * column_scale;
    return static_cast<float>(sum) * scale;
  }
};

struct Float {
  using Sum = float;
  static constexpr int kRowWords = 1;
  static Sum step(Sum sum, const uint32_t* x, uint32_t w) { return sum + float_of(x[0]) * float_of(w); }
  static float finish(Sum sum, float, float) { return sum; }
};

struct Bf16 : Float {
  static constexpr int kRowWords = 2;
  static Sum step(Sum sum, const uint32_t* x, uint32_t w) {
    sum += float_of(x[0]) * float_of(w << 16);
    return sum + float_of(x[1]) * float_of(w & 0xffff0000u);
  }
};

template <typename Type>
void sum_block(const LinearBlock& block) {
  for (int panel = 0; panel < kPanels; ++panel) {
    const uint32_t* weights = block.weights + panel * block.steps * kPanel;
    for (int row = 0; row < block.count; ++row) {
      typename Type::Sum sums[kPanel] = {};
      for (int64_t step = 0; step < block.steps; ++step) {
        const int64_t word = step * Type::kRowWords;
        const uint32_t* x = block.rows + (word / kTileWords * block.count + row) * kTileWords + word % kTileWords;
        for (int lane = 0; lane < kPanel; ++lane) {
          sums[lane] = Type::step(sums[lane], x, weights[step * kPanel + lane]);
        }
      }
      for (int lane = 0; lane < kPanel; ++lane) {
        const int column = panel * kPanel + lane;
        block.sums[row * kBlockColumns + column] =
            Type::finish(sums[lane], block.row_scales[row], block.column_scales[column]);
      }
    }
  }
}

}  // namespace

LinearKernel linear_kernel_portable(WeightType type) {
  switch (type) {
    case WeightType::kInt8:
      return {sum_block<Int8>};
    case WeightType::kBf16:
      return {sum_block<Bf16>, false, Bf16::kRowWords};
    default:
      return {sum_block<Float>};
  }
}

}  // namespace intone
