// rope and rope_append on CUDA: rotary position embedding of queries and keys, a block for each row; the second also
// stores keys and values. Computed in float.

#include <cmath>

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;

// Where keys and values of a row go. `keys` is null for `rope`.
template <typename T>
struct Store {
  T* keys;
  T* values;
  const int64_t* places;
  int64_t queries;  // heads of queries, before those of keys
  int64_t kv_heads;
  int64_t rows;  // of `keys` and `values`
};

template <typename T>
__global__ void rope_kernel(const T* x, const float* cos, const float* sin, int64_t table_rows,
                            const int64_t* positions, T* rotated, int64_t all_heads, int64_t heads, int64_t size,
                            Store<T> store) {
  const int64_t row = blockIdx.x, half = size / 2, position = positions[row] * size;
  const int64_t place = store.keys == nullptr ? 0 : store.places[row];
  // A position or a place out of range: the result is not a number, and nothing is stored.
  if (positions[row] < 0 || positions[row] >= table_rows || place < 0 || (store.keys && place >= store.rows)) {
    for (int64_t i = threadIdx.x; i < heads * size; i += blockDim.x) {
      rotated[row * heads * size + i] = static_cast<T>(NAN);
    }
    return;
  }
  const T* own = x + row * all_heads * size;
  const int64_t stored = place * store.kv_heads * size;
  for (int64_t i = threadIdx.x; i < heads * half; i += blockDim.x) {
    const int64_t head = i / half, pair = i % half, first = head * size + pair, second = first + half;
    const float a = static_cast<float>(own[first]), b = static_cast<float>(own[second]);
    const T turned_a = static_cast<T>(a * cos[position + pair] + b * sin[position + pair]);
    const T turned_b = static_cast<T>(b * cos[position + pair + half] + a * sin[position + pair + half]);
    rotated[row * heads * size + first] = turned_a;
    rotated[row * heads * size + second] = turned_b;
    if (store.keys != nullptr && head >= store.queries) {
      store.keys[stored + first - store.queries * size] = turned_a;
      store.keys[stored + second - store.queries * size] = turned_b;
    }
  }
  if (store.keys == nullptr) return;
  for (int64_t i = threadIdx.x; i < store.kv_heads * size; i += blockDim.x) {
    store.values[stored + i] = own[heads * size + i];
  }
}

void check(const char* op, const Tensor& x, int64_t heads, const Tensor& cos, const Tensor& sin,
           const Tensor& positions) {
  check_plain({op, "x", x}, 3);
  check_plain({op, "cos", cos}, 2);
  check_plain({op, "sin", sin}, 2);
  check_plain({op, "positions", positions}, 1);
  STD_TORCH_CHECK(0 <= heads && heads <= x.size(1) && x.size(2) % 2 == 0, op, ": ", heads, " of ", x.size(1),
                  " heads of size ", x.size(2), ", expected no more than there are, and an even size");
  for (const Arg& table : {Arg{op, "cos", cos}, Arg{op, "sin", sin}}) {
    check_size(table, 1, x.size(2));
    check_size(table, 0, cos.size(0));
    check_type(table, ScalarType::Float);
  }
  check_size({op, "positions", positions}, 0, x.size(0));
  check_type({op, "positions", positions}, ScalarType::Long);
}

template <typename T>
Tensor run(const char* op, const Tensor& x, int64_t heads, const Tensor& cos, const Tensor& sin,
           const Tensor& positions, const Store<T>& store) {
  Tensor rotated = torch::stable::new_empty(x, {x.size(0), heads, x.size(2)});
  if (x.size(0) > 0) {
    launch(op, x, rope_kernel<T>, x.size(0), kThreads, data<T>(x), data<float>(cos), data<float>(sin), cos.size(0),
           data<int64_t>(positions), mutable_data<T>(rotated), x.size(1), heads, x.size(2), store);
  }
  return rotated;
}

Tensor rope_cuda(Tensor x, int64_t heads, Tensor cos, Tensor sin, Tensor positions) {
  check("rope", x, heads, cos, sin, positions);
  const Guard guard(x);
  Tensor rotated;
  with_type("rope", x, [&](auto zero) {
    using T = decltype(zero);
    rotated = run<T>("rope", x, heads, cos, sin, positions, Store<T>{nullptr, nullptr, nullptr, 0, 0, 0});
  });
  return rotated;
}

Tensor rope_append_cuda(Tensor x, int64_t heads, Tensor cos, Tensor sin, Tensor positions, Tensor places, Tensor keys,
                        Tensor values) {
  constexpr const char* op = "rope_append";
  check_plain({op, "keys", keys}, 3);
  check_plain({op, "values", values}, 3);
  check_plain({op, "places", places}, 1);
  const int64_t kv_heads = keys.size(1);
  check(op, x, heads + kv_heads, cos, sin, positions);
  check_size({op, "x", x}, 1, heads + 2 * kv_heads);
  check_size({op, "keys", keys}, 2, x.size(2));
  for (const int64_t axis : {0, 1, 2}) check_size({op, "values", values}, axis, keys.size(axis));
  check_size({op, "places", places}, 0, x.size(0));
  check_type({op, "places", places}, ScalarType::Long);
  for (const Arg& stored : {Arg{op, "keys", keys}, Arg{op, "values", values}}) check_type(stored, x.scalar_type());
  const Guard guard(x);
  Tensor rotated;
  with_type(op, x, [&](auto zero) {
    using T = decltype(zero);
    const Store<T> store{mutable_data<T>(keys), mutable_data<T>(values), data<int64_t>(places), heads, kv_heads,
                         keys.size(0)};
    rotated = run<T>(op, x, heads + kv_heads, cos, sin, positions, store);
  });
  return rotated;
}

}  // namespace

INTONE_KERNELS(m) {
  m.impl("rope", TORCH_BOX(&rope_cuda));
  m.impl("rope_append", TORCH_BOX(&rope_append_cuda));
}

}  // namespace intone
