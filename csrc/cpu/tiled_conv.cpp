#include "cpu/tiled_conv.h"

// The warning is about passing wide vectors by value; every function that does is inlined.
#pragma GCC diagnostic ignored "-Wpsabi"

#include "anti_alias.h"
#include "cpu/attributes.h"
#include "cpu/sin_squared.h"
#include "cpu/toom_cook.h"
#include "cpu/vector.h"

namespace intone {
namespace {

// The anti-aliased activation of one vector of channels: double the rate, x + sin²(αx) / (β + 1e-9), halve the rate.
// The doubled signal is kept as its even and its odd samples:
//
//   x     x0    x1    x2    x3         3 samples on either side of a position, for both its samples
//   s     e0 o0 e1 o1 e2 o2 e3 o3      and 3 positions on either side of an output
//   y     y0    y1    y2    y3
//
// x is extended beyond both ends of the stream by repeating its first and last sample; s likewise, separately.
constexpr int64_t kSide = 3;

// Rows from position `first` on; those outside are the first and the last one.
template <int W>
INTONE_INLINE void copy_rows(const FillJob& job, int64_t channel, int64_t first, int64_t rows, float* to) {
  for (int64_t i = 0; i < rows; ++i, to += W) {
    const int64_t at = (std::clamp(first + i, job.start, job.end - 1) - job.start) * job.width + channel;
    Vector<W> sum = load<W>(job.sources[0] + at);
    for (int64_t s = 1; s < job.source_count; ++s) sum += load<W>(job.sources[s] + at);
    store<W>(to, sum * job.gain);
  }
}

// `rows` activated rows from position `first` on, all of them inside the stream.
template <int W>
INTONE_INLINE void activate(const FillJob& job, int64_t channel, int64_t first, int64_t rows, float* y, float* buffer) {
  using V = Vector<W>;
  float *even = buffer + (kActivated + 4 * kSide) * W, *odd = even + (kActivated + 2 * kSide) * W;
  const int64_t positions = rows + 2 * kSide, from = std::max<int64_t>(0, kSide - first),
                to = std::min(positions, job.total - first + kSide);  // those inside the stream
  const int64_t start = first - 2 * kSide;
  const bool as_given =
      job.source_count == 1 && job.gain == 1 && start >= job.start && start + rows + 4 * kSide <= job.end;
  if (!as_given) copy_rows<W>(job, channel, start, rows + 4 * kSide, buffer);
  const float* x = as_given ? job.sources[0] + (start - job.start) * job.width + channel : buffer;
  const int64_t step = as_given ? job.width : W;  // floats between rows of x
  const V alpha = load<W>(job.alpha + channel), inverse = load<W>(job.inverse + channel);
  for (int64_t i = from; i < to; ++i) {
    const float* at = x + (i + kSide) * step;
    const V a = load<W>(at - 2 * step), b = load<W>(at - step), c = load<W>(at), d = load<W>(at + step),
            e = load<W>(at + 2 * step);
    const V left = 2 * (kTap0 * load<W>(at - 3 * step) + kTap2 * a + kTap4 * b + kTap5 * c + kTap3 * d + kTap1 * e);
    const V right = 2 * (kTap0 * load<W>(at + 3 * step) + kTap2 * e + kTap4 * d + kTap5 * c + kTap3 * b + kTap1 * a);
    store<W>(even + i * W, left + sin_squared(alpha * left) * inverse);
    store<W>(odd + i * W, right + sin_squared(alpha * right) * inverse);
  }
  for (int64_t i = 0; i < from; ++i) {
    store<W>(even + i * W, load<W>(even + from * W));
    store<W>(odd + i * W, load<W>(even + from * W));
  }
  for (int64_t i = to; i < positions; ++i) {
    store<W>(even + i * W, load<W>(odd + (to - 1) * W));
    store<W>(odd + i * W, load<W>(odd + (to - 1) * W));
  }
  for (int64_t i = 0; i < rows; ++i) {
    const float *e = even + (i + kSide) * W, *o = odd + (i + kSide) * W;
    store<W>(y + i * W,
             kTap0 * (load<W>(e + 3 * W) + load<W>(o - 3 * W)) + kTap1 * (load<W>(e - 2 * W) + load<W>(o + 2 * W)) +
                 kTap2 * (load<W>(e + 2 * W) + load<W>(o - 2 * W)) + kTap3 * (load<W>(e - W) + load<W>(o + W)) +
                 kTap4 * (load<W>(e + W) + load<W>(o - W)) + kTap5 * (load<W>(e) + load<W>(o)));
  }
}

// Windows [from, from + N) of a phase, `step` floats apart → one row of each plane.
template <int W, int M, int R>
INTONE_INLINE void transform_input(const float* from, int64_t step, float* to, int64_t plane_stride) {
  using V = Vector<W>;
  constexpr int kPoints = M + R - 1;
  V x[kPoints];
#pragma GCC unroll 16
  for (int k = 0; k < kPoints; ++k) x[k] = load<W>(from + k * step);
#pragma GCC unroll 16
  for (int p = 0; p < kPoints; ++p) {
    V sum = {};
#pragma GCC unroll 16
    for (int k = 0; k < kPoints; ++k) {
      constexpr auto& kInput = kToomCook<M, R>.input;
      if (kInput[p][k] != 0) sum += x[k] * static_cast<float>(kInput[p][k]);
    }
    store<W>(to + p * plane_stride, sum);
  }
}

template <int W, int M, int R>
INTONE_INLINE void transform_inputs(const FillJob& job, int64_t channel, const float* rows) {
  float* to = job.planes + channel;
  for (int64_t phase = 0; phase < std::min(job.dilation, job.count); ++phase) {
    const int64_t products = phase_products(job.count, job.dilation, phase),
                  tiles = (products + M - 1) / M + job.shape.blocks(job.kernel) - 1;
    for (int64_t i = 0; i < tiles; ++i, to += job.width) {
      transform_input<W, M, R>(rows + (phase + i * M * job.dilation) * W, job.dilation * W, to, job.plane_stride);
    }
  }
}

template <int W>
INTONE_INLINE void fill(const FillJob& job, int64_t channel) {
  const int64_t rows = window_rows(job.count, job.kernel, job.dilation, job.shape);
  float *y = job.scratch, *buffer = y + rows * W;
  // Rows outside the stream, and those that only fill tiles, are zero.
  const int64_t known = std::min(rows, job.known), begin = std::clamp<int64_t>(-job.first, 0, known),
                end = std::clamp(job.total - job.first, begin, known);
  std::fill(y, y + begin * W, 0.0f);
  std::fill(y + end * W, y + rows * W, 0.0f);
  if (job.alpha == nullptr) {
    copy_rows<W>(job, channel, job.first + begin, end - begin, y + begin * W);
  } else {
    for (int64_t at = begin; at < end; at += kActivated) {
      activate<W>(job, channel, job.first + at, std::min(kActivated, end - at), y + at * W, buffer);
    }
  }
  switch (job.shape.taps) {
    case 1:
      return transform_inputs<W, 1, 1>(job, channel, y);
    case 2:
      return transform_inputs<W, 4, 2>(job, channel, y);
    case 3:
      return transform_inputs<W, 4, 3>(job, channel, y);
    default:
      return transform_inputs<W, 4, 4>(job, channel, y);
  }
}

// Depth of a slice of a panel that stays in L1.
template <int W>
constexpr int64_t kSlice = 6144 / (kMaxVectors * W);

// Sums of V vectors of columns for `R` rows; with `resume` they continue from `sums`.
template <int W, int V, int R>
INTONE_INLINE void sum_rows(const float* const* from, int64_t depth, const float* panel, float* sums, bool resume) {
  Vector<W> total[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) total[r][v] = resume ? load<W>(sums + (r * V + v) * W) : Vector<W>{};
  }
  for (int64_t k = 0; k < depth; ++k, panel += V * W) {
    Vector<W> weight[V];
    for (int v = 0; v < V; ++v) weight[v] = load<W>(panel + v * W);
    for (int r = 0; r < R; ++r) {
      const float value = from[r][k];
      for (int v = 0; v < V; ++v) total[r][v] += weight[v] * value;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store<W>(sums + (r * V + v) * W, total[r][v]);
  }
}

template <int W, int V, int R>
INTONE_INLINE void sum_up_to(int64_t rows, const float* const* from, int64_t depth, const float* panel, float* sums,
                             bool resume) {
  if (rows == R) {
    sum_rows<W, V, R>(from, depth, panel, sums, resume);
  } else if constexpr (R > 1) {
    sum_up_to<W, V, R - 1>(rows, from, depth, panel, sums, resume);
  }
}

template <int W, int V, int R>
INTONE_INLINE void multiply_columns(const MultiplyJob& job) {
  for (int64_t k = 0; k < job.depth; k += kSlice<W>) {
    for (int64_t tile = 0; tile < job.count; tile += R) {
      const int64_t rows = std::min<int64_t>(R, job.count - tile);
      const float* from[R];
      for (int64_t r = 0; r < R; ++r) from[r] = job.plane + job.tiles[tile + std::min(r, rows - 1)].row * job.width + k;
      sum_up_to<W, V, R>(rows, from, std::min(kSlice<W>, job.depth - k), job.panel + k * V * W, job.sums + tile * V * W,
                         k > 0);
    }
  }
}

// Rows that fill the registers beside 1 to 3 vectors of the matrix.
template <int W>
INTONE_INLINE void multiply(const MultiplyJob& job) {
  switch (job.vectors) {
    case 1:
      return multiply_columns<W, 1, 8>(job);
    case 2:
      return multiply_columns<W, 2, W == 16 ? 12 : 6>(job);
    default:
      return multiply_columns<W, 3, W == 16 ? 8 : 4>(job);
  }
}

template <int W, int M, int R>
INTONE_INLINE void finish_tiles(const FinishJob& job) {
  using V = Vector<W>;
  constexpr int kPoints = M + R - 1;
  const int64_t columns = job.vectors * W, phase = job.shift;
  for (int64_t i = 0; i < job.count; ++i) {
    const OutputTile& tile = job.tiles[i];
    const OutputPart& part = job.parts[tile.part];
    for (int64_t v = 0; v < job.stored_vectors; ++v) {
      const float* from = job.sums + i * columns + v * W;
      V sums[kPoints], y[M];
#pragma GCC unroll 16
      for (int p = 0; p < kPoints; ++p) sums[p] = load<W>(from + p * job.count * columns);
      const V bias = load<W>(job.bias + v * W);
#pragma GCC unroll 16
      for (int j = 0; j < M; ++j) {
        y[j] = bias;
#pragma GCC unroll 16
        for (int p = 0; p < kPoints; ++p) {
          constexpr auto& kOutput = kToomCook<M, R>.output;
          if (kOutput[j][p] != 0) y[j] += sums[p] * static_cast<float>(kOutput[j][p]);
        }
      }
#pragma GCC unroll 16
      for (int j = 0; j < M; ++j) {
        const int64_t product = tile.product + j * job.dilation, at = job.up * product - phase;
        if (product >= part.last || at < part.begin || at >= part.end) continue;
        const int64_t column = job.column + v * W;
        if (part.residual) y[j] += load<W>(part.residual + (at - part.residual_start) * job.width + column);
        store<W>(part.rows + (at - part.start) * job.width + column, y[j]);
      }
    }
  }
}

template <int W>
INTONE_INLINE void finish(const FinishJob& job) {
  switch (job.shape.taps) {
    case 1:
      return finish_tiles<W, 1, 1>(job);
    case 2:
      return finish_tiles<W, 4, 2>(job);
    case 3:
      return finish_tiles<W, 4, 3>(job);
    default:
      return finish_tiles<W, 4, 4>(job);
  }
}

// The kernels of one instruction set: the same code, compiled for it. A macro, because target attributes cannot depend
// on a template argument.
#define TILED_CONV_KERNELS(NAME, TARGET, W)                                               \
  TARGET void fill_##NAME(const FillJob& job, int64_t channel) { fill<W>(job, channel); } \
  TARGET void multiply_##NAME(const MultiplyJob& job) { multiply<W>(job); }               \
  TARGET void finish_##NAME(const FinishJob& job) { finish<W>(job); }                     \
  constexpr TiledConvKernels k_##NAME{W, fill_##NAME, multiply_##NAME, finish_##NAME};

TILED_CONV_KERNELS(portable, , 4)
#if defined(__x86_64__)
TILED_CONV_KERNELS(avx2, INTONE_AVX2, 8)
TILED_CONV_KERNELS(avx512, INTONE_AVX512, 16)
#endif

}  // namespace

const TiledConvKernels& tiled_conv_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return k_avx512;
  if (isa == Isa::kAvx2) return k_avx2;
#endif
  return k_portable;
}

}  // namespace intone
