#if defined(__x86_64__)

#include <immintrin.h>

#include <array>
#include <utility>

#include "cpu/attributes.h"
#include "cpu/linear_block.h"

namespace intone {
namespace {

constexpr int64_t kPrefetchWords = 32 * kPanel;  // prefetch distance of the weights: 2 KiB

#define INTONE_AVX512_STEP INTONE_AVX512 static INTONE_INLINE

// One word of a row times one step of the weights, in one instruction that loads the word and broadcasts it. Assembly,
// because GCC 12 emits a separate broadcast and moves sums between registers, which takes a third longer.
#define INTONE_MULTIPLY(name, sum, x, w) asm(name " %1%{1to16%}, %2, %0" : "+v"(sum) : "m"(*(x)), "v"(w))

// Each type multiplies one step of the weights of a panel, of which `widened` makes kRowWords operands, with as many
// words of each row.

struct Int8 {
  using Sum = __m512i;
  static constexpr int kRowWords = 1;
  // vpdpbusd multiplies unsigned by signed bytes: weights are stored with an offset of 128, and the sum starts at
  // -128 · Σx to cancel it. The inputs are the signed operand, because only that one may be read from memory.
  INTONE_AVX512_STEP Sum start(int32_t row_sum) { return _mm512_set1_epi32(-128 * row_sum); }
  INTONE_AVX512_STEP __m512i widened(__m512i w, int) { return w; }
  INTONE_AVX512_STEP void step(Sum& sum, const uint32_t* x, __m512i w) { INTONE_MULTIPLY("vpdpbusd", sum, x, w); }
  INTONE_AVX512_STEP __m512 finish(Sum sum, float row_scale, const float* column_scales) {
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(row_scale), _mm512_loadu_ps(column_scales));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
  }
};

struct Float {
  using Sum = __m512;
  static constexpr int kRowWords = 1;
  INTONE_AVX512_STEP Sum start(int32_t) { return _mm512_setzero_ps(); }
  INTONE_AVX512_STEP __m512i widened(__m512i w, int) { return w; }
  INTONE_AVX512_STEP void step(Sum& sum, const uint32_t* x, __m512i w) { INTONE_MULTIPLY("vfmadd231ps", sum, x, w); }
  INTONE_AVX512_STEP __m512 finish(Sum sum, float, const float*) { return sum; }
};

struct Bf16 : Float {
  INTONE_AVX512_STEP void step(Sum& sum, const uint32_t* x, __m512i w) { INTONE_MULTIPLY("vdpbf16ps", sum, x, w); }
};

// For processors without vdpbf16ps. A bfloat16 is the upper half of a float.
struct WideBf16 : Float {
  static constexpr int kRowWords = 2;
  INTONE_AVX512_STEP __m512i widened(__m512i w, int word) {
    return word == 0 ? _mm512_slli_epi32(w, 16) : _mm512_and_si512(w, _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  }
};

// Panels summed at a time. Few rows leave registers for a second panel, which hides the latency of the first.
template <int Rows>
constexpr int kRegisterPanels = Rows <= kBlockRows / 2 ? 2 : 1;

template <typename Type, int Rows>
INTONE_AVX512 void sum_rows(const LinearBlock& block) {
  constexpr int kWidth = kRegisterPanels<Rows>;
  for (int panel = 0; panel < kPanels; panel += kWidth) {
    const uint32_t *weights = block.weights + panel * block.steps * kPanel, *rows = block.rows;
    typename Type::Sum sums[Rows][kWidth];
#pragma GCC unroll 24
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 2
      for (int p = 0; p < kWidth; ++p) sums[row][p] = Type::start(block.row_sums[row]);
    }
    for (int64_t left = block.steps * Type::kRowWords; left > 0; left -= kTileWords, rows += (Rows - 1) * kTileWords) {
      for (const uint32_t* end = rows + (left < kTileWords ? left : kTileWords); rows < end;
           rows += Type::kRowWords, weights += kPanel) {
        __m512i w[kWidth];
#pragma GCC unroll 2
        for (int p = 0; p < kWidth; ++p) {
          const uint32_t* from = weights + p * block.steps * kPanel;
          _mm_prefetch(from + kPrefetchWords, _MM_HINT_T0);
          w[p] = _mm512_loadu_si512(from);
        }
#pragma GCC unroll 2
        for (int word = 0; word < Type::kRowWords; ++word) {
          __m512i wide[kWidth];
#pragma GCC unroll 2
          for (int p = 0; p < kWidth; ++p) wide[p] = Type::widened(w[p], word);
#pragma GCC unroll 24
          for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 2
            for (int p = 0; p < kWidth; ++p) Type::step(sums[row][p], rows + row * kTileWords + word, wide[p]);
          }
        }
      }
    }
#pragma GCC unroll 24
    for (int row = 0; row < Rows; ++row) {
#pragma GCC unroll 2
      for (int p = 0; p < kWidth; ++p) {
        const int column = (panel + p) * kPanel;
        _mm512_storeu_ps(block.sums + row * kBlockColumns + column,
                         Type::finish(sums[row][p], block.row_scales[row], block.column_scales + column));
      }
    }
  }
}

template <typename Type, int... Rows>
constexpr std::array<void (*)(const LinearBlock&), kBlockRows> sums_of(std::integer_sequence<int, Rows...>) {
  return {sum_rows<Type, Rows + 1>...};
}

template <typename Type>
void sum_block(const LinearBlock& block) {
  constexpr auto kSums = sums_of<Type>(std::make_integer_sequence<int, kBlockRows>());
  kSums[block.count - 1](block);
}

}  // namespace

LinearKernel linear_kernel_avx512(WeightType type, bool has_bf16) {
  switch (type) {
    case WeightType::kInt8:
      return {sum_block<Int8>, true};
    case WeightType::kBf16:
      if (has_bf16) return {sum_block<Bf16>};
      return {sum_block<WideBf16>, false, WideBf16::kRowWords};
    default:
      return {sum_block<Float>};
  }
}

}  // namespace intone

#endif
