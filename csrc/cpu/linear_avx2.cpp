#if defined(__x86_64__)

#include <immintrin.h>

#include "cpu/attributes.h"
#include "cpu/linear_block.h"

namespace intone {
namespace {

constexpr int kRegisterRows = 4;  // rows multiplied per pass over the weights: their sums take half of the registers

#define INTONE_AVX2_STEP INTONE_AVX2 static INTONE_INLINE

struct Int8 {
  using Sum = __m256i;
  INTONE_AVX2_STEP Sum zero() { return _mm256_setzero_si256(); }
  // vpmaddubsw multiplies unsigned by signed bytes: the sign of the weight is moved to x. Sums of pairs stay below
  // 2^15, since no input and no weight is below -127.
  INTONE_AVX2_STEP Sum step(Sum sum, __m256i x, __m256i w) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  INTONE_AVX2_STEP __m256 finish(Sum sum, float row_scale, const float* column_scales) {
    const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(row_scale), _mm256_loadu_ps(column_scales));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
  }
};

struct Float {
  using Sum = __m256;
  INTONE_AVX2_STEP Sum zero() { return _mm256_setzero_ps(); }
  INTONE_AVX2_STEP Sum step(Sum sum, __m256i x, __m256i w) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(w), sum);
  }
  INTONE_AVX2_STEP __m256 finish(Sum sum, float, const float*) { return sum; }
};

struct Bf16 : Float {
  INTONE_AVX2_STEP Sum step(Sum sum, __m256i x, __m256i w) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    sum = Float::step(sum, _mm256_slli_epi32(x, 16), _mm256_slli_epi32(w, 16));
    return Float::step(sum, _mm256_and_si256(x, high), _mm256_and_si256(w, high));
  }
};

// Rows `first` to `first` + Rows - 1.
template <typename Type, int Rows>
INTONE_AVX2 void sum_rows(const LinearBlock& block, int first) {
  for (int panel = 0; panel < kPanels; ++panel) {
    const uint32_t* weights = block.weights + panel * block.steps * kPanel;
    const uint32_t* rows = block.rows + first * kTileWords;
    typename Type::Sum low[Rows], high[Rows];
#pragma GCC unroll 4
    for (int row = 0; row < Rows; ++row) low[row] = high[row] = Type::zero();
    for (int64_t left = block.steps; left > 0; left -= kTileWords, rows += (block.count - 1) * kTileWords) {
      for (const uint32_t* end = rows + (left < kTileWords ? left : kTileWords); rows < end;
           ++rows, weights += kPanel) {
        const __m256i w_low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
        const __m256i w_high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + kPanel / 2));
#pragma GCC unroll 4
        for (int row = 0; row < Rows; ++row) {
          const __m256i x = _mm256_set1_epi32(static_cast<int>(rows[row * kTileWords]));
          low[row] = Type::step(low[row], x, w_low);
          high[row] = Type::step(high[row], x, w_high);
        }
      }
    }
    const float* scales = block.column_scales + panel * kPanel;
#pragma GCC unroll 4
    for (int row = 0; row < Rows; ++row) {
      float* sums = block.sums + (first + row) * kBlockColumns + panel * kPanel;
      _mm256_storeu_ps(sums, Type::finish(low[row], block.row_scales[first + row], scales));
      _mm256_storeu_ps(sums + kPanel / 2, Type::finish(high[row], block.row_scales[first + row], scales + kPanel / 2));
    }
  }
}

template <typename Type>
void sum_block(const LinearBlock& block) {
  constexpr void (*kSums[kRegisterRows])(const LinearBlock&, int) = {sum_rows<Type, 1>, sum_rows<Type, 2>,
                                                                     sum_rows<Type, 3>, sum_rows<Type, 4>};
  for (int row = 0; row < block.count; row += kRegisterRows) {
    const int left = block.count - row;
    kSums[(left < kRegisterRows ? left : kRegisterRows) - 1](block, row);
  }
}

}  // namespace

LinearKernel linear_kernel_avx2(WeightType type) {
  switch (type) {
    case WeightType::kInt8:
      return {sum_block<Int8>, false};
    case WeightType::kBf16:
      return {sum_block<Bf16>, false};
    default:
      return {sum_block<Float>, false};
  }
}

}  // namespace intone

#endif
