#if defined(__x86_64__)

#include <immintrin.h>

#include <array>
#include <utility>

#include "cpu/attributes.h"
#include "cpu/linear_block.h"

namespace intone {
namespace {

#define INTONE_AVX2_STEP INTONE_AVX2 static INTONE_INLINE

constexpr int kWidth = 8;                        // columns in a register
constexpr int64_t kPrefetchWords = 16 * kPanel;  // prefetch distance of the weights: 1 KiB

// Each type multiplies one step of the weights of kWidth columns, of which `widened` makes kRowWords operands, with as
// many words of each row. Up to kRegisterRows rows are multiplied per pass over the weights, up to kTwoPanelRows of
// them with two panels: their sums take up to three quarters of the registers.

// vpmaddwd multiplies pairs of 16 bits: the even bytes of a word of weights, then the odd ones, by the inputs that were
// packed so. vpmaddubsw, which multiplies bytes, is slower: it wants one factor unsigned, so that signs have to be
// moved to the other, and its sums have to be widened, three multiplications for these two.
struct Int8 {
  using Sum = __m256i;
  static constexpr int kRowWords = 2, kRegisterRows = 6, kTwoPanelRows = 2;
  INTONE_AVX2_STEP Sum zero() { return _mm256_setzero_si256(); }
  INTONE_AVX2_STEP __m256i widened(__m256i w, int word) {
    return _mm256_srai_epi16(word == 0 ? _mm256_slli_epi16(w, 8) : w, 8);
  }
  INTONE_AVX2_STEP Sum step(Sum sum, __m256i x, __m256i w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)); }
  INTONE_AVX2_STEP __m256 finish(Sum sum, float row_scale, const float* column_scales) {
    const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(row_scale), _mm256_loadu_ps(column_scales));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
  }
};

struct Float {
  using Sum = __m256;
  static constexpr int kRowWords = 1, kRegisterRows = 6, kTwoPanelRows = 3;
  INTONE_AVX2_STEP Sum zero() { return _mm256_setzero_ps(); }
  INTONE_AVX2_STEP __m256i widened(__m256i w, int) { return w; }
  INTONE_AVX2_STEP Sum step(Sum sum, __m256i x, __m256i w) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(w), sum);
  }
  INTONE_AVX2_STEP __m256 finish(Sum sum, float, const float*) { return sum; }
};

// A bfloat16 is the upper half of a float.
struct Bf16 : Float {
  static constexpr int kRowWords = 2, kTwoPanelRows = 2;
  INTONE_AVX2_STEP __m256i widened(__m256i w, int word) {
    return word == 0 ? _mm256_slli_epi32(w, 16) : _mm256_and_si256(w, _mm256_set1_epi32(static_cast<int>(0xffff0000u)));
  }
};

// Adds `steps` steps to the sums. Word by word, because the operands of two words would not fit the registers.
template <typename Type, int Rows, int Parts>
INTONE_AVX2_STEP void add_steps(const uint32_t* rows, const uint32_t* weights, int64_t steps, int64_t panel_words,
                                typename Type::Sum (&sums)[Rows][Parts]) {
#pragma GCC unroll 2
  for (int word = 0; word < Type::kRowWords; ++word) {
    for (int64_t step = 0; step < steps; ++step) {
      __m256i w[Parts];
#pragma GCC unroll 8
      for (int part = 0; part < Parts; ++part) {
        const uint32_t* from = weights + step * kPanel + part / 2 * panel_words + part % 2 * kWidth;
        if (word == 0 && part % 2 == 0) _mm_prefetch(from + kPrefetchWords, _MM_HINT_T0);
        w[part] = Type::widened(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)), word);
      }
#pragma GCC unroll 6
      for (int row = 0; row < Rows; ++row) {
        const __m256i x = _mm256_set1_epi32(static_cast<int>(rows[row * kTileWords + step * Type::kRowWords + word]));
#pragma GCC unroll 8
        for (int part = 0; part < Parts; ++part) sums[row][part] = Type::step(sums[row][part], x, w[part]);
      }
    }
  }
}

// Rows `first` to `first` + Rows - 1 times Panels panels from `panel` on. Few rows are multiplied with several panels,
// which hides the latency of each.
template <typename Type, int Rows, int Panels>
INTONE_AVX2 INTONE_INLINE void sum_panels(const LinearBlock& block, int first, int panel) {
  constexpr int kParts = 2 * Panels;  // registers of columns
  constexpr int64_t kTileSteps = kTileWords / Type::kRowWords;
  const int64_t panel_words = block.steps * kPanel;
  const uint32_t *weights = block.weights + panel * panel_words, *rows = block.rows + first * kTileWords;
  typename Type::Sum sums[Rows][kParts];
#pragma GCC unroll 6
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int part = 0; part < kParts; ++part) sums[row][part] = Type::zero();
  }
  for (int64_t left = block.steps; left > 0; left -= kTileSteps) {
    add_steps<Type, Rows, kParts>(rows, weights, left < kTileSteps ? left : kTileSteps, panel_words, sums);
    rows += block.count * kTileWords;
    weights += kTileSteps * kPanel;
  }
#pragma GCC unroll 6
  for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 8
    for (int part = 0; part < kParts; ++part) {
      const int column = panel * kPanel + part * kWidth;
      _mm256_storeu_ps(block.sums + (first + row) * kBlockColumns + column,
                       Type::finish(sums[row][part], block.row_scales[first + row], block.column_scales + column));
    }
  }
}

template <typename Type, int Rows>
INTONE_AVX2 void sum_rows(const LinearBlock& block, int first) {
  constexpr int kTogether = Rows == 1 ? 4 : Rows <= Type::kTwoPanelRows ? 2 : 1;
  for (int panel = 0; panel < kPanels; panel += kTogether) sum_panels<Type, Rows, kTogether>(block, first, panel);
}

template <typename Type, int... Rows>
constexpr std::array<void (*)(const LinearBlock&, int), Type::kRegisterRows> sums_of(
    std::integer_sequence<int, Rows...>) {
  return {sum_rows<Type, Rows + 1>...};
}

template <typename Type>
void sum_block(const LinearBlock& block) {
  constexpr auto kSums = sums_of<Type>(std::make_integer_sequence<int, Type::kRegisterRows>());
  // Passes of equal size over the weights: one of one or two rows would take as long as a full one.
  int passes = (block.count + Type::kRegisterRows - 1) / Type::kRegisterRows;
  for (int row = 0; row < block.count; --passes) {
    const int here = (block.count - row + passes - 1) / passes;
    kSums[here - 1](block, row);
    row += here;
  }
}

}  // namespace

LinearKernel linear_kernel_avx2(WeightType type) {
  switch (type) {
    case WeightType::kInt8:
      return {sum_block<Int8>, false, Int8::kRowWords};
    case WeightType::kBf16:
      return {sum_block<Bf16>, false, Bf16::kRowWords};
    default:
      return {sum_block<Float>};
  }
}

}  // namespace intone

#endif
