// The inner loops of centred convolutions over rows of channels, for each instruction set, by Toom-Cook (toom_cook.h).
//
// A kernel of K taps is cut into blocks of R; the windows of all blocks are transformed once, since M = R where there
// are several blocks. Products with a dilation d are d convolutions without one, over every d-th row: their phases.
//
//   rows          0 1 2 3 4 5 6 7 8 9 …        d = 2, M = R = 2, K = 4 (2 blocks)
//   phase 0       x . x . x . x . x .          tile 0: rows 0 2 4, tile 1: rows 4 6 8
//   phase 1       . x . x . x . x . x          tile 2: rows 1 3 5, tile 3: rows 5 7 9
//   products      0 2 | 4 6 of phase 0         products 0 and 2: block 0 takes tile 0, block 1 takes tile 1
//
// Each of the N = M + R - 1 planes holds one transformed row for each tile: a block row of the matrix is contiguous.
// Batch-invariant, bit for bit: every sum is taken in one order, whichever rows are computed together.

#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/isa.h"

namespace intone {

constexpr int64_t kMaxSources = 4;      // signals that a layer may sum
constexpr int64_t kSnakeReach = 5;      // rows on either side that the anti-aliased activation depends on
constexpr int64_t kMaxVectors = 3;      // of columns that are summed at a time
constexpr int64_t kMaxPoints = 7;       // planes
constexpr int64_t kMaxTileOutputs = 4;  // products of a tile

// M outputs and R taps of a block.
struct TileShape {
  int64_t outputs, taps;
  int64_t points() const { return outputs + taps - 1; }
  int64_t blocks(int64_t kernel) const { return (kernel + taps - 1) / taps; }
};

// The shape that needs the fewest multiplications.
inline TileShape tile_shape(int64_t kernel) { return {kernel == 1 ? 1 : 4, std::min<int64_t>(kernel, 4)}; }

// Products of `count` in a row that are of a phase.
inline int64_t phase_products(int64_t count, int64_t dilation, int64_t phase) {
  return (count - phase + dilation - 1) / dilation;
}

// Where a tile's products are stored.
struct OutputTile {
  int64_t product;  // the first one's position; the others follow `dilation` apart
  int32_t row;      // of the planes
  int32_t part;     // of `FinishJob::parts`
};

// Rows to activate and to transform, of some channels.
struct FillJob {
  const float* sources[kMaxSources];  // rows from position `start` on, `width` apart; summed
  int64_t source_count, width;
  int64_t start, end, total;     // positions: [start, end) are given, [0, total) exist
  float gain;                    // of the sum
  const float *alpha, *inverse;  // [width], 1 / (β + 1e-9); null without activation
  int64_t first, count;          // position of the first product's window, and products
  int64_t known;                 // rows from `first` on that are used; the others only fill the last tiles
  int64_t kernel, dilation;
  TileShape shape;
  float* planes;  // [points, plane_rows, width], from the first tile's row on
  int64_t plane_stride;
  float* scratch;  // `fill_scratch` floats
};

// Rows of windows of `count` products, with those that fill the last tiles.
inline int64_t window_rows(int64_t count, int64_t kernel, int64_t dilation, const TileShape& shape) {
  const int64_t tiles = (phase_products(count, dilation, 0) + shape.outputs - 1) / shape.outputs;
  return ((tiles + shape.blocks(kernel) - 2) * shape.outputs + shape.points() - 1) * dilation +
         std::min(count, dilation);
}

constexpr int64_t kActivated = 128;  // rows that are activated at a time: their buffers stay in L1
constexpr int64_t kMaxLanes = 16;
inline int64_t fill_scratch(int64_t rows) { return (rows + 3 * kActivated + 12 * kSnakeReach) * kMaxLanes; }

// Rows of one plane times some columns of its matrix.
struct MultiplyJob {
  const float* plane;       // [plane_rows, width]
  const OutputTile* tiles;  // their rows, each of `depth` floats from there on
  int64_t count, width, depth;
  const float* panel;  // [depth, vectors · lanes]
  int64_t vectors;
  float* sums;  // [count, vectors · lanes]
};

// A stream's rows that are stored.
struct OutputPart {
  float* rows;            // from position `start` on
  const float* residual;  // added, from position `residual_start` on; may be null
  int64_t start, residual_start;
  int64_t begin, end;  // positions that are stored
  int64_t last;        // product behind the last one
};

// Sums of all points of some tiles and columns: their products, plus bias and residual.
struct FinishJob {
  const float* sums;  // [points, count, vectors · lanes]
  const OutputTile* tiles;
  const OutputPart* parts;
  int64_t count, vectors, dilation;
  int64_t up, shift;       // product q makes row up · q - shift
  int64_t width, column;   // floats between rows of output, and the first column
  int64_t stored_vectors;  // of `vectors`
  const float* bias;
  TileShape shape;
};

struct TiledConvKernels {
  int64_t lanes;                                      // of a vector
  void (*fill)(const FillJob& job, int64_t channel);  // `lanes` channels
  void (*multiply)(const MultiplyJob& job);
  void (*finish)(const FinishJob& job);
};

const TiledConvKernels& tiled_conv_kernels(Isa isa);

}  // namespace intone
