#include "cpu/vector_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/attributes.h"
#include "cpu/lanes.h"
#include "cpu/linear_block.h"

namespace intone {
namespace {

// Parts of a word. They may alias it.
typedef int8_t Int8Part __attribute__((may_alias));
typedef uint16_t Bf16Part __attribute__((may_alias));

// Non-negative floats order as their bits do, and integer comparisons vectorize.
INTONE_INLINE float max_magnitude(const float* x, int64_t count) {
  uint32_t magnitude = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits &= 0x7fffffffu;
    magnitude = bits > magnitude ? bits : magnitude;
  }
  float value;
  std::memcpy(&value, &magnitude, sizeof(value));
  return value;
}

INTONE_INLINE int32_t rounded(float value, float factor) {
  const float scaled = value * factor;  // beyond the range only in rows that are not finite; NaN takes the limit
  const float limited = scaled < kMaxInt8 ? scaled : kMaxInt8;
  return static_cast<int32_t>(std::nearbyint(limited > -kMaxInt8 ? limited : -kMaxInt8));
}

// Whole tiles have a loop of constant length.
INTONE_INLINE int32_t round_to_int8(const float* x, int64_t count, float factor, const Tiles& to) {
  constexpr int64_t kTileInputs = 4 * kTileWords;
  auto* y = reinterpret_cast<Int8Part*>(to.first);
  int32_t sum = 0;
  for (; count >= kTileInputs; count -= kTileInputs, x += kTileInputs, y += 4 * to.stride) {
    for (int64_t i = 0; i < kTileInputs; ++i) {
      const int32_t value = rounded(x[i], factor);
      y[i] = static_cast<int8_t>(value);
      sum += value;
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    const int32_t value = rounded(x[i], factor);
    y[i] = static_cast<int8_t>(value);
    sum += value;
  }
  return sum;
}

INTONE_INLINE int32_t round_to_wide_int8(const float* x, int64_t count, float factor, const Tiles& to) {
  constexpr int64_t kTileInputs = 2 * kTileWords;
  uint32_t* y = to.first;
  int32_t sum = 0;
  for (int64_t begin = 0; begin < count; begin += kTileInputs, y += to.stride) {
    int32_t values[kTileInputs] = {};
    if (count - begin >= kTileInputs) {
      for (int64_t i = 0; i < kTileInputs; ++i) values[i] = rounded(x[begin + i], factor);
    } else {
      for (int64_t i = 0; i < count - begin; ++i) values[i] = rounded(x[begin + i], factor);
    }
    for (int64_t i = 0; i < kTileInputs; ++i) sum += values[i];
    const int64_t words = std::min<int64_t>(kTileWords, (count - begin + 3) / 4 * 2);
    for (int64_t word = 0; word < words; ++word) {
      const int32_t* pair = values + word / 2 * 4 + word % 2;
      y[word] = (static_cast<uint32_t>(pair[0]) & 0xffffu) | static_cast<uint32_t>(pair[2]) << 16;
    }
  }
  return sum;
}

// The bits of a float rounded to bfloat16, in the upper half.
INTONE_INLINE uint32_t bf16_bits(const float* x) {
  uint32_t bits;
  std::memcpy(&bits, x, sizeof(bits));
  return bits + 0x7fffu + (bits >> 16 & 1u);
}

INTONE_INLINE void round_to_bf16(const float* x, int64_t count, const Tiles& to) {
  constexpr int64_t kTileInputs = 2 * kTileWords;
  auto* y = reinterpret_cast<Bf16Part*>(to.first);
  for (int64_t begin = 0; begin < count; begin += kTileInputs, y += 2 * to.stride) {
    const int64_t here = std::min(kTileInputs, count - begin);
    for (int64_t i = 0; i < here; ++i) y[i] = static_cast<uint16_t>(bf16_bits(x + begin + i) >> 16);
  }
}

INTONE_INLINE void round_to_wide_bf16(const float* x, int64_t count, const Tiles& to) {
  uint32_t* y = to.first;
  for (int64_t begin = 0; begin < count; begin += kTileWords, y += to.stride) {
    const int64_t here = std::min<int64_t>(kTileWords, count - begin);
    for (int64_t i = 0; i < here; ++i) y[i] = bf16_bits(x + begin + i) & 0xffff0000u;
  }
}

INTONE_INLINE void store(const float* sums, const float* bias, int64_t count, float* y) {
  for (int64_t j = 0; j < count; ++j) y[j] = sums[j] + bias[j];
}

INTONE_INLINE void accumulate(const float* sums, const float* bias, int64_t count, float* y) {
  for (int64_t j = 0; j < count; ++j) y[j] += sums[j] + bias[j];
}

// The tanh form, x · (1 + tanh(u)) / 2, written as x / (1 + exp(-2u)).
INTONE_INLINE void gelu(const float* sums, const float* bias, int64_t count, float* y) {
  constexpr float kTwiceRoot2OverPi = 1.5957691216f;
  for (int64_t j = 0; j < count; ++j) {
    const float x = sums[j] + bias[j];
    y[j] = x / (1.0f + exponential(-kTwiceRoot2OverPi * (x + 0.044715f * x * x * x)));
  }
}

INTONE_INLINE void swiglu(const float* sums, int64_t count, float* y) {
  float gated[kHalfBlock];
  for (int64_t j = 0; j < kHalfBlock; ++j) gated[j] = sums[j] / (1.0f + exponential(-sums[j])) * sums[kHalfBlock + j];
  std::copy_n(gated, count, y);
}

// Σ (x - mean)².
INTONE_INLINE float sum_of_squares(const float* x, int64_t width, float mean) {
  Lanes squares = {}, lanes;
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    lanes -= mean;
    squares += lanes * lanes;
  }
  float sum = sum_of(squares);
  for (; i < width; ++i) sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

INTONE_INLINE void rms_norm(const float* x, const float* gain, float eps, int64_t width, float* y) {
  const float scale = 1.0f / std::sqrt(sum_of_squares(x, width, 0.0f) / static_cast<float>(width) + eps);
  for (int64_t d = 0; d < width; ++d) y[d] = x[d] * scale * gain[d];
}

INTONE_INLINE void layer_norm(const float* x, const float* gain, const float* shift, float eps, int64_t width,
                              float* y) {
  Lanes sums = {}, lanes;
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    sums += lanes;
  }
  float mean = sum_of(sums);
  for (; i < width; ++i) mean += x[i];
  mean /= static_cast<float>(width);
  const float scale = 1.0f / std::sqrt(sum_of_squares(x, width, mean) / static_cast<float>(width) + eps);
  for (int64_t d = 0; d < width; ++d) y[d] = (x[d] - mean) * scale * gain[d] + shift[d];
}

INTONE_INLINE void rotate_heads(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (int64_t d = 0; d < half; ++d) {
      const float low = x[d], high = x[half + d];
      x[d] = low * cos[d] + high * sin[d];
      x[half + d] = high * cos[half + d] + low * sin[half + d];
    }
  }
}

// Rows times `Groups` times kLanes columns from `column` on: enough sums at a time to hide the latency of one.
template <int Rows, int Groups>
INTONE_INLINE void multiply_columns(const Product& p, int64_t column) {
  Lanes sums[Rows][Groups], right;
  for (int row = 0; row < Rows; ++row) {
    for (int g = 0; g < Groups; ++g) load_lanes(p.c + row * p.c_stride + column + g * kLanes, sums[row][g]);
  }
  for (int64_t step = 0; step < p.steps; ++step) {
    for (int g = 0; g < Groups; ++g) {
      load_lanes(p.b + step * p.b_stride + column + g * kLanes, right);
      for (int row = 0; row < Rows; ++row) sums[row][g] += p.a[row * p.a_stride + step] * right;
    }
  }
  for (int row = 0; row < Rows; ++row) {
    for (int g = 0; g < Groups; ++g) store_lanes(sums[row][g], p.c + row * p.c_stride + column + g * kLanes);
  }
}

template <int Rows>
INTONE_INLINE void multiply_rows(const Product& p) {
  constexpr int kGroups = Rows == 1 ? 4 : Rows == 2 ? 2 : 1;
  int64_t column = 0;
  for (; column + kGroups * kLanes <= p.columns; column += kGroups * kLanes) multiply_columns<Rows, kGroups>(p, column);
  for (; column + kLanes <= p.columns; column += kLanes) multiply_columns<Rows, 1>(p, column);
  for (; column < p.columns; ++column) {
    for (int row = 0; row < Rows; ++row) {
      float sum = p.c[row * p.c_stride + column];
      for (int64_t step = 0; step < p.steps; ++step) {
        sum += p.a[row * p.a_stride + step] * p.b[step * p.b_stride + column];
      }
      p.c[row * p.c_stride + column] = sum;
    }
  }
}

INTONE_INLINE void multiply(const Product& product) {
  static_assert(Product::kMaxRows == 4);
  switch (product.rows) {
    case 1:
      return multiply_rows<1>(product);
    case 2:
      return multiply_rows<2>(product);
    case 3:
      return multiply_rows<3>(product);
    default:
      return multiply_rows<4>(product);
  }
}

INTONE_INLINE float exp_scores(float* scores, int64_t count, float scale) {
  Lanes lanes, maxima = {}, sums = {};
  maxima -= INFINITY;
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    lanes *= scale;
    store_lanes(lanes, scores + p);
    maxima = lanes > maxima ? lanes : maxima;
  }
  float each[kLanes], maximum = -INFINITY;
  store_lanes(maxima, each);
  for (int64_t i = 0; i < kLanes; ++i) maximum = each[i] > maximum ? each[i] : maximum;
  for (int64_t p = 0; p < count; ++p) scores[p] = exponential(scores[p] - maximum);
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    sums += lanes;
  }
  return sum_of(sums);
}

// One of the functions above, which are inlined, compiled for each instruction set.
template <auto Function>
struct On;

template <typename Result, typename... Arguments, Result (*Function)(Arguments...)>
struct On<Function> {
  static Result portable(Arguments... arguments) { return Function(arguments...); }
#if defined(__x86_64__)
  INTONE_AVX2 static Result avx2(Arguments... arguments) { return Function(arguments...); }
  INTONE_AVX512 static Result avx512(Arguments... arguments) { return Function(arguments...); }
#endif
};

#define INTONE_KERNELS(ISA)     \
  {On<max_magnitude>::ISA,      \
   On<round_to_int8>::ISA,      \
   On<round_to_wide_int8>::ISA, \
   On<round_to_bf16>::ISA,      \
   On<round_to_wide_bf16>::ISA, \
   On<store>::ISA,              \
   On<accumulate>::ISA,         \
   On<gelu>::ISA,               \
   On<swiglu>::ISA,             \
   On<rms_norm>::ISA,           \
   On<layer_norm>::ISA,         \
   On<rotate_heads>::ISA,       \
   On<multiply>::ISA,           \
   On<exp_scores>::ISA}

constexpr VectorKernels kPortableKernels INTONE_KERNELS(portable);
#if defined(__x86_64__)
constexpr VectorKernels kAvx2Kernels INTONE_KERNELS(avx2), kAvx512Kernels INTONE_KERNELS(avx512);
#endif

}  // namespace

const VectorKernels& vector_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return kAvx512Kernels;
  if (isa == Isa::kAvx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace intone
