#include "cpu/conv_kernels.h"

#include <algorithm>

// Vectors wider than the compiler's default never cross a call: all that has them is inlined into the functions below.
#pragma GCC diagnostic ignored "-Wpsabi"

#include "cpu/sin_squared.h"

#define INLINE __attribute__((always_inline)) inline

namespace intone {
namespace {

// `W` floats that need not be aligned: one register where the instruction set has such wide ones.
template <int W>
struct VectorOf {
  typedef float Type __attribute__((vector_size(4 * W), aligned(4), may_alias));
};
template <int W>
using Vector = typename VectorOf<W>::Type;

template <int W>
INLINE Vector<W> load(const float* from) {
  return *reinterpret_cast<const Vector<W>*>(from);
}

template <int W>
INLINE void store(float* to, Vector<W> value) {
  *reinterpret_cast<Vector<W>*>(to) = value;
}

// The activation of W channels, its parameters in registers.
template <int W>
struct Bender {
  Vector<W> alpha = {}, inverse = {}, scale = {}, shift = {};
  bool bends, scales;

  INLINE Bender(const Bend& bend, int64_t at) : bends(bend.alpha != nullptr), scales(bend.scale != nullptr) {
    if (bends) {
      alpha = load<W>(bend.alpha + at);
      inverse = load<W>(bend.inverse + at);
    }
    if (scales) {
      scale = load<W>(bend.scale + at);
      shift = load<W>(bend.shift + at);
    }
  }
  INLINE Vector<W> operator()(const Vector<W>& value) const {
    const Vector<W> x = scales ? shift + value * scale : value;
    return bends ? x + sin_squared(alpha * x) * inverse : x;
  }
};

// The sums of 2 · W columns for R rows; `x` and `panel` at the first. With `more` they go on from `sums`. Three rows
// share a pointer: addresses then take few registers.
template <int W, int R>
INLINE void sum_rows(const float* x, int64_t stride, int64_t depth, const float* panel, float* sums, bool more) {
  using V = Vector<W>;
  constexpr int kPointers = (R + 2) / 3;
  const float* from[kPointers];
  V low[R], high[R];
  for (int p = 0; p < kPointers; ++p) from[p] = x + 3 * p * stride;
  for (int r = 0; r < R; ++r) {
    low[r] = more ? load<W>(sums + r * kConvPanel) : V{};
    high[r] = more ? load<W>(sums + r * kConvPanel + W) : V{};
  }
  for (int64_t k = 0; k < depth; ++k, panel += kConvPanel) {
    const V left = load<W>(panel), right = load<W>(panel + W);
    for (int r = 0; r < R; ++r) {
      const float value = from[r / 3][(r % 3) * stride];
      low[r] += left * value;
      high[r] += right * value;
    }
    for (int p = 0; p < kPointers; ++p) ++from[p];
  }
  for (int r = 0; r < R; ++r) {
    store<W>(sums + r * kConvPanel, low[r]);
    store<W>(sums + r * kConvPanel + W, high[r]);
  }
}

// Rows that fill the registers: two sums each, and room for a vector or two of the matrix.
template <int W>
constexpr int kTogether = W == 16 ? 12 : 6;

template <int W, int R = kTogether<W>>
INLINE void sum_up_to(int64_t rows, const float* x, int64_t stride, int64_t depth, const float* panel, float* sums,
                      bool more) {
  if (rows == R) {
    for (int64_t column = 0; column < kConvPanel; column += 2 * W) {
      sum_rows<W, R>(x, stride, depth, panel + column, sums + column, more);
    }
  } else if constexpr (R > 1) {
    sum_up_to<W, R - 1>(rows, x, stride, depth, panel, sums, more);
  }
}

template <int W>
INLINE void finish(const PanelJob& job, const float* sums, const SumsRow* targets, int64_t rows) {
  using V = Vector<W>;
  for (int64_t at = 0; at < job.columns; at += W) {
    const int64_t half = at / kConvLanes, inner = at % kConvLanes;
    const V bias = load<W>(job.bias + at);
    const Bender<W> bend(job.bend[half], inner);
    for (int64_t r = 0; r < rows; ++r) {
      V value = load<W>(sums + r * kConvPanel + at) + bias;
      float* plain = targets[r].plain;
      if (plain) {
        plain += job.plain_at[half] + inner;
        if (job.add) value += load<W>(plain);
        store<W>(plain, value);
      }
      if (targets[r].bent) store<W>(targets[r].bent + job.bent_at[half] + inner, bend(value));
    }
  }
}

// A deep panel does not stay in the second cache for all rows; a slice of it does.
constexpr int64_t kSlice = 2048;

template <int W>
INLINE void panel(const PanelJob& job) {
  const int64_t chunk = job.depth > kSlice ? job.rows : kTogether<W>;  // rows until their sums are finished
  for (int64_t begin = 0; begin < job.rows; begin += chunk) {
    const int64_t end = std::min(begin + chunk, job.rows);
    for (int64_t k = 0; k < job.depth; k += kSlice) {
      for (int64_t row = begin; row < end; row += kTogether<W>) {
        sum_up_to<W>(std::min<int64_t>(kTogether<W>, end - row), job.x + row * job.stride + k, job.stride,
                     std::min(kSlice, job.depth - k), job.panel + k * kConvPanel, job.sums + (row - begin) * kConvPanel,
                     k > 0);
      }
    }
    finish<W>(job, job.sums, job.targets + begin, end - begin);
  }
}

template <int W>
INLINE void depthwise(const Depthwise& layer, const float* x, int64_t stride, float* y, int64_t y_stride,
                      int64_t rows) {
  using V = Vector<W>;
  const int64_t step = layer.dilation * stride;
  for (int64_t c = 0; c < layer.channels; c += W) {
    V taps[kConvTaps];
    for (int k = 0; k < kConvTaps; ++k) taps[k] = load<W>(layer.taps + k * layer.channels + c);
    const V bias = load<W>(layer.bias + c);
    const Bender<W> bend(layer.then, c);
    for (int64_t r = 0; r < rows; ++r) {
      V sum = bias;
      for (int k = 0; k < kConvTaps; ++k) sum += load<W>(x + r * stride + k * step + c) * taps[k];
      store<W>(y + r * y_stride + c, bend(sum));
    }
  }
}

template <int W>
INLINE void to_one(const float* x, int64_t stride, int64_t window, int64_t channels, const float* weight, float bias,
                   float* y, int64_t rows) {
  using V = Vector<W>;
  for (int64_t r = 0; r < rows; ++r) {
    V sums = {};
    for (int64_t k = 0; k < window; ++k) {
      for (int64_t c = 0; c < channels; c += W) {
        sums += load<W>(x + (r + k) * stride + c) * load<W>(weight + k * channels + c);
      }
    }
    float sum = 0.0f;
    for (int lane = 0; lane < W; ++lane) sum += sums[lane];
    y[r] = sum + bias;
  }
}

// The functions of one instruction set: the same code, compiled for it.
#define CONV_KERNELS(NAME, TARGET, W)                                                                              \
  TARGET void panel_##NAME(const PanelJob& job) { panel<W>(job); }                                                 \
  TARGET void depthwise_##NAME(const Depthwise& layer, const float* x, int64_t stride, float* y, int64_t y_stride, \
                               int64_t rows) {                                                                     \
    depthwise<W>(layer, x, stride, y, y_stride, rows);                                                             \
  }                                                                                                                \
  TARGET void to_one_##NAME(const float* x, int64_t stride, int64_t window, int64_t channels, const float* weight, \
                            float bias, float* y, int64_t rows) {                                                  \
    to_one<W>(x, stride, window, channels, weight, bias, y, rows);                                                 \
  }                                                                                                                \
  constexpr ConvKernels k_##NAME{panel_##NAME, depthwise_##NAME, to_one_##NAME};

CONV_KERNELS(portable, , 4)
#if defined(__x86_64__)
CONV_KERNELS(avx2, INTONE_AVX2, 8)
CONV_KERNELS(avx512, INTONE_AVX512, 16)
#endif

}  // namespace

const ConvKernels& conv_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return k_avx512;
  if (isa == Isa::kAvx2) return k_avx2;
#endif
  return k_portable;
}

}  // namespace intone
