#include "cpu/conv_kernels.h"

#include <algorithm>

// The warning is about passing wide vectors by value; every function that does is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

#include "cpu/attributes.h"
#include "cpu/sin_squared.h"
#include "cpu/vector.h"

namespace intone {
namespace {

// The activation of W channels, with its parameters in registers.
template <int W>
struct SnakeActivation {
  Vector<W> alpha = {}, inverse = {}, scale = {}, shift = {};
  bool has_snake, has_scale;

  INTONE_INLINE SnakeActivation(const SnakeParameters& snake, int64_t at)
      : has_snake(snake.alpha != nullptr), has_scale(snake.scale != nullptr) {
    if (has_snake) {
      alpha = load<W>(snake.alpha + at);
      inverse = load<W>(snake.inverse + at);
    }
    if (has_scale) {
      scale = load<W>(snake.scale + at);
      shift = load<W>(snake.shift + at);
    }
  }
  INTONE_INLINE Vector<W> operator()(const Vector<W>& value) const {
    const Vector<W> x = has_scale ? shift + value * scale : value;
    return has_snake ? x + sin_squared(alpha * x) * inverse : x;
  }
};

// The sums of 2 · W columns for R rows; `x` and `panel` point at the first. With `resume` they continue from `sums`.
// Three rows share a pointer, so that addresses take few registers.
template <int W, int R>
INTONE_INLINE void sum_rows(const float* x, int64_t stride, int64_t depth, const float* panel, float* sums,
                            bool resume) {
  using V = Vector<W>;
  constexpr int kPointers = (R + 2) / 3;
  const float* from[kPointers];
  V low[R], high[R];
  for (int p = 0; p < kPointers; ++p) from[p] = x + 3 * p * stride;
  for (int r = 0; r < R; ++r) {
    low[r] = resume ? load<W>(sums + r * kConvPanel) : V{};
    high[r] = resume ? load<W>(sums + r * kConvPanel + W) : V{};
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

// Rows that fill the registers: two sums each, and one or two vectors of the matrix.
template <int W>
constexpr int kRegisterRows = W == 16 ? 12 : 6;
static_assert(kConvRows % kRegisterRows<16> == 0 && kConvRows % kRegisterRows<8> == 0);

template <int W, int R = kRegisterRows<W>>
INTONE_INLINE void sum_up_to(int64_t rows, const float* x, int64_t stride, int64_t depth, const float* panel,
                             float* sums, bool resume) {
  if (rows == R) {
    for (int64_t column = 0; column < kConvPanel; column += 2 * W) {
      sum_rows<W, R>(x, stride, depth, panel + column, sums + column, resume);
    }
  } else if constexpr (R > 1) {
    sum_up_to<W, R - 1>(rows, x, stride, depth, panel, sums, resume);
  }
}

template <int W>
INTONE_INLINE void finish(const PanelJob& job, const float* sums, const SumsRow* targets, int64_t rows) {
  using V = Vector<W>;
  for (int64_t at = 0; at < job.columns; at += W) {
    const int64_t half = at / kConvLanes, inner = at % kConvLanes;
    const V bias = load<W>(job.bias + at);
    const SnakeActivation<W> activation(job.snake[half], inner);
    for (int64_t r = 0; r < rows; ++r) {
      V value = load<W>(sums + r * kConvPanel + at) + bias;
      float* plain = targets[r].plain;
      if (plain) {
        plain += job.plain_at[half] + inner;
        if (job.accumulate) value += load<W>(plain);
        store<W>(plain, value);
      }
      if (targets[r].activated) store<W>(targets[r].activated + job.activated_at[half] + inner, activation(value));
    }
  }
}

// Depth of a slice of a panel: a deep panel does not stay in L2 for all rows, a slice does.
constexpr int64_t kSlice = 2048;

template <int W>
INTONE_INLINE void panel(const PanelJob& job) {
  const int64_t chunk = job.depth > kSlice ? job.rows : kRegisterRows<W>;  // rows until their sums are stored
  for (int64_t begin = 0; begin < job.rows; begin += chunk) {
    const int64_t end = std::min(begin + chunk, job.rows);
    for (int64_t k = 0; k < job.depth; k += kSlice) {
      for (int64_t row = begin; row < end; row += kRegisterRows<W>) {
        sum_up_to<W>(std::min<int64_t>(kRegisterRows<W>, end - row), job.x + row * job.stride + k, job.stride,
                     std::min(kSlice, job.depth - k), job.panel + k * kConvPanel, job.sums + (row - begin) * kConvPanel,
                     k > 0);
      }
    }
    finish<W>(job, job.sums, job.targets + begin, end - begin);
  }
}

template <int W>
INTONE_INLINE void depthwise(const Depthwise& layer, const float* x, int64_t stride, float* y, int64_t y_stride,
                             int64_t rows) {
  using V = Vector<W>;
  const int64_t step = layer.dilation * stride;
  for (int64_t c = 0; c < layer.channels; c += W) {
    V taps[kConvTaps];
    for (int k = 0; k < kConvTaps; ++k) taps[k] = load<W>(layer.taps + k * layer.channels + c);
    const V bias = load<W>(layer.bias + c);
    const SnakeActivation<W> activation(layer.snake, c);
    for (int64_t r = 0; r < rows; ++r) {
      V sum = bias;
      for (int k = 0; k < kConvTaps; ++k) sum += load<W>(x + r * stride + k * step + c) * taps[k];
      store<W>(y + r * y_stride + c, activation(sum));
    }
  }
}

template <int W>
INTONE_INLINE void to_one(const float* x, int64_t stride, int64_t window, int64_t channels, const float* weight,
                          float bias, float* y, int64_t rows) {
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

// The kernels of one instruction set: the same code, compiled for it. A macro, because target attributes cannot depend
// on a template argument.
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
  if (isa >= Isa::kAvx512) return k_avx512;
  if (isa == Isa::kAvx2) return k_avx2;
#endif
  return k_portable;
}

}  // namespace intone
