// append_attention on CUDA: one more position of each sequence: its queries and key are rotated, its key and value
// stored in pages, and the queries attend to all positions. A block for each key head of each row; the queries that
// share the head are computed together, so keys are read once. Positions in tiles, with the running maximum and sum of
// "Online normalizer calculation for softmax" (arXiv 1805.02867). float.

#include <cmath>
#include <optional>

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;  // positions of a tile
constexpr int kMaxSize = 128;  // of a head
constexpr int kMaxGroup = 16;  // queries of a key head

// 16 bytes, read at once.
template <typename T>
struct alignas(16) Pack {
  static constexpr int kCount = 16 / sizeof(T);
  T value[kCount];
};

template <typename T>
struct Stored {
  T* keys;
  T* values;
  const int32_t* tables;
  const int64_t* lengths;  // without the position that is appended
  int64_t table_width;
  int64_t page;
  int64_t kv_heads;

  // The first number of a head at a position of a row.
  __device__ int64_t at(int64_t row, int64_t position, int64_t head, int64_t size) const {
    const int64_t place = static_cast<int64_t>(tables[row * table_width + position / page]) * page + position % page;
    return (place * kv_heads + head) * size;
  }
};

// Cosines and sines of each position, [rows, size] each; null for no rotation.
struct Rotation {
  const float* cos;
  const float* sin;
  int64_t rows;

  // Number i of a head, rotated.
  template <typename T>
  __device__ float operator()(const T* head, int64_t position, int i, int size) const {
    const float own = static_cast<float>(head[i]);
    if (cos == nullptr) return own;
    const int half = size / 2;
    const int64_t at = position * size + i;
    return own * cos[at] + static_cast<float>(head[i < half ? i + half : i - half]) * sin[at];
  }
};

// Products of a key with kGroup queries, which follow each other with kMaxSize numbers each.
template <typename T, int kGroup>
__device__ void multiply(const float* queries, const T* key, int size, float* products) {
  for (int g = 0; g < kGroup; ++g) products[g] = 0.0f;
  int d = 0;
  if (size % Pack<T>::kCount == 0) {  // so rows are aligned
    for (; d < size; d += Pack<T>::kCount) {
      const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(key + d);
#pragma unroll
      for (int i = 0; i < Pack<T>::kCount; ++i) {
        const float k = static_cast<float>(pack.value[i]);
#pragma unroll
        for (int g = 0; g < kGroup; ++g) products[g] += queries[g * kMaxSize + d + i] * k;
      }
    }
  }
  for (; d < size; ++d) {
    const float k = static_cast<float>(key[d]);
#pragma unroll
    for (int g = 0; g < kGroup; ++g) products[g] += queries[g * kMaxSize + d] * k;
  }
}

template <typename T, int kGroup>
__global__ void append_attention_kernel(const T* x, Rotation rotation, Stored<T> stored, T* out, int group, int size,
                                        float scale) {
  __shared__ float query[kGroup * kMaxSize], score[kGroup * kThreads], partial[kGroup * kThreads];
  __shared__ float best[kGroup], factor[kGroup], total[kGroup];
  const int64_t row = blockIdx.x / stored.kv_heads, head = blockIdx.x % stored.kv_heads;
  const int64_t position = stored.lengths[row], length = position + 1, heads = stored.kv_heads * group;
  const int lane = threadIdx.x % kWarp, parts = kThreads / size, part = threadIdx.x / size, column = threadIdx.x % size;
  // No room in the pages, or no rotation known: the result is not a number, and nothing is stored.
  if (position < 0 || length > stored.table_width * stored.page || (rotation.cos && position >= rotation.rows)) {
    for (int i = threadIdx.x; i < group * size; i += kThreads) {
      out[(row * heads + head * group) * size + i] = static_cast<T>(NAN);
    }
    return;
  }
  const T* own = x + row * (heads + 2 * stored.kv_heads) * size;
  const int64_t place = stored.at(row, position, head, size);
  for (int i = threadIdx.x; i < size; i += kThreads) {  // seen by the block after the barrier below
    stored.keys[place + i] = static_cast<T>(rotation(own + (heads + head) * size, position, i, size));
    stored.values[place + i] = own[(heads + stored.kv_heads + head) * size + i];
  }
  for (int i = threadIdx.x; i < kGroup * size; i += kThreads) {
    const int g = i / size;
    const T* of_query = own + (head * group + g) * size;
    query[g * kMaxSize + i % size] = g < group ? scale * rotation(of_query, position, i % size, size) : 0.0f;
  }
  if (threadIdx.x < kGroup) {
    best[threadIdx.x] = -INFINITY;
    total[threadIdx.x] = 0.0f;
  }
  float sums[kGroup] = {0.0f};
  __syncthreads();
  for (int64_t first = 0; first < length; first += kThreads) {
    float products[kGroup];
    const bool visible = first + threadIdx.x < length;
    if (visible) {
      multiply<T, kGroup>(query, stored.keys + stored.at(row, first + threadIdx.x, head, size), size, products);
    }
#pragma unroll
    for (int g = 0; g < kGroup; ++g) score[g * kThreads + threadIdx.x] = visible ? products[g] : -INFINITY;
    __syncthreads();
    for (int g = threadIdx.x / kWarp; g < kGroup; g += kThreads / kWarp) {  // a warp for each query
      float* own = score + g * kThreads;
      const float before = best[g];
      float most = before, sum = 0.0f;
      for (int i = lane; i < kThreads; i += kWarp) most = fmaxf(most, own[i]);
      most = warp_max(most);
      for (int i = lane; i < kThreads; i += kWarp) {
        own[i] = expf(own[i] - most);
        sum += own[i];
      }
      sum = warp_sum(sum);
      if (lane == 0) {
        factor[g] = expf(before - most);
        total[g] = total[g] * factor[g] + sum;
        best[g] = most;
      }
    }
    __syncthreads();
    if (part < parts) {
#pragma unroll
      for (int g = 0; g < kGroup; ++g) sums[g] *= factor[g];
      const int64_t count = length - first < kThreads ? length - first : kThreads;
      for (int64_t i = part; i < count; i += parts) {
        const float v = static_cast<float>(stored.values[stored.at(row, first + i, head, size) + column]);
#pragma unroll
        for (int g = 0; g < kGroup; ++g) sums[g] += score[g * kThreads + i] * v;
      }
    }
    __syncthreads();
  }
  if (part < parts) {
#pragma unroll
    for (int g = 0; g < kGroup; ++g) partial[(g * parts + part) * size + column] = sums[g];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * size; i += kThreads) {
    const int g = i / size;
    float sum = 0.0f;
    for (int p = 0; p < parts; ++p) sum += partial[(g * parts + p) * size + i % size];
    out[(row * stored.kv_heads + head) * group * size + i] = static_cast<T>(sum / total[g]);
  }
}

// The kernel for at least `group` queries of a key head.
template <typename T>
auto kernel_for(int64_t group) {
  if (group <= 1) return append_attention_kernel<T, 1>;
  if (group <= 4) return append_attention_kernel<T, 4>;
  if (group <= 8) return append_attention_kernel<T, 8>;
  return append_attention_kernel<T, kMaxGroup>;
}

constexpr const char* kOp = "append_attention";

void check(const Tensor& x, int64_t heads, const Tensor& keys, const Tensor& values, const Tensor& tables,
           const Tensor& lengths, int64_t page) {
  check_plain({kOp, "x", x}, 3);
  check_plain({kOp, "keys", keys}, 3);
  check_plain({kOp, "values", values}, 3);
  check_plain({kOp, "tables", tables}, 2);
  check_plain({kOp, "lengths", lengths}, 1);
  const int64_t size = x.size(2), kv_heads = keys.size(1);
  STD_TORCH_CHECK(2 <= size && size <= kMaxSize && size % 2 == 0, kOp, ": heads of size ", size,
                  ", expected an even number of at most ", kMaxSize);
  STD_TORCH_CHECK(kv_heads > 0 && heads % kv_heads == 0 && heads / kv_heads <= kMaxGroup, kOp, ": ", heads,
                  " heads over ", kv_heads, " key heads, expected a multiple, at most ", kMaxGroup, " to each");
  check_size({kOp, "x", x}, 1, heads + 2 * kv_heads);
  check_size({kOp, "keys", keys}, 2, size);
  for (const int64_t axis : {0, 1, 2}) check_size({kOp, "values", values}, axis, keys.size(axis));
  check_size({kOp, "tables", tables}, 0, x.size(0));
  check_size({kOp, "lengths", lengths}, 0, x.size(0));
  check_type({kOp, "keys", keys}, x.scalar_type());
  check_type({kOp, "values", values}, x.scalar_type());
  check_type({kOp, "tables", tables}, ScalarType::Int);
  check_type({kOp, "lengths", lengths}, ScalarType::Long);
  STD_TORCH_CHECK(page > 0 && (page <= keys.size(0) || x.size(0) == 0), kOp, ": page is ", page, ", keys have ",
                  keys.size(0), " places");
}

Rotation rotation_of(const std::optional<Tensor>& cos, const std::optional<Tensor>& sin, int64_t size) {
  STD_TORCH_CHECK(cos.has_value() == sin.has_value(), kOp, ": cos without sin, or sin without cos");
  if (!cos.has_value()) return {nullptr, nullptr, 0};
  for (const Arg& table : {Arg{kOp, "cos", *cos}, Arg{kOp, "sin", *sin}}) {
    check_plain(table, 2);
    check_size(table, 0, cos->size(0));
    check_size(table, 1, size);
    check_type(table, ScalarType::Float);
  }
  return {data<float>(*cos), data<float>(*sin), cos->size(0)};
}

Tensor append_attention_cuda(Tensor x, int64_t heads, std::optional<Tensor> cos, std::optional<Tensor> sin, Tensor keys,
                             Tensor values, Tensor tables, Tensor lengths, int64_t page) {
  check(x, heads, keys, values, tables, lengths, page);
  const int64_t batch = x.size(0), size = x.size(2), kv_heads = keys.size(1);
  const Rotation rotation = rotation_of(cos, sin, size);
  const Guard guard(x);
  Tensor out = torch::stable::new_empty(x, {batch, heads * size});
  if (batch == 0) return out;
  with_type(kOp, x, [&](auto zero) {
    using T = decltype(zero);
    STD_TORCH_CHECK(size % Pack<T>::kCount != 0 || reinterpret_cast<uintptr_t>(data<T>(keys)) % sizeof(Pack<T>) == 0,
                    kOp, ": keys do not start at a multiple of ", sizeof(Pack<T>), " bytes");
    const Stored<T> stored{mutable_data<T>(keys),
                           mutable_data<T>(values),
                           data<int32_t>(tables),
                           data<int64_t>(lengths),
                           tables.size(1),
                           page,
                           kv_heads};
    const float scale = 1.0f / std::sqrt(static_cast<float>(size));
    launch(kOp, x, kernel_for<T>(heads / kv_heads), batch * kv_heads, kThreads, data<T>(x), rotation, stored,
           mutable_data<T>(out), heads / kv_heads, size, scale);
  });
  return out;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("append_attention", TORCH_BOX(&append_attention_cuda)); }

}  // namespace intone
