#include "runtimes/transformer.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

#include "cpu/clones.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

INTONE_CLONES void normalize(const float* x, const float* gain, float eps, int64_t width, float* y) {
  Lanes squares = {}, lanes;
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    load_lanes(x + i, lanes);
    squares += lanes * lanes;
  }
  float sum = sum_of(squares);
  for (; i < width; ++i) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(width) + eps);
  for (int64_t d = 0; d < width; ++d) y[d] = x[d] * scale * gain[d];
}

INTONE_CLONES void rotate_heads(float* x, int64_t heads, int64_t head_dim, const float* cos, const float* sin) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head, x += head_dim) {
    for (int64_t d = 0; d < half; ++d) {
      const float low = x[d], high = x[half + d];
      x[d] = low * cos[d] + high * sin[d];
      x[half + d] = high * cos[half + d] + low * sin[half + d];
    }
  }
}

// One query [D] over `length` keys and values, `stride` apart. `shares` [length] is used up.
INTONE_CLONES void attend_one(const float* query, const float* keys, const float* values, int64_t stride,
                              int64_t length, int64_t head_dim, float* shares, float* mixed) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  float top = -INFINITY;
  for (int64_t t = 0; t < length; ++t) {
    const float* key = keys + t * stride;
    Lanes products = {}, q, k;
    int64_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) {
      load_lanes(query + d, q);
      load_lanes(key + d, k);
      products += q * k;
    }
    float score = sum_of(products);
    for (; d < head_dim; ++d) score += query[d] * key[d];
    shares[t] = score * scale;
    top = std::max(top, shares[t]);
  }
  float total = 0.0f;
  for (int64_t t = 0; t < length; ++t) shares[t] = exponential(shares[t] - top);
  for (int64_t t = 0; t < length; ++t) total += shares[t];
  for (int64_t d = 0; d < head_dim; ++d) mixed[d] = 0.0f;
  for (int64_t t = 0; t < length; ++t) {
    const float share = shares[t] / total;
    for (int64_t d = 0; d < head_dim; ++d) mixed[d] += share * values[t * stride + d];
  }
}

// Few enough pieces that taking them costs little, enough that nobody waits long for the last one.
int64_t grain_of(int64_t tasks) { return std::max<int64_t>(1, tasks / 16); }

}  // namespace

Transformer::Transformer(const TransformerSizes& sizes, std::vector<std::shared_ptr<TransformerLayer>> layers,
                         const at::Tensor& norm, const std::optional<at::Tensor>& cos,
                         const std::optional<at::Tensor>& sin)
    : sizes_(sizes),
      layers_(std::move(layers)),
      norm_(norm.contiguous().clone()),
      cos_(cos ? cos->contiguous() : at::empty({0}, at::kFloat)),
      sin_(sin ? sin->contiguous() : at::empty({0}, at::kFloat)) {
  TORCH_CHECK(!layers_.empty(), "a stack has layers");
  TORCH_CHECK(sizes.kv_heads > 0 && sizes.heads % sizes.kv_heads == 0, sizes.heads, " heads do not share ",
              sizes.kv_heads, " key heads evenly");
  const int64_t queries = sizes.heads * sizes.head_dim, keys = sizes.kv_heads * sizes.head_dim;
  for (const auto& layer : layers_) {
    TORCH_CHECK(layer->qkv.in() == width() && layer->qkv.out() == queries + 2 * keys && layer->out.in() == queries &&
                    layer->out.out() == width() && layer->gate_up.in() == width() && layer->down.out() == width() &&
                    layer->down.in() == layer->gate_up.out() && layer->attention_norm.numel() == width() &&
                    layer->mlp_norm.numel() == width(),
                "the parts of a layer do not fit each other");
  }
  TORCH_CHECK(cos_.sizes() == sin_.sizes() && (cos_.dim() == 1 || cos_.size(1) == sizes.head_dim),
              "cos and sin are not [positions, ", sizes.head_dim, "]");
}

std::shared_ptr<TransformerCache> Transformer::new_cache(int64_t limit) const {
  const int64_t layers = layers_.size();
  return std::make_shared<TransformerCache>(
      TransformerCache{KvBlocks(layers, sizes_.kv_heads, sizes_.head_dim), limit});
}

Transformer::Workspace Transformer::workspace(int64_t rows) const {
  const TransformerLayer& layer = *layers_.front();
  Workspace work;
  work.qkv.resize(rows * layer.qkv.out());
  work.mixed.resize(rows * layer.out.in());
  work.wide.resize(rows * layer.down.in());
  work.kept.resize(rows * width());
  work.packed.reserve(rows, std::max({layer.qkv.row_words(), layer.out.row_words(), layer.down.row_words()}));
  return work;
}

void Transformer::pack_normed(Team& team, PackedRows& packed, const Linear& into, const at::Tensor& norm,
                              const float* x, int64_t rows) const {
  team.split(rows, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> normed(width());
    for (int64_t row = begin; row < end; ++row) {
      normalize(x + row * width(), norm.const_data_ptr<float>(), sizes_.norm_eps, width(), normed.data());
      into.pack(normed.data(), packed, row, rows);
    }
  });
}

// x [rows, H] to `qkv`.
void Transformer::project(Team& team, Workspace& work, const TransformerLayer& layer, const float* x,
                          int64_t rows) const {
  pack_normed(team, work.packed, layer.qkv, layer.attention_norm, x, rows);
  layer.qkv.apply(team, work.packed, rows, work.qkv.data(), Ending::kStore);
}

// `mixed` [rows, heads * D] and x [rows, H] to the end of the layer, in x.
void Transformer::finish(Team& team, Workspace& work, const TransformerLayer& layer, float* x, int64_t rows) const {
  layer.out.pack_all(team, work.mixed.data(), work.packed, rows);
  layer.out.apply(team, work.packed, rows, x, Ending::kAdd);
  pack_normed(team, work.packed, layer.gate_up, layer.mlp_norm, x, rows);
  layer.gate_up.apply(team, work.packed, rows, work.wide.data(), Ending::kGate);
  layer.down.pack_all(team, work.wide.data(), work.packed, rows);
  layer.down.apply(team, work.packed, rows, x, Ending::kAdd);
}

// Queries and keys of one row of `qkv`.
void Transformer::rotate(float* qkv, int64_t position) const {
  if (cos_.dim() == 1) return;
  const int64_t at = position * sizes_.head_dim;
  rotate_heads(qkv, sizes_.heads + sizes_.kv_heads, sizes_.head_dim, cos_.const_data_ptr<float>() + at,
               sin_.const_data_ptr<float>() + at);
}

// `qkv` of all rows to `mixed` of rows `first` to `last` - 1 of each sequence.
void Transformer::attend_all(Team& team, Workspace& work, const Sequences& sequences, int64_t first,
                             int64_t last) const {
  const int64_t length = sequences.length, head_dim = sizes_.head_dim, queries = sizes_.heads * head_dim;
  const int64_t keys = sizes_.kv_heads * head_dim, stride = queries + 2 * keys,
                sharing = sizes_.heads / sizes_.kv_heads;
  team.split(sequences.count * length, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) rotate(work.qkv.data() + row * stride, row % length);
  });
  const int64_t tasks = sequences.count * sizes_.heads;
  team.split(tasks, grain_of(tasks), [&](int64_t begin, int64_t end) {
    std::vector<float> shares(length);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t sequence = task / sizes_.heads, head = task % sizes_.heads;
      const float* of_all = work.qkv.data() + sequence * length * stride;
      const float* of_head = of_all + queries + head / sharing * head_dim;
      for (int64_t row = first; row < last; ++row) {
        attend_one(of_all + row * stride + head * head_dim, of_head, of_head + keys, stride, length, head_dim,
                   shares.data(),
                   work.mixed.data() + (sequence * (last - first) + row - first) * queries + head * head_dim);
      }
    }
  });
}

void Transformer::see_all(Team& team, Workspace& work, const Sequences& sequences, float* x, float* y) const {
  const int64_t rows = sequences.count * sequences.length, wanted = sequences.last - sequences.first;
  for (size_t index = 0; index + 1 < layers_.size(); ++index) {
    project(team, work, *layers_[index], x, rows);
    attend_all(team, work, sequences, 0, sequences.length);
    finish(team, work, *layers_[index], x, rows);
  }
  // The last layer computes the other rows only as far as the wanted ones need them.
  project(team, work, *layers_.back(), x, rows);
  attend_all(team, work, sequences, sequences.first, sequences.last);
  team.split(sequences.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t sequence = begin; sequence < end; ++sequence) {
      std::copy_n(x + (sequence * sequences.length + sequences.first) * width(), wanted * width(),
                  work.kept.data() + sequence * wanted * width());
    }
  });
  finish(team, work, *layers_.back(), work.kept.data(), sequences.count * wanted);
  team.split(sequences.count * wanted, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      normalize(work.kept.data() + row * width(), norm_.const_data_ptr<float>(), sizes_.norm_eps, width(),
                y + row * width());
    }
  });
}

// Stores keys and values of all rows, then lets rows `first` and on look at their own sequence up to themselves.
void Transformer::attend_before(Team& team, Workspace& work, const std::vector<Row>& rows, int64_t layer,
                                int64_t first) const {
  const int64_t head_dim = sizes_.head_dim, queries = sizes_.heads * head_dim, keys = sizes_.kv_heads * head_dim;
  const int64_t stride = queries + 2 * keys, sharing = sizes_.heads / sizes_.kv_heads, count = rows.size();
  team.split(count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      float* of_row = work.qkv.data() + row * stride;
      rotate(of_row, rows[row].position);
      rows[row].cache->blocks.write(layer, rows[row].position, of_row + queries, of_row + queries + keys);
    }
  });
  const int64_t groups = (sharing + KvBlocks::kQueries - 1) / KvBlocks::kQueries, of_a_row = sizes_.kv_heads * groups;
  const int64_t tasks = (count - first) * of_a_row;
  team.split(tasks, grain_of(tasks), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = first + task / of_a_row, kv_head = task % of_a_row / groups;
      const int64_t group = task % groups * KvBlocks::kQueries, head = kv_head * sharing + group;
      rows[row].cache->blocks.attend(
          layer, kv_head, rows[row].position + 1, work.qkv.data() + row * stride + head * head_dim,
          work.mixed.data() + (row - first) * queries + head * head_dim, std::min(KvBlocks::kQueries, sharing - group));
    }
  });
}

// x [rows, H] is used up; y [rows - first, H]. Rows of one sequence come in the order of positions.
void Transformer::read(const std::vector<Row>& rows, int64_t first, float* x, float* y) const {
  const int64_t count = rows.size(), last = layers_.size() - 1;
  for (const Row& row : rows) row.cache->blocks.reserve(row.position + 1);
  Workspace work = workspace(count);
  Team::run([&](Team& team) {
    for (int64_t layer = 0; layer <= last; ++layer) {
      const int64_t skipped = layer == last ? first : 0;  // nobody asks for them, and no layer follows
      project(team, work, *layers_[layer], x, count);
      attend_before(team, work, rows, layer, skipped);
      finish(team, work, *layers_[layer], x + skipped * width(), count - skipped);
    }
    team.split(count - first, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        normalize(x + (first + row) * width(), norm_.const_data_ptr<float>(), sizes_.norm_eps, width(),
                  y + row * width());
      }
    });
  });
}

}  // namespace intone
