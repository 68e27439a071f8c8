#include "runtimes/decoder_stack.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace intone {
namespace {

// Positions of a prompt that are computed at a time: their activations stay in cache.
constexpr int64_t kPrefillRows = 96;

// Few pieces, so that claiming them costs little, but enough that the wait for the last one is short.
int64_t grain_of(int64_t tasks) { return std::max<int64_t>(1, tasks / 16); }

at::Tensor checked_row(const char* name, const at::Tensor& row, int64_t width) {
  TORCH_CHECK(
      row.dim() == 1 && row.size(0) == width && width > 0 && row.scalar_type() == at::kFloat && row.device().is_cpu(),
      name, " is ", row.sizes(), " ", row.scalar_type(), " on ", row.device(), ", expected [H] Float on cpu");
  return row.contiguous();
}

// Contiguous, of this width.
Norm checked_norm(const char* name, const Norm& norm, int64_t width) {
  return {checked_row(name, norm.weight, width),
          norm.bias.defined() ? checked_row(name, norm.bias, width) : at::Tensor()};
}

void put_norm(Packed& all, const std::string& name, const Norm& norm) {
  all.emplace(name, norm.weight);
  if (norm.bias.defined()) all.emplace(name + "_bias", norm.bias);
}

Norm norm_of(const Packed& packed, const std::string& name, int64_t width) {
  const auto row = [&](const std::string& part) { return part_of(packed, part, at::kFloat, {width}).clone(); };
  return {row(name), packed.count(name + "_bias") ? row(name + "_bias") : at::Tensor()};
}

}  // namespace

Packed DecoderLayer::packed() const {
  Packed all{{"gated", at::full({1}, int64_t{up.gated()}, at::kLong)}};
  put_norm(all, "attention_norm", attention_norm);
  put_norm(all, "mlp_norm", mlp_norm);
  put(all, "qkv", qkv.packed());
  put(all, "out", out.packed());
  put(all, "up", up.packed());
  put(all, "down", down.packed());
  return all;
}

DecoderLayer DecoderLayer::of_packed(const Packed& packed, WeightType type, Isa isa) {
  const auto linear = [&](const char* name, bool gated) { return Linear(inner(packed, name), type, isa, gated); };
  const bool gated = part_of(packed, "gated", at::kLong, {1}).item<int64_t>() != 0;
  Linear qkv = linear("qkv", false);
  const int64_t width = qkv.in();
  return {norm_of(packed, "attention_norm", width), std::move(qkv),      linear("out", false),
          norm_of(packed, "mlp_norm", width),       linear("up", gated), linear("down", false)};
}

DecoderStack::DecoderStack(const StackSizes& sizes, std::vector<std::shared_ptr<DecoderLayer>> layers,
                           std::vector<Norm> final_norms, const std::optional<at::Tensor>& cos,
                           const std::optional<at::Tensor>& sin)
    : sizes_(sizes),
      layers_(std::move(layers)),
      final_norms_(std::move(final_norms)),
      cos_(cos ? *cos : at::empty({0}, at::kFloat)),
      sin_(sin ? *sin : at::empty({0}, at::kFloat)) {
  TORCH_CHECK(!final_norms_.empty(), "found no final norm, expected at least 1");
  width_ = final_norms_.front().weight.numel();
  for (Norm& norm : final_norms_) {
    norm = checked_norm("norm", norm, width_);
    norm = {norm.weight.clone(), norm.bias.defined() ? norm.bias.clone() : norm.bias};
  }
  TORCH_CHECK(cos.has_value() == sin.has_value(), "expected both cos and sin, or neither");
  for (const at::Tensor& table : {cos_, sin_}) {
    TORCH_CHECK(!cos || (table.dim() == 2 && table.sizes() == cos_.sizes() && table.size(1) == sizes.head_dim &&
                         sizes.head_dim % 2 == 0),
                "cos and sin are ", cos_.sizes(), " and ", sin_.sizes(), ", expected [positions, ", sizes.head_dim,
                "], an even number");
    TORCH_CHECK(table.scalar_type() == at::kFloat && table.device().is_cpu(), "cos or sin is ", table.scalar_type(),
                " on ", table.device(), ", expected Float on cpu");
  }
  cos_ = cos_.contiguous();
  sin_ = sin_.contiguous();
  check_layers();
  row_words_ = 0;  // layers may be of different types
  for (const auto& layer : layers_) {
    row_words_ = std::max({row_words_, layer->qkv.row_words(), layer->out.row_words(), layer->down.row_words()});
  }
}

void DecoderStack::check_layers() const {
  TORCH_CHECK(!layers_.empty(), "found 0 layers, expected at least 1");
  const int64_t heads = sizes_.heads, kv_heads = sizes_.kv_heads, head_dim = sizes_.head_dim;
  TORCH_CHECK(kv_heads > 0 && heads > 0 && heads % kv_heads == 0, heads, " heads do not share ", kv_heads,
              " key heads evenly");
  for (size_t index = 0; index < layers_.size(); ++index) {
    TORCH_CHECK(layers_[index], "layer ", index, " is None");
    const DecoderLayer& layer = *layers_[index];
    checked_norm("attention_norm", layer.attention_norm, width());
    checked_norm("mlp_norm", layer.mlp_norm, width());
    const int64_t queries = layer.out.in();
    TORCH_CHECK(queries % heads == 0 && queries / heads == head_dim && layer.qkv.in() == width() &&
                    layer.qkv.out() == queries + 2 * kv_heads * head_dim && layer.out.out() == width() &&
                    layer.up.in() == width() && layer.down.out() == width() && layer.down.in() == layer.up.out() &&
                    layer.down.in() == layers_[0]->down.in(),
                "the shapes of layer ", index, " do not match each other, ", heads, " heads of ", head_dim,
                " and the first layer");
  }
}

std::shared_ptr<DecoderCache> DecoderStack::new_cache(int64_t limit) const {
  TORCH_CHECK(limit >= 0, "a cache of ", limit, " positions");
  const KvBlocks none(layers_.size(), sizes_.kv_heads, sizes_.head_dim);
  return DecoderCache{none, 0, 0, max_positions()}.fork(0, limit);
}

std::shared_ptr<DecoderCache> DecoderCache::fork(int64_t count, int64_t limit) const {
  TORCH_CHECK(0 <= count && count <= length && count <= limit, "fork of ", count, " of ", length,
              " positions for a limit of ", limit);
  TORCH_CHECK(limit <= max_limit, "a cache of ", limit, " positions, the stack has at most ", max_limit);
  return std::make_shared<DecoderCache>(DecoderCache{blocks.fork(count), limit, count, max_limit});
}

// A row attends to up to `positions`.
DecoderStack::Workspace DecoderStack::workspace(int64_t rows, int64_t positions) const {
  const DecoderLayer& layer = *layers_.front();
  const int threads = Team::available_threads();
  const int64_t scratch = std::max(width(), KvBlocks::scratch_floats(positions, KvBlocks::kQueries));
  Workspace work{{}, {}, {}, {}, {}, {}, threads, Scratch(threads, scratch)};
  work.qkv.resize(rows * layer.qkv.out());
  work.attn_out.resize(rows * layer.out.in());
  work.mlp.resize(rows * layer.down.in());
  work.selected.resize(rows * width());
  work.packed.reserve(rows, row_words_);
  return work;
}

DecoderStack::Workspace DecoderStack::workspace(const Sequences& sequences) const {
  Workspace work = workspace(sequences.count * sequences.length, sequences.length);
  work.sequences.assign(sequences.count, KvBlocks(1, sizes_.kv_heads, sizes_.head_dim));
  for (KvBlocks& keys : work.sequences) keys.reserve(sequences.length);
  return work;
}

DecoderStack::Rows DecoderStack::rows_of(Workspace& work, const Sequences& sequences) const {
  Rows rows{{}, {}, true};
  for (int64_t sequence = 0; sequence < sequences.count; ++sequence) {
    for (int64_t position = 0; position < sequences.length; ++position) {
      const bool wanted = sequences.first <= position && position < sequences.last;
      if (wanted) rows.wanted.push_back(rows.all.size());
      rows.all.push_back({&work.sequences[sequence], position, sequences.length});
    }
  }
  return rows;
}

void DecoderStack::normalize(const Norm& norm, const float* x, float* y) const {
  const VectorKernels& kernels = vector_kernels(isa());
  const float* gain = norm.weight.const_data_ptr<float>();
  if (norm.bias.defined()) {
    kernels.layer_norm(x, gain, norm.bias.const_data_ptr<float>(), sizes_.norm_eps, width(), y);
  } else {
    kernels.rms_norm(x, gain, sizes_.norm_eps, width(), y);
  }
}

void DecoderStack::normalize_and_pack(Team& team, Workspace& work, const Linear& into, const Norm& norm, const float* x,
                                      int64_t rows) const {
  team.split(rows, 1, [&](int64_t begin, int64_t end) {
    float* normed = work.scratch.of(team);
    for (int64_t row = begin; row < end; ++row) {
      normalize(norm, x + row * width(), normed);
      into.pack(normed, work.packed, row, rows);
    }
  });
}

// From `qkv` of all rows to `attn_out` of the wanted ones. First stores the keys and values of all rows.
void DecoderStack::attend(Team& team, Workspace& work, const Rows& rows, int64_t layer,
                          const std::vector<int64_t>& wanted) const {
  const VectorKernels& kernels = vector_kernels(isa());
  const int64_t head_dim = sizes_.head_dim, queries = sizes_.heads * head_dim, keys = sizes_.kv_heads * head_dim;
  const int64_t stride = queries + 2 * keys, heads_per_kv = sizes_.heads / sizes_.kv_heads;
  const bool rotary = cos_.dim() == 2;
  team.split(rows.all.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      const Row& row = rows.all[index];
      float* of_row = work.qkv.data() + index * stride;
      if (rotary) {
        const int64_t at = row.position * head_dim;
        kernels.rotate_heads(of_row, sizes_.heads + sizes_.kv_heads, head_dim, cos_.const_data_ptr<float>() + at,
                             sin_.const_data_ptr<float>() + at);
      }
      row.keys->write(layer, row.position, of_row + queries, of_row + queries + keys);
    }
  });
  const int64_t groups = (heads_per_kv + KvBlocks::kQueries - 1) / KvBlocks::kQueries,
                tasks_per_row = sizes_.kv_heads * groups, tasks = wanted.size() * tasks_per_row;
  team.split(tasks, grain_of(tasks), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t place = task / tasks_per_row, kv_head = task % tasks_per_row / groups;
      const int64_t group = task % groups * KvBlocks::kQueries, head = kv_head * heads_per_kv + group;
      const Row& row = rows.all[wanted[place]];
      row.keys->attend(kernels, layer, kv_head, row.visible, work.qkv.data() + wanted[place] * stride + head * head_dim,
                       work.attn_out.data() + place * queries + head * head_dim,
                       std::min(KvBlocks::kQueries, heads_per_kv - group), work.scratch.of(team));
    }
  });
}

// The rest of a layer after attention, in place in x [rows, H]; `attn_out` is [rows, heads * D].
void DecoderStack::finish_layer(Team& team, Workspace& work, const DecoderLayer& layer, float* x, int64_t rows) const {
  layer.out.pack_all(team, work.attn_out.data(), work.packed, rows);
  layer.out.apply(team, work.packed, rows, x, Epilogue::kAccumulate);
  normalize_and_pack(team, work, layer.up, layer.mlp_norm, x, rows);
  layer.up.apply(team, work.packed, rows, work.mlp.data(), layer.up.gated() ? Epilogue::kSwiGlu : Epilogue::kGelu);
  layer.down.pack_all(team, work.mlp.data(), work.packed, rows);
  layer.down.apply(team, work.packed, rows, x, Epilogue::kAccumulate);
}

// x [rows, H] is overwritten; y [wanted rows, H]. Rows of one sequence are in the order of positions.
void DecoderStack::forward(Team& team, Workspace& work, const Rows& rows, float* x, float* y) const {
  const int64_t count = rows.all.size(), wanted = rows.wanted.size();
  std::vector<int64_t> all(count);
  std::iota(all.begin(), all.end(), 0);
  for (size_t index = 0; index < layers_.size(); ++index) {
    const DecoderLayer& layer = *layers_[index];
    const bool last = index + 1 == layers_.size();
    normalize_and_pack(team, work, layer.qkv, layer.attention_norm, x, count);
    layer.qkv.apply(team, work.packed, count, work.qkv.data(), Epilogue::kStore);
    attend(team, work, rows, rows.one_layer ? 0 : index, last ? rows.wanted : all);
    if (!last) finish_layer(team, work, layer, x, count);
  }
  float* selected = work.selected.data();
  team.split(wanted, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::copy_n(x + rows.wanted[row] * width(), width(), selected + row * width());
  });
  finish_layer(team, work, *layers_.back(), selected, wanted);
  team.split(wanted, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* from = selected + row * width();
      for (const Norm& norm : final_norms_) {
        normalize(norm, from, y + row * width());
        from = y + row * width();
      }
    }
  });
}

void DecoderStack::forward_bidirectional(Team& team, Workspace& work, const Sequences& sequences, float* x,
                                         float* y) const {
  forward(team, work, rows_of(work, sequences), x, y);
}

// Causal attention: rows follow what the caches hold. The result are rows `first` and on.
void DecoderStack::append(const std::vector<Row>& all, int64_t first, float* x, float* y) const {
  Rows rows{all, {}, false};
  int64_t positions = 0;
  for (const Row& row : all) {
    positions = std::max(positions, row.visible);
    row.keys->reserve(row.visible);
  }
  for (int64_t row = first; row < static_cast<int64_t>(all.size()); ++row) rows.wanted.push_back(row);
  Workspace work = workspace(all.size(), positions);
  Team::run(work.threads, [&](Team& team) { forward(team, work, rows, x, y); });
}

void DecoderStack::check_input(const at::Tensor& x, int64_t dim) const {
  TORCH_CHECK(x.dim() == dim && x.size(-1) == width() && x.scalar_type() == at::kFloat && x.device().is_cpu(),
              "a stack's input is ", x.sizes(), " ", x.scalar_type(), ", expected ", dim, " dimensions, the last of ",
              width(), ", Float on cpu");
}

void DecoderStack::check_positions(int64_t count) const {
  TORCH_CHECK(count <= max_positions(), count, " positions, expected at most ", max_positions());
}

void DecoderStack::check_cache(const DecoderCache& cache) const {
  cache.blocks.check_shape(layers_.size(), sizes_.kv_heads, sizes_.head_dim);
}

int64_t DecoderStack::max_positions() const {
  return cos_.dim() == 1 ? std::numeric_limits<int64_t>::max() : cos_.size(0);
}

at::Tensor DecoderStack::bidirectional(const at::Tensor& x, int64_t first, int64_t last) const {
  check_input(x, 3);
  TORCH_CHECK(0 <= first && first < last && last <= x.size(1), "found rows ", first, " to ", last, " of ", x.size(1));
  check_positions(x.size(1));
  const Sequences sequences{x.size(0), x.size(1), first, last};
  const at::Tensor hidden = x.contiguous().clone();
  at::Tensor y = at::empty({x.size(0), last - first, width()}, at::kFloat);
  Workspace work = workspace(sequences);
  Team::run(work.threads, [&](Team& team) {
    forward_bidirectional(team, work, sequences, hidden.mutable_data_ptr<float>(), y.mutable_data_ptr<float>());
  });
  return y;
}

at::Tensor DecoderStack::prefill(const at::Tensor& x, DecoderCache& cache, int64_t first) const {
  check_input(x, 2);
  const int64_t count = x.size(0);
  TORCH_CHECK(0 <= first && first < count, "found rows from ", first, " of ", count);
  check_cache(cache);
  TORCH_CHECK(cache.length + count <= cache.limit, "the cache holds ", cache.length, " positions of ", cache.limit,
              ", which leaves no room for ", count, " more");
  check_positions(cache.length + count);
  const at::Tensor hidden = x.contiguous().clone();
  at::Tensor y = at::empty({count - first, width()}, at::kFloat);
  for (int64_t begin = 0; begin < count; begin += kPrefillRows) {
    const int64_t here = std::min(kPrefillRows, count - begin);
    std::vector<Row> rows;
    for (int64_t row = 0; row < here; ++row) {
      const int64_t position = cache.length + begin + row;
      rows.push_back({&cache.blocks, position, position + 1});
    }
    const int64_t skipped = std::clamp<int64_t>(first - begin, 0, here);
    append(rows, skipped, hidden.mutable_data_ptr<float>() + begin * width(),
           y.mutable_data_ptr<float>() + std::max<int64_t>(0, begin + skipped - first) * width());
  }
  cache.length += count;  // unchanged if a part failed
  return y;
}

at::Tensor DecoderStack::step(const at::Tensor& x, const std::vector<std::shared_ptr<DecoderCache>>& caches) const {
  check_input(x, 2);
  TORCH_CHECK(x.size(0) == static_cast<int64_t>(caches.size()), x.size(0), " rows for ", caches.size(), " caches");
  std::vector<Row> rows;
  for (const auto& cache : caches) {
    TORCH_CHECK(cache, "a cache is None");
    check_cache(*cache);
    TORCH_CHECK(cache->length < cache->limit, "the cache holds all of its ", cache->limit, " positions");
    check_positions(cache->length + 1);
    TORCH_CHECK(std::count(caches.begin(), caches.end(), cache) == 1, "a cache is in the batch twice");
    rows.push_back({&cache->blocks, cache->length, cache->length + 1});
  }
  const at::Tensor hidden = x.contiguous().clone();
  at::Tensor y = at::empty_like(hidden);
  append(rows, 0, hidden.mutable_data_ptr<float>(), y.mutable_data_ptr<float>());
  for (const auto& cache : caches) ++cache->length;
  return y;
}

}  // namespace intone
