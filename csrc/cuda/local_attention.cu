// local_attention on CUDA: attention among the few rows of short sequences, which all see each other, queries and keys
// rotated on the way. A block for each query head of each sequence. Computed in float.

#include <cmath>

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 128;
constexpr int kMaxCount = 32;   // rows of a sequence
constexpr int kMaxRows = 3200;  // numbers of a head's rows, each with one more so that columns are in different banks

// One head of a sequence, rotated where there are tables, to shared memory; `pitch` numbers apart.
template <typename T>
__device__ void load(const T* x, int64_t row_stride, int count, int size, int pitch, const float* cos, const float* sin,
                     float* to) {
  const int half = size / 2;
  for (int i = threadIdx.x; i < count * half; i += kThreads) {
    const int row = i / half, pair = i % half;
    const T* own = x + row * row_stride;
    float a = static_cast<float>(own[pair]), b = static_cast<float>(own[pair + half]);
    if (cos != nullptr) {
      const float *c = cos + row * size + pair, *s = sin + row * size + pair;
      const float turned = a * c[0] + b * s[0];
      b = b * c[half] + a * s[half];
      a = turned;
    }
    to[row * pitch + pair] = a;
    to[row * pitch + pair + half] = b;
  }
}

template <typename T>
__global__ void local_attention_kernel(const T* x, const float* cos, const float* sin, T* out, int heads, int kv_heads,
                                       int size, int count, float scale) {
  __shared__ float query[kMaxRows], key[kMaxRows], value[kMaxRows], weight[kMaxCount * kMaxCount];
  const int64_t sequence = blockIdx.x / heads;
  const int head = blockIdx.x % heads, of_key = head / (heads / kv_heads), pitch = size + 1;
  const int64_t row_stride = static_cast<int64_t>(heads + 2 * kv_heads) * size;
  const T* first = x + sequence * count * row_stride;
  load(first + head * size, row_stride, count, size, pitch, cos, sin, query);
  load(first + (heads + of_key) * size, row_stride, count, size, pitch, cos, sin, key);
  load(first + (heads + kv_heads + of_key) * size, row_stride, count, size, pitch, nullptr, nullptr, value);
  __syncthreads();
  for (int i = threadIdx.x; i < count * count; i += kThreads) {
    const float *q = query + i / count * pitch, *k = key + i % count * pitch;
    float product = 0.0f;
    for (int d = 0; d < size; ++d) product += q[d] * k[d];
    weight[i] = scale * product;
  }
  __syncthreads();
  for (int row = threadIdx.x; row < count; row += kThreads) {
    float* own = weight + row * count;
    float most = own[0], total = 0.0f;
    for (int j = 1; j < count; ++j) most = fmaxf(most, own[j]);
    for (int j = 0; j < count; ++j) {
      own[j] = expf(own[j] - most);
      total += own[j];
    }
    for (int j = 0; j < count; ++j) own[j] /= total;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count * size; i += kThreads) {
    const int row = i / size, column = i % size;
    float sum = 0.0f;
    for (int j = 0; j < count; ++j) sum += weight[row * count + j] * value[j * pitch + column];
    out[((sequence * count + row) * heads + head) * size + column] = static_cast<T>(sum);
  }
}

Tensor local_attention_cuda(Tensor x, int64_t heads, Tensor cos, Tensor sin, int64_t count) {
  constexpr const char* op = "local_attention";
  check_plain({op, "x", x}, 3);
  const int64_t size = x.size(2), kv_heads = (x.size(1) - heads) / 2;
  STD_TORCH_CHECK(heads > 0 && kv_heads > 0 && x.size(1) == heads + 2 * kv_heads && heads % kv_heads == 0, op, ": ",
                  x.size(1), " heads, ", heads, " of them queries: expected a multiple of those of keys and values");
  STD_TORCH_CHECK(1 <= count && count <= kMaxCount && count * (size + 1) <= kMaxRows && size % 2 == 0, op,
                  ": sequences of ", count, " rows with heads of size ", size, ", expected at most ", kMaxCount,
                  " rows with ", kMaxRows, " numbers, and an even size");
  STD_TORCH_CHECK(x.size(0) % count == 0, op, ": x has ", x.size(0), " rows, expected a multiple of ", count);
  for (const Arg& table : {Arg{op, "cos", cos}, Arg{op, "sin", sin}}) {
    check_plain(table, 2);
    check_size(table, 1, size);
    check_type(table, ScalarType::Float);
    STD_TORCH_CHECK(table.tensor.size(0) >= count, op, ": ", table.name, " has ", table.tensor.size(0),
                    " rows, expected ", count, " or more");
  }
  const Guard guard(x);
  Tensor out = torch::stable::new_empty(x, {x.size(0), heads * size});
  if (x.size(0) == 0) return out;
  with_type(op, x, [&](auto zero) {
    using T = decltype(zero);
    launch(op, x, local_attention_kernel<T>, x.size(0) / count * heads, kThreads, data<T>(x), data<float>(cos),
           data<float>(sin), mutable_data<T>(out), heads, kv_heads, size, count,
           1.0f / std::sqrt(static_cast<float>(size)));
  });
  return out;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("local_attention", TORCH_BOX(&local_attention_cuda)); }

}  // namespace intone
