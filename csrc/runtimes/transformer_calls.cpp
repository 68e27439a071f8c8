// What callers of `Transformer` see: tensors in, tensors out.

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "runtimes/transformer.h"

namespace intone {
namespace {

constexpr int64_t kTogether = 96;  // positions of a prompt that are read at a time: their activations stay in the cache

}  // namespace

std::shared_ptr<TransformerCache> TransformerCache::fork(int64_t count, int64_t most) const {
  TORCH_CHECK(0 <= count && count <= length && count <= most, count, " positions of ", length, " to a cache for ",
              most);
  return std::make_shared<TransformerCache>(TransformerCache{blocks.fork(count), most, count});
}

void Transformer::check_input(const at::Tensor& x, int64_t dim) const {
  TORCH_CHECK(x.dim() == dim && x.size(-1) == width() && x.scalar_type() == at::kFloat && x.device().is_cpu(),
              "a stack's input is ", x.sizes(), " ", x.scalar_type(), ", expected ", dim, " dimensions, the last of ",
              width(), ", Float on cpu");
}

at::Tensor Transformer::bidirectional(const at::Tensor& x, int64_t first, int64_t last) const {
  check_input(x, 3);
  TORCH_CHECK(0 <= first && first < last && last <= x.size(1), "rows ", first, " to ", last, " of ", x.size(1));
  TORCH_CHECK(cos_.dim() == 1 || x.size(1) <= cos_.size(0), x.size(1), " positions, expected at most ", cos_.size(0));
  const Sequences sequences{x.size(0), x.size(1), first, last};
  const at::Tensor spent = x.contiguous().clone();
  at::Tensor y = at::empty({x.size(0), last - first, width()}, at::kFloat);
  Workspace work = workspace(x.size(0) * x.size(1));
  Team::run([&](Team& team) {
    see_all(team, work, sequences, spent.mutable_data_ptr<float>(), y.mutable_data_ptr<float>());
  });
  return y;
}

at::Tensor Transformer::prefill(const at::Tensor& x, TransformerCache& cache, int64_t first) const {
  check_input(x, 2);
  const int64_t count = x.size(0);
  TORCH_CHECK(0 <= first && first < count, "rows from ", first, " of ", count);
  TORCH_CHECK(cache.length + count <= cache.limit, "the cache holds ", cache.length, " positions of ", cache.limit,
              ", there is no room for ", count);
  const at::Tensor spent = x.contiguous().clone();
  at::Tensor y = at::empty({count - first, width()}, at::kFloat);
  for (int64_t begin = 0; begin < count; begin += kTogether) {
    const int64_t here = std::min(kTogether, count - begin);
    std::vector<Row> rows;
    for (int64_t row = 0; row < here; ++row) rows.push_back({&cache, cache.length + row});
    const int64_t skipped = std::clamp<int64_t>(first - begin, 0, here);
    read(rows, skipped, spent.mutable_data_ptr<float>() + begin * width(),
         y.mutable_data_ptr<float>() + std::max<int64_t>(0, begin + skipped - first) * width());
    cache.length += here;
  }
  return y;
}

at::Tensor Transformer::step(const at::Tensor& x, const std::vector<std::shared_ptr<TransformerCache>>& caches) const {
  check_input(x, 2);
  TORCH_CHECK(x.size(0) == static_cast<int64_t>(caches.size()), x.size(0), " rows for ", caches.size(), " caches");
  std::vector<Row> rows;
  for (const auto& cache : caches) {
    TORCH_CHECK(cache->length < cache->limit, "the cache holds all of its ", cache->limit, " positions");
    TORCH_CHECK(std::count(caches.begin(), caches.end(), cache) == 1, "a cache is there twice");
    rows.push_back({cache.get(), cache->length});
  }
  const at::Tensor spent = x.contiguous().clone();
  at::Tensor y = at::empty_like(spent);
  read(rows, 0, spent.mutable_data_ptr<float>(), y.mutable_data_ptr<float>());
  for (const auto& cache : caches) ++cache->length;
  return y;
}

}  // namespace intone
