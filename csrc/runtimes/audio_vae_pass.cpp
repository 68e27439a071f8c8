#include "runtimes/audio_vae_pass.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "cpu/team.h"
#include "runtimes/audio_vae_rows.h"

namespace intone {
namespace {

// A tile is what rows a thread multiplies at a time. Where the matrix stays in a core's cache, tiles are small enough
// to stay there too, and threads share out the tiles; where not, tiles are large, and threads share out the columns.
constexpr int64_t kResident = 131072;   // floats of a matrix that stays
constexpr int64_t kTileRows = 96;       // of a small tile
constexpr int64_t kTileFloats = 16384;  // of a small tile
constexpr int64_t kLargeTile = 524288;  // floats of another
constexpr int64_t kTogether = 12;       // rows that fill the registers: tiles are multiples of it
constexpr int64_t kSkew = kConvLanes;   // between the rows of a tile; see `Stage::seen_stride`
constexpr int64_t kShares = 8;          // for each thread, so that all end together
constexpr int64_t kSamples = 512;       // of output that a thread takes at a time

// What a thread computes in.
struct Scratch {
  float *rows, *sums;
  SumsRow* targets;
};

int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1); }

int64_t shared_out(int64_t count, int64_t shares) { return std::max<int64_t>(1, (count + shares - 1) / shares); }

const float* or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

const float* from(const float* values, int64_t count) { return values ? values + count : nullptr; }

class Pass {
 public:
  Pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams)
      : stages_(stages), kernels_(kernels), streams_(streams), rows_(stages, streams) {}

  void run(std::vector<double>* stage_ms) const;

 private:
  bool resident(const Stage& stage) const { return stage.depth * stage.columns <= kResident; }
  int64_t tile_rows(size_t s) const;
  void compute(Team& team, size_t s, const Scratch& scratch) const;
  void compute_samples(Team& team, size_t s) const;
  void fill(size_t s, int64_t first, int64_t rows, const Scratch& scratch) const;
  void fill_windows(const Stage& stage, const float* seen, int64_t rows, float* to) const;
  void aim(size_t s, size_t stream, int64_t product, int64_t rows, SumsRow* targets) const;
  void multiply(size_t s, int64_t panel, int64_t rows, const Scratch& scratch) const;

  const std::vector<Stage>& stages_;
  const ConvKernels& kernels_;
  const std::vector<StreamPart>& streams_;
  const int64_t threads_ = std::max(1, at::get_num_threads());
  Rows rows_;
};

int64_t Pass::tile_rows(size_t s) const {
  const int64_t all = rows_.products(s), row_floats = stages_[s].depth + kSkew;
  int64_t most = kLargeTile / row_floats;
  if (resident(stages_[s])) {
    most = std::min({kTileFloats / row_floats, kTileRows, shared_out(all, threads_ * kShares / 2)});
  }
  const int64_t tiles = shared_out(all, std::max(most / kTogether, int64_t{1}) * kTogether);
  return shared_out(shared_out(all, tiles), kTogether) * kTogether;
}

void Pass::run(std::vector<double>* stage_ms) const {
  int64_t floats = 0, rows = 0;
  for (size_t s = 0; s < stages_.size(); ++s) {
    rows = std::max(rows, tile_rows(s));
    floats = std::max(floats, tile_rows(s) * (stages_[s].depth + kSkew));
  }
  const at::Tensor tiles = at::empty({threads_, floats + rows * kConvPanel}, at::kFloat);
  std::vector<SumsRow> targets(threads_ * rows);
  std::atomic<int64_t> seats{0};
  std::vector<std::atomic<int64_t>> ends(stages_.size());
  const int64_t began = now_ns();
  Team::run([&](Team& team) {
    const int64_t seat = seats.fetch_add(1);
    float* tile = tiles.mutable_data_ptr<float>() + seat * tiles.size(1);
    const Scratch scratch{tile, tile + floats, targets.data() + seat * rows};
    team.split(rows_.streams(), 1, [&](int64_t first, int64_t last) {
      for (int64_t stream = first; stream < last; ++stream) rows_.begin(stream);
    });
    for (size_t s = 0; s < stages_.size(); ++s) {
      stages_[s].to_one ? compute_samples(team, s) : compute(team, s, scratch);
      int64_t running = 0;  // whoever is first to go on sets the time; others may be woken late
      ends[s].compare_exchange_strong(running, now_ns());
    }
  });
  for (size_t s = 0; s < stages_.size() && stage_ms; ++s) {
    (*stage_ms)[s] += 1e-6 * static_cast<double>(ends[s] - (s == 0 ? began : ends[s - 1].load()));
  }
  rows_.end();
}

void Pass::compute(Team& team, size_t s, const Scratch& scratch) const {
  const int64_t all = rows_.products(s), tile = tile_rows(s), panels = stages_[s].panels.size(0),
                streams = rows_.streams();
  if (resident(stages_[s])) {
    team.split(streams + shared_out(all, tile), 1, [&](int64_t first, int64_t last) {
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
    const int64_t rows = std::min(tile, all - row), errands = row == 0 ? streams : 0;
    bool filled = false;  // each thread has the whole tile, if it comes to multiply at all
    team.split(errands + panels, shared_out(panels, threads_ * kShares), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if (i < errands) {
          rows_.move_tails(s, i);
          continue;
        }
        if (!filled) fill(s, row, rows, scratch);
        filled = true;
        multiply(s, i - errands, rows, scratch);
      }
    });
  }
}

// The last stage, where it makes samples.
void Pass::compute_samples(Team& team, size_t s) const {
  const Stage& stage = stages_[s];
  for (size_t stream = 0; stream < rows_.streams(); ++stream) {
    const int64_t all = rows_.place(s, stream).products;
    team.split(1 + shared_out(all, kSamples), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        if (i == 0) {
          rows_.move_tails(s, stream);
          continue;
        }
        const int64_t row = (i - 1) * kSamples, rows = std::min(kSamples, all - row);
        kernels_.to_one(rows_.seen(s, stream) + row * stage.seen_stride(), stage.seen_stride(), stage.window,
                        stage.width, stage.panels.const_data_ptr<float>(), *stage.bias.const_data_ptr<float>(),
                        streams_[stream].output + row, rows);
      }
    });
  }
}

// What the matrix is multiplied with, rows `first` to `first` + `rows` - 1 of all streams' products, and where the
// products go.
void Pass::fill(size_t s, int64_t first, int64_t rows, const Scratch& scratch) const {
  const Stage& stage = stages_[s];
  const int64_t stride = stage.seen_stride(), tile_stride = stage.depth + kSkew;
  for (size_t stream = 0; stream < rows_.streams(); ++stream) {
    const Place& place = rows_.place(s, stream);
    const int64_t begin = std::max(first, place.product), end = std::min(first + rows, place.product + place.products);
    if (begin >= end) continue;
    const float* input = rows_.seen(s, stream) + (begin - place.product) * stage.stride * stride;
    float* to = scratch.rows + (begin - first) * tile_stride;
    if (stage.taps.defined()) {
      const Depthwise layer{stage.taps.const_data_ptr<float>(),
                            stage.taps_bias.const_data_ptr<float>(),
                            {or_null(stage.taps_alpha), or_null(stage.taps_inverse)},
                            stage.dilation,
                            stage.width};
      kernels_.depthwise(layer, input, stride, to, tile_stride, end - begin);
    } else {
      fill_windows(stage, input, end - begin, to);
    }
    aim(s, stream, begin - place.product, end - begin, scratch.targets + (begin - first));
  }
}

void Pass::fill_windows(const Stage& stage, const float* seen, int64_t rows, float* to) const {
  const int64_t stride = stage.seen_stride(), used = stage.window * stage.width;
  for (int64_t row = 0; row < rows; ++row, seen += stage.stride * stride, to += stage.depth + kSkew) {
    for (int64_t k = 0; k < stage.window; ++k) std::copy_n(seen + k * stride, stage.width, to + k * stage.width);
    std::fill(to + used, to + stage.depth, 0.0f);
  }
}

// Where `rows` products of a stream go, from number `product` on.
void Pass::aim(size_t s, size_t stream, int64_t product, int64_t rows, SumsRow* targets) const {
  float *plain = rows_.plain(s, stream), *next = rows_.next(s, stream);
  const int64_t columns = stages_[s].columns, step = next ? stages_[s].up * stages_[s + 1].seen_stride() : 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = product + row;
    targets[row] = {plain ? plain + at * columns : nullptr, next ? next + at * step : nullptr};
  }
}

void Pass::multiply(size_t s, int64_t panel, int64_t rows, const Scratch& scratch) const {
  const Stage& stage = stages_[s];
  const int64_t column = panel * kConvPanel;
  PanelJob job{};
  job.x = scratch.rows;
  job.panel = stage.panels.const_data_ptr<float>() + panel * stage.depth * kConvPanel;
  job.rows = rows;
  job.depth = stage.depth;
  job.stride = stage.depth + kSkew;
  job.sums = scratch.sums;
  job.targets = scratch.targets;
  job.bias = stage.bias.const_data_ptr<float>() + column;
  job.columns = std::min(kConvPanel, stage.columns - column);
  job.add = stage.residual;
  const bool last = s + 1 == stages_.size();
  for (int half = 0; half * kConvLanes < job.columns; ++half) {
    const int64_t at = column + half * kConvLanes, channel = at % stage.out_width;
    job.plain_at[half] = at;
    if (last) continue;
    const Stage& next = stages_[s + 1];
    job.bent_at[half] = at / stage.out_width * next.seen_stride() + channel;
    job.bend[half] = {from(or_null(next.alpha), channel), from(or_null(next.inverse), channel),
                      from(or_null(next.scale), channel), from(or_null(next.shift), channel)};
  }
  kernels_.panel(job);
}

}  // namespace

void run_pass(const std::vector<Stage>& stages, const ConvKernels& kernels, const std::vector<StreamPart>& streams,
              std::vector<double>* stage_ms) {
  Pass(stages, kernels, streams).run(stage_ms);
}

}  // namespace intone
