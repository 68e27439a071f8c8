// The past of a streaming convolution: rows that a unit keeps in its slot. A kernel reads them, and writes the next
// ones to a buffer beside the slots, because other blocks of the kernel may still read the old ones.

#pragma once

#include <optional>

#include "cuda/kernel.cuh"

namespace intone::cuda {

// `rows` rows of C channels for each unit, from number `first` of its slot on.
struct Tail {
  const float* slots;  // [slots, width]
  const int64_t* of;   // [B], the slot of each unit
  float* after;        // [B, width]
  int64_t width;
  int64_t first;
  int64_t rows;
  int64_t slot_count;

  // A slot out of range reads as zeros, so that nothing outside the buffer is read.
  __device__ float before(int64_t unit, int64_t at) const {
    const int64_t slot = of[unit];
    return 0 <= slot && slot < slot_count ? slots[slot * width + first + at] : 0.0f;
  }

  __device__ void keep(int64_t unit, int64_t at, float value) const { after[unit * width + first + at] = value; }
};

inline Tail tail_of(const char* op, const Tensor& x, const Tensor& tails, const Tensor& slots, int64_t first,
                    const Tensor& after, int64_t rows) {
  check_plain({op, "x", x}, 3);
  check_plain({op, "tails", tails}, 2);
  check_plain({op, "slots", slots}, 1);
  check_plain({op, "after", after}, 2);
  for (const Arg& given : {Arg{op, "x", x}, Arg{op, "tails", tails}, Arg{op, "after", after}}) {
    check_type(given, ScalarType::Float);
  }
  check_type({op, "slots", slots}, ScalarType::Long);
  check_size({op, "slots", slots}, 0, x.size(0));
  check_size({op, "after", after}, 0, x.size(0));
  check_size({op, "after", after}, 1, tails.size(1));
  const int64_t width = tails.size(1), count = rows * x.size(2);
  STD_TORCH_CHECK(rows >= 0 && first >= 0 && first <= width && count <= width - first, op, ": ", count,
                  " numbers of past from ", first, " on, tails have ", width);
  return {data<float>(tails), data<int64_t>(slots), mutable_data<float>(after), width, first, rows, tails.size(0)};
}

// x + sin²(αx) / (α + 1e-9).
__device__ inline float snake(float x, float alpha) {
  const float sine = sinf(alpha * x);
  return x + sine * sine / (alpha + 1e-9f);
}

// The numbers of a vector of channels, or null where there is none.
inline const float* channels_of(const char* op, const char* name, const std::optional<Tensor>& vector,
                                int64_t channels) {
  if (!vector.has_value()) return nullptr;
  const Arg arg{op, name, *vector};
  check_plain(arg, 1);
  check_size(arg, 0, channels);
  check_type(arg, ScalarType::Float);
  return data<float>(*vector);
}

}  // namespace intone::cuda
