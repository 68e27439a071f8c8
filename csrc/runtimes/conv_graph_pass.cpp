#include "runtimes/conv_graph_pass.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "cpu/team.h"

namespace intone {
namespace {

constexpr int64_t kNarrow = 128;            // channels up to which a thread computes all columns of its rows
constexpr int64_t kMaxPlaneFloats = 49152;  // of a narrow part: 192 KiB stay in L2
constexpr int64_t kMinProducts = 64;        // of a narrow part
constexpr int64_t kMaxTiles = 128;          // of a wide layer that are multiplied at a time

int64_t ceil_div(int64_t count, int64_t by) { return (count + by - 1) / by; }

// Products of a layer for one stream, in one part of planes.
struct Run {
  const LayerPart* part;
  int64_t first, last, part_last;  // products, and the end of those of the part
  int64_t first_tile, last_tile;   // of `Plan::tiles`
  int64_t row, rows;               // of the planes
};

// A layer's work, divided.
struct Plan {
  const GraphLayer* layer;
  bool narrow;
  std::vector<Run> runs;
  std::vector<OutputTile> tiles;
  std::vector<OutputPart> outputs;  // one for each run
  int64_t plane_rows = 0;           // of all runs, or of the longest where narrow
  int64_t max_products = 0, max_tiles = 0;
};

void add_run(Plan& plan, const LayerPart& part, int64_t first, int64_t last, int64_t part_last) {
  const GraphLayer& layer = *plan.layer;
  const int64_t blocks = layer.shape.blocks(layer.kernel), outputs = layer.shape.outputs, d = layer.dilation;
  const int64_t first_tile = static_cast<int64_t>(plan.tiles.size());
  Run run{&part, first, last, part_last, first_tile, 0, plan.narrow ? 0 : plan.plane_rows, 0};
  for (int64_t phase = 0; phase < std::min(d, last - first); ++phase) {
    const int64_t tiles = ceil_div(phase_products(last - first, d, phase), outputs);
    for (int64_t i = 0; i < tiles; ++i) {
      plan.tiles.push_back({first + phase + i * outputs * d, static_cast<int32_t>(run.row + run.rows + i),
                            static_cast<int32_t>(plan.runs.size())});
    }
    run.rows += tiles + blocks - 1;
  }
  run.last_tile = static_cast<int64_t>(plan.tiles.size());
  std::vector<SignalRows>& signals = *part.signals;
  SignalRows& target = signals[layer.target];
  const SignalRows* residual = layer.residual < 0 ? nullptr : &signals[layer.residual];
  plan.outputs.push_back({target.at(target.start), residual ? residual->at(residual->start) : nullptr, target.start,
                          residual ? residual->start : 0, part.begin, part.end, last});
  plan.plane_rows = plan.narrow ? std::max(plan.plane_rows, run.rows) : plan.plane_rows + run.rows;
  plan.max_products = std::max(plan.max_products, last - first);
  plan.max_tiles = std::max(plan.max_tiles, run.last_tile - run.first_tile);
  plan.runs.push_back(run);
}

// Pieces are cut between tiles: the same ones for any number of threads.
Plan plan_of(const GraphLayer& layer, const std::vector<LayerPart>& parts, int threads) {
  Plan plan{&layer, is_narrow(layer), {}, {}, {}};
  const int64_t unit = layer.shape.outputs * layer.dilation,
                most = kMaxPlaneFloats * layer.shape.outputs / layer.shape.points() / layer.width;
  for (const LayerPart& part : parts) {
    if (part.begin >= part.end) continue;
    const int64_t first = (part.begin + layer.shift()) / layer.up, last = ceil_div(part.end + layer.shift(), layer.up),
                  products = last - first;
    int64_t size = products;
    if (plan.narrow) {
      const int64_t pieces = ceil_div(ceil_div(products, std::max(most, kMinProducts)), threads) * threads;
      size = ceil_div(std::max(ceil_div(products, pieces), kMinProducts), unit) * unit;
    }
    for (int64_t at = first; at < last; at += size) add_run(plan, part, at, std::min(at + size, last), last);
  }
  return plan;
}

// The planes and the scratch memory of a thread.
struct Memory {
  float *planes, *sums, *fill;
};

class Pass {
 public:
  Pass(const TiledConvKernels& kernels, std::vector<Plan> plans, int threads)
      : kernels_(kernels), plans_(std::move(plans)), threads_(threads) {}

  void run();

 private:
  void compute(Team& team, const Plan& plan, const Memory& memory) const;
  void fill(const Plan& plan, const Run& run, int64_t first_vector, int64_t last_vector, const Memory& memory) const;
  void multiply(const Plan& plan, int64_t panel, int64_t first_tile, int64_t last_tile, const Memory& memory) const;

  const TiledConvKernels& kernels_;
  const std::vector<Plan> plans_;
  const int threads_;
};

void Pass::run() {
  int64_t shared = 0, planes = 0, sums = 0, rows = 0;
  for (const Plan& plan : plans_) {
    const GraphLayer& layer = *plan.layer;
    (plan.narrow ? planes : shared) =
        std::max(plan.narrow ? planes : shared, layer.shape.points() * plan.plane_rows * layer.width);
    const int64_t tiles = plan.narrow ? plan.max_tiles : kMaxTiles;
    sums = std::max(sums, layer.shape.points() * tiles * layer.vectors * kernels_.lanes);
    if (plan.max_products > 0) {
      rows = std::max(rows, window_rows(plan.max_products, layer.kernel, layer.dilation, layer.shape));
    }
  }
  const at::Tensor common = at::empty({shared}, at::kFloat);
  Scratch scratch(threads_, planes + sums + fill_scratch(rows));
  Team::run(threads_, [&](Team& team) {
    float* own = scratch.of(team);
    for (const Plan& plan : plans_) {
      compute(team, plan, {plan.narrow ? own : common.mutable_data_ptr<float>(), own + planes, own + planes + sums});
    }
  });
}

void Pass::compute(Team& team, const Plan& plan, const Memory& memory) const {
  const int64_t vectors = plan.layer->width / kernels_.lanes, panels = plan.layer->up * plan.layer->panels();
  const int64_t runs = static_cast<int64_t>(plan.runs.size()), tiles = static_cast<int64_t>(plan.tiles.size());
  if (plan.narrow) {
    team.split(runs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const Run& run = plan.runs[i];
        fill(plan, run, 0, vectors, memory);
        for (int64_t panel = 0; panel < panels; ++panel) multiply(plan, panel, run.first_tile, run.last_tile, memory);
      }
    });
    return;
  }
  const int64_t grain = std::max<int64_t>(1, vectors * runs / (threads_ * 8));
  team.split(runs * vectors, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fill(plan, plan.runs[i / vectors], i % vectors, i % vectors + 1, memory);
  });
  const int64_t chunks = ceil_div(tiles, kMaxTiles), size = chunks ? ceil_div(tiles, chunks) : 0;
  team.split(panels * chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % chunks * size;
      multiply(plan, i / chunks, first, std::min(first + size, tiles), memory);
    }
  });
}

void Pass::fill(const Plan& plan, const Run& run, int64_t first_vector, int64_t last_vector,
                const Memory& memory) const {
  const GraphLayer& layer = *plan.layer;
  const std::vector<SignalRows>& signals = *run.part->signals;
  FillJob job{};
  job.source_count = static_cast<int64_t>(layer.sources.size());
  job.start = 0;
  job.end = run.part->total;
  for (const int64_t source : layer.sources) {
    job.start = std::max(job.start, signals[source].start);
    job.end = std::min(job.end, signals[source].end);
  }
  for (size_t s = 0; s < layer.sources.size(); ++s) job.sources[s] = signals[layer.sources[s]].at(job.start);
  job.width = layer.width;
  job.total = run.part->total;
  job.gain = layer.gain;
  if (layer.alpha.defined()) {
    job.alpha = layer.alpha.const_data_ptr<float>();
    job.inverse = layer.inverse.const_data_ptr<float>();
  }
  job.first = run.first - layer.left();
  job.count = run.last - run.first;
  job.known = run.part_last - run.first + (layer.kernel - 1) * layer.dilation;
  job.kernel = layer.kernel;
  job.dilation = layer.dilation;
  job.shape = layer.shape;
  job.planes = memory.planes + run.row * layer.width;
  job.plane_stride = plan.plane_rows * layer.width;
  job.scratch = memory.fill;
  for (int64_t vector = first_vector; vector < last_vector; ++vector) kernels_.fill(job, vector * kernels_.lanes);
}

void Pass::multiply(const Plan& plan, int64_t panel, int64_t first_tile, int64_t last_tile,
                    const Memory& memory) const {
  const GraphLayer& layer = *plan.layer;
  const int64_t columns = layer.vectors * kernels_.lanes, points = layer.shape.points(), count = last_tile - first_tile,
                phase = panel / layer.panels(), column = panel % layer.panels() * columns;
  MultiplyJob job{};
  job.tiles = plan.tiles.data() + first_tile;
  job.count = count;
  job.width = layer.width;
  job.depth = layer.depth();
  job.vectors = layer.vectors;
  for (int64_t point = 0; point < points; ++point) {
    job.plane = memory.planes + point * plan.plane_rows * layer.width;
    job.panel = layer.matrix.const_data_ptr<float>() + (panel * points + point) * layer.depth() * columns;
    job.sums = memory.sums + point * count * columns;
    kernels_.multiply(job);
  }
  FinishJob last{};
  last.sums = memory.sums;
  last.tiles = job.tiles;
  last.parts = plan.outputs.data();
  last.count = count;
  last.vectors = layer.vectors;
  last.dilation = layer.dilation;
  last.up = layer.up;
  last.shift = layer.shift() - phase;
  last.width = layer.out_width;
  last.column = column;
  last.stored_vectors = std::min(layer.vectors, (layer.out_width - column) / kernels_.lanes);
  last.bias = layer.bias.const_data_ptr<float>() + phase * layer.bias.size(1) + column;
  last.shape = layer.shape;
  kernels_.finish(last);
}

}  // namespace

void SignalRows::reserve(int64_t stop) {
  const int64_t rows = stop - start, room = data_.defined() ? data_.size(0) : 0;
  if (rows <= room) return;
  const at::Tensor larger = at::empty({std::max(rows, room * 5 / 4), width_}, at::kFloat);
  if (end > start) std::copy_n(at(start), (end - start) * width_, larger.mutable_data_ptr<float>());
  data_ = larger;
}

void SignalRows::drop_before(int64_t position) {
  if (position <= start) return;
  if (end > position) std::memmove(at(start), at(position), (end - position) * width_ * sizeof(float));
  start = position;
}

SignalRows SignalRows::part(int64_t first, int64_t stop) const {
  SignalRows copy(width_);
  copy.start = copy.end = first;
  if (stop > first) {
    copy.reserve(stop);
    std::copy_n(at(first), (stop - first) * width_, copy.at(first));
    copy.end = stop;
  }
  return copy;
}

void run_layers(const std::vector<const GraphLayer*>& layers, const TiledConvKernels& kernels,
                const std::vector<std::vector<LayerPart>>& parts, int threads) {
  std::vector<Plan> plans;
  for (size_t i = 0; i < layers.size(); ++i) plans.push_back(plan_of(*layers[i], parts[i], threads));
  Pass(kernels, std::move(plans), threads).run();
}

bool is_narrow(const GraphLayer& layer) { return std::max(layer.width, layer.out_width) <= kNarrow; }

}  // namespace intone
