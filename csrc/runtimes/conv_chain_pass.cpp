#include "runtimes/conv_chain_pass.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "cpu/team.h"
#include "runtimes/conv_chain_rows.h"

namespace intone {
namespace {

// A tile is the rows that a thread multiplies at a time. Where the matrix fits in a core's cache, tiles are small
// enough to fit too, and threads divide the tiles among them; otherwise tiles are large, and threads divide the
// columns.
constexpr int64_t kCachedFloats = 131072;        // floats of a matrix that fits
constexpr int64_t kMaxTileRows = 96;             // of a small tile, at most
constexpr int64_t kMaxTileFloats = 16384;        // of a small tile, at most
constexpr int64_t kMaxLargeTileFloats = 524288;  // floats of a large tile, at most
constexpr int64_t kPiecesPerThread = 8;          // pieces per thread, so that all finish at about the same time
constexpr int64_t kPieceSamples = 512;           // of output per piece

// Scratch memory of a thread.
struct Tile {
  float *rows, *sums;
  SumsRow* targets;
};

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

int64_t ceil_div(int64_t count, int64_t shares) { return std::max<int64_t>(1, (count + shares - 1) / shares); }

const float* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

const float* offset_or_null(const float* values, int64_t count) { return values ? values + count : nullptr; }

class Pass {
 public:
  Pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams)
      : stages_(stages), kernels_(kernels), streams_(streams), rows_(stages, streams) {}

  void run(std::vector<double>* stage_ms) const;

 private:
  bool fits_cache(const Stage& stage) const { return stage.depth * stage.columns <= kCachedFloats; }
  int64_t tile_rows(size_t s) const;
  void compute(Team& team, size_t s, const Tile& scratch) const;
  void compute_samples(Team& team, size_t s) const;
  void fill(size_t s, int64_t first, int64_t rows, const Tile& scratch) const;
  void fill_windows(const Stage& stage, const float* input, int64_t rows, float* to) const;
  void set_targets(size_t s, size_t stream, int64_t product, int64_t rows, SumsRow* targets) const;
  void multiply(size_t s, int64_t panel, int64_t rows, const Tile& scratch) const;

  const std::vector<Stage>& stages_;
  const ConvKernels& kernels_;
  const std::vector<StreamPart>& streams_;
  const int threads_ = Team::available_threads();
  Rows rows_;
};

int64_t Pass::tile_rows(size_t s) const {
  const int64_t all = rows_.products(s), row_floats = stages_[s].depth + kRowPadding;
  int64_t max_rows = kMaxLargeTileFloats / row_floats;
  if (fits_cache(stages_[s])) {
    max_rows = std::min({kMaxTileFloats / row_floats, kMaxTileRows, ceil_div(all, threads_ * kPiecesPerThread / 2)});
  }
  const int64_t tiles = ceil_div(all, std::max(max_rows / kConvRows, int64_t{1}) * kConvRows);
  return ceil_div(ceil_div(all, tiles), kConvRows) * kConvRows;
}

void Pass::run(std::vector<double>* stage_ms) const {
  int64_t floats = 0, rows = 0;
  for (size_t s = 0; s < stages_.size(); ++s) {
    rows = std::max(rows, tile_rows(s));
    floats = std::max(floats, tile_rows(s) * (stages_[s].depth + kRowPadding));
  }
  const at::Tensor tiles = at::empty({threads_, floats + rows * kConvPanel}, at::kFloat);
  std::vector<SumsRow> targets(threads_ * rows);
  std::vector<std::atomic<int64_t>> ends(stages_.size());
  const int64_t began = now_ns();
  Team::run(threads_, [&](Team& team) {
    float* tile = tiles.mutable_data_ptr<float>() + team.index() * tiles.size(1);
    const Tile scratch{tile, tile + floats, targets.data() + team.index() * rows};
    team.split(rows_.streams(), 1, [&](int64_t first, int64_t last) {
      for (int64_t stream = first; stream < last; ++stream) rows_.begin(stream);
    });
    for (size_t s = 0; s < stages_.size(); ++s) {
      stages_[s].to_one ? compute_samples(team, s) : compute(team, s, scratch);
      int64_t running = 0;  // the first thread to finish sets the time; others may wake late
      ends[s].compare_exchange_strong(running, now_ns());
    }
  });
  for (size_t s = 0; s < stages_.size() && stage_ms; ++s) {
    (*stage_ms)[s] += 1e-6 * static_cast<double>(ends[s] - (s == 0 ? began : ends[s - 1].load()));
  }
  rows_.end();
}

void Pass::compute(Team& team, size_t s, const Tile& scratch) const {
  const int64_t all = rows_.products(s), tile = tile_rows(s), panels = stages_[s].panels.size(0),
                streams = rows_.streams();
  if (fits_cache(stages_[s])) {
    team.split(streams + ceil_div(all, tile), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if (i < streams) {
          rows_.move_tails(s, i);
          continue;
        }
        const int64_t row = (i - streams) * tile, rows = std::min(tile, all - row);
        fill(s, row, rows, scratch);
        for (int64_t panel = 0; panel < panels; ++panel) multiply(s, panel, rows, scratch);
      }
    });
    return;
  }
  for (int64_t row = 0; row < all; row += tile) {
    const int64_t rows = std::min(tile, all - row), tail_moves = row == 0 ? streams : 0;
    bool filled = false;  // each thread that multiplies fills the whole tile for itself
    team.split(tail_moves + panels, ceil_div(panels, threads_ * kPiecesPerThread), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if (i < tail_moves) {
          rows_.move_tails(s, i);
          continue;
        }
        if (!filled) fill(s, row, rows, scratch);
        filled = true;
        multiply(s, i - tail_moves, rows, scratch);
      }
    });
  }
}

// The last stage, if its output is samples.
void Pass::compute_samples(Team& team, size_t s) const {
  const Stage& stage = stages_[s];
  for (size_t stream = 0; stream < rows_.streams(); ++stream) {
    const int64_t all = rows_.place(s, stream).products;
    team.split(1 + ceil_div(all, kPieceSamples), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if (i == 0) {
          rows_.move_tails(s, stream);
          continue;
        }
        const int64_t row = (i - 1) * kPieceSamples, rows = std::min(kPieceSamples, all - row);
        kernels_.to_one(rows_.input(s, stream) + row * stage.input_stride(), stage.input_stride(), stage.window,
                        stage.width, stage.panels.const_data_ptr<float>(), *stage.bias.const_data_ptr<float>(),
                        streams_[stream].output + row, rows);
      }
    });
  }
}

// Fills the tile with rows `first` to `first` + `rows` - 1 of all streams' products, and sets the targets of the
// products.
void Pass::fill(size_t s, int64_t first, int64_t rows, const Tile& scratch) const {
  const Stage& stage = stages_[s];
  const int64_t stride = stage.input_stride(), tile_stride = stage.depth + kRowPadding;
  for (size_t stream = 0; stream < rows_.streams(); ++stream) {
    const Place& place = rows_.place(s, stream);
    const int64_t begin = std::max(first, place.product), end = std::min(first + rows, place.product + place.products);
    if (begin >= end) continue;
    const float* input = rows_.input(s, stream) + (begin - place.product) * stage.stride * stride;
    float* to = scratch.rows + (begin - first) * tile_stride;
    if (stage.taps.defined()) {
      const Depthwise layer{stage.taps.const_data_ptr<float>(),
                            stage.taps_bias.const_data_ptr<float>(),
                            {data_or_null(stage.taps_alpha), data_or_null(stage.taps_inverse)},
                            stage.dilation,
                            stage.width};
      kernels_.depthwise(layer, input, stride, to, tile_stride, end - begin);
    } else {
      fill_windows(stage, input, end - begin, to);
    }
    set_targets(s, stream, begin - place.product, end - begin, scratch.targets + (begin - first));
  }
}

void Pass::fill_windows(const Stage& stage, const float* input, int64_t rows, float* to) const {
  const int64_t stride = stage.input_stride(), used = stage.window * stage.width;
  for (int64_t row = 0; row < rows; ++row, input += stage.stride * stride, to += stage.depth + kRowPadding) {
    for (int64_t k = 0; k < stage.window; ++k) std::copy_n(input + k * stride, stage.width, to + k * stage.width);
    std::fill(to + used, to + stage.depth, 0.0f);
  }
}

// Sets the targets of `rows` products of a stream, from index `product` on.
void Pass::set_targets(size_t s, size_t stream, int64_t product, int64_t rows, SumsRow* targets) const {
  float *plain = rows_.plain(s, stream), *next = rows_.next(s, stream);
  const int64_t columns = stages_[s].columns, step = next ? stages_[s].up * stages_[s + 1].input_stride() : 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = product + row;
    targets[row] = {plain ? plain + at * columns : nullptr, next ? next + at * step : nullptr};
  }
}

void Pass::multiply(size_t s, int64_t panel, int64_t rows, const Tile& scratch) const {
  const Stage& stage = stages_[s];
  const int64_t column = panel * kConvPanel;
  PanelJob job{};
  job.x = scratch.rows;
  job.panel = stage.panels.const_data_ptr<float>() + panel * stage.depth * kConvPanel;
  job.rows = rows;
  job.depth = stage.depth;
  job.stride = stage.depth + kRowPadding;
  job.sums = scratch.sums;
  job.targets = scratch.targets;
  job.bias = stage.bias.const_data_ptr<float>() + column;
  job.columns = std::min(kConvPanel, stage.columns - column);
  job.accumulate = stage.residual;
  const bool last = s + 1 == stages_.size();
  for (int half = 0; half * kConvLanes < job.columns; ++half) {
    const int64_t at = column + half * kConvLanes, channel = at % stage.out_width;
    job.plain_at[half] = at;
    if (last) continue;
    const Stage& next = stages_[s + 1];
    job.activated_at[half] = at / stage.out_width * next.input_stride() + channel;
    job.snake[half] = {
        offset_or_null(data_or_null(next.alpha), channel), offset_or_null(data_or_null(next.inverse), channel),
        offset_or_null(data_or_null(next.scale), channel), offset_or_null(data_or_null(next.shift), channel)};
  }
  kernels_.panel(job);
}

}  // namespace

void run_pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams,
              std::vector<double>* stage_ms) {
  Pass(stages, kernels, streams).run(stage_ms);
}

}  // namespace intone
