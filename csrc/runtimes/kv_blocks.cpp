#include "runtimes/kv_blocks.h"

#include <algorithm>
#include <cmath>

#include "cpu/clones.h"
#include "cpu/lanes.h"

namespace intone {
namespace {

constexpr int64_t kPositions = 64;  // in a block

// a [rows, steps] times b [steps, columns], added to c [rows, columns]; rows of a and c are `a_stride` and `c_stride`
// apart.
struct Product {
  const float* a;
  int64_t rows, a_stride, steps;
  const float* b;
  int64_t columns;
  float* c;
  int64_t c_stride;
};

template <int Rows>
INTONE_INLINE void multiply_rows(const Product& p) {
  int64_t column = 0;
  for (; column + kLanes <= p.columns; column += kLanes) {
    Lanes sums[Rows], right;
    for (int row = 0; row < Rows; ++row) load_lanes(p.c + row * p.c_stride + column, sums[row]);
    for (int64_t step = 0; step < p.steps; ++step) {
      load_lanes(p.b + step * p.columns + column, right);
      for (int row = 0; row < Rows; ++row) sums[row] += p.a[row * p.a_stride + step] * right;
    }
    for (int row = 0; row < Rows; ++row) store_lanes(sums[row], p.c + row * p.c_stride + column);
  }
  for (; column < p.columns; ++column) {
    for (int row = 0; row < Rows; ++row) {
      float sum = p.c[row * p.c_stride + column];
      for (int64_t step = 0; step < p.steps; ++step) {
        sum += p.a[row * p.a_stride + step] * p.b[step * p.columns + column];
      }
      p.c[row * p.c_stride + column] = sum;
    }
  }
}

INTONE_CLONES void multiply(const Product& product) {
  switch (product.rows) {
    case 1:
      return multiply_rows<1>(product);
    case 2:
      return multiply_rows<2>(product);
    case 3:
      return multiply_rows<3>(product);
    default:
      return multiply_rows<KvBlocks::kQueries>(product);
  }
}

// Scores [count], a multiple of kLanes, times `scale`, to powers of e over the greatest; their sum.
INTONE_CLONES float to_powers(float* scores, int64_t count, float scale) {
  Lanes lanes, tops = {}, sums = {};
  tops -= INFINITY;
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    lanes *= scale;
    store_lanes(lanes, scores + p);
    tops = lanes > tops ? lanes : tops;
  }
  float each[kLanes], top = -INFINITY;
  store_lanes(tops, each);
  for (int64_t i = 0; i < kLanes; ++i) top = each[i] > top ? each[i] : top;
  for (int64_t p = 0; p < count; ++p) scores[p] = exponential(scores[p] - top);
  for (int64_t p = 0; p < count; p += kLanes) {
    load_lanes(scores + p, lanes);
    sums += lanes;
  }
  return sum_of(sums);
}

int64_t blocks_of(int64_t length) { return (length + kPositions - 1) / kPositions; }

}  // namespace

int64_t KvBlocks::block_numbers() const { return layers_ * heads_ * 2 * kPositions * head_dim_; }

KvBlocks KvBlocks::fork(int64_t length) const {
  KvBlocks other(layers_, heads_, head_dim_);
  const int64_t full = length / kPositions;
  other.blocks_.assign(blocks_.begin(), blocks_.begin() + full);
  if (length % kPositions > 0) {
    other.reserve(length);
    std::copy_n(blocks_[full].get(), block_numbers(), other.blocks_[full].get());
  }
  return other;
}

void KvBlocks::reserve(int64_t length) {
  while (static_cast<int64_t>(blocks_.size()) < blocks_of(length)) {
    // Zeros: a block is scored whole, and what is in it must be numbers.
    blocks_.emplace_back(new float[block_numbers()]());
  }
}

float* KvBlocks::of(int64_t block, int64_t layer, int64_t head) const {
  return blocks_[block].get() + (layer * heads_ + head) * 2 * kPositions * head_dim_;
}

void KvBlocks::write(int64_t layer, int64_t position, const float* key, const float* value) {
  const int64_t place = position % kPositions;
  for (int64_t head = 0; head < heads_; ++head) {
    float* keys = of(position / kPositions, layer, head);
    float* values = keys + kPositions * head_dim_;
    for (int64_t d = 0; d < head_dim_; ++d) keys[d * kPositions + place] = key[head * head_dim_ + d];
    std::copy_n(value + head * head_dim_, head_dim_, values + place * head_dim_);
  }
}

void KvBlocks::attend(int64_t layer, int64_t head, int64_t length, const float* queries, float* mixed,
                      int64_t count) const {
  const int64_t blocks = blocks_of(length), room = blocks * kPositions;
  std::vector<float> shares(count * room);
  for (int64_t block = 0; block < blocks; ++block) {
    // Keys lie with their positions side by side, so that scores of a block are sums of whole vectors.
    multiply({queries, count, head_dim_, head_dim_, of(block, layer, head), kPositions,
              shares.data() + block * kPositions, room});
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  const int64_t scored = (length + kLanes - 1) / kLanes * kLanes;
  float inverses[kQueries];
  for (int64_t query = 0; query < count; ++query) {
    float* scores = shares.data() + query * room;
    std::fill(scores + length, scores + scored, -INFINITY);  // power 0
    inverses[query] = 1.0f / to_powers(scores, scored, scale);
  }
  std::fill_n(mixed, count * head_dim_, 0.0f);
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t begin = block * kPositions;
    multiply({shares.data() + begin, count, room, std::min(kPositions, length - begin),
              of(block, layer, head) + kPositions * head_dim_, head_dim_, mixed, head_dim_});
  }
  for (int64_t query = 0; query < count; ++query, mixed += head_dim_) {
    for (int64_t d = 0; d < head_dim_; ++d) mixed[d] *= inverses[query];
  }
}

}  // namespace intone
