// Anti-aliased SnakeBeta activation of BigVGAN with gradients, for training on a CPU.
//
// Activations are rows of T samples. A row is doubled in rate, activated and halved again. Even and odd samples of the
// doubled row are kept apart, so that every loop runs over adjacent values.

#include <ATen/Parallel.h>
#include <torch/library.h>

#include <vector>

#include "../snake.h"

namespace intone {
namespace {

constexpr int64_t kTaps = 12, kHalf = kTaps / 2;
constexpr int64_t kPad = 8;  // at least the reach of the filters on either side

struct Taps {
  float even[kHalf], odd[kHalf];  // taps 0, 2, … and 1, 3, …
  explicit Taps(const Tensor& taps) {
    const float* given = data(taps);
    for (int64_t j = 0; j < kHalf; ++j) even[j] = given[2 * j], odd[j] = given[2 * j + 1];
  }
};

// A row with room for samples before its start and after its end.
struct Row {
  std::vector<float> values;
  explicit Row(int64_t length) : values(length + 2 * kPad) {}
  float* begin() { return values.data() + kPad; }
  void pad(int64_t length, float before, float after) {
    std::fill_n(values.data(), kPad, before);
    std::fill_n(begin() + length, kPad, after);
  }
};

struct Rows {
  int64_t length;
  Row x, even, odd, even_grad, odd_grad;
  explicit Rows(int64_t count) : length(count), x(count), even(count), odd(count), even_grad(count), odd_grad(count) {}

  // The doubled row.
  void upsample(const float* from, const Taps& taps) {
    std::copy_n(from, length, x.begin());
    x.pad(length, from[0], from[length - 1]);
    const float* in = x.begin();
    float *e = even.begin(), *o = odd.begin();
#pragma GCC ivdep
    for (int64_t t = 0; t < length; ++t) {
      float a = 0, b = 0;
      for (int64_t j = 0; j < kHalf; ++j) {
        a += taps.odd[kHalf - 1 - j] * in[t - 3 + j];
        b += taps.even[kHalf - 1 - j] * in[t - 2 + j];
      }
      e[t] = 2 * a, o[t] = 2 * b;
    }
  }

  void forward(const float* from, float* to, float alpha, float inverse, const Taps& taps) {
    upsample(from, taps);
    float *e = even.begin(), *o = odd.begin();
#pragma GCC ivdep
    for (int64_t t = 0; t < length; ++t) {
      e[t] += sines(alpha * e[t]).squared * inverse;
      o[t] += sines(alpha * o[t]).squared * inverse;
    }
    even.pad(length, e[0], o[length - 1]);
    odd.pad(length, e[0], o[length - 1]);
#pragma GCC ivdep
    for (int64_t t = 0; t < length; ++t) {
      float sum = 0;
      for (int64_t j = 0; j < kHalf; ++j) sum += taps.odd[j] * e[t - 2 + j] + taps.even[j] * o[t - 3 + j];
      to[t] = sum;
    }
  }

  // Writes the gradient of x; returns those of alpha and of the inverse of beta.
  std::pair<float, float> backward(const float* from, const float* grad, float* to, float alpha, float inverse,
                                   const Taps& taps) {
    upsample(from, taps);
    std::copy_n(grad, length, x.begin());
    x.pad(length, 0, 0);
    const float* g = x.begin();
    float *ge = even_grad.begin(), *go = odd_grad.begin(), *e = even.begin(), *o = odd.begin();
    float before = 0, after = 0;
    for (int64_t i = 1; i <= 4; ++i) before += around(g, -i, taps), after += around(g, length - 1 + i, taps);
#pragma GCC ivdep
    for (int64_t s = 0; s < length; ++s) {
      float a = 0, b = 0;
      for (int64_t j = 0; j < kHalf; ++j) a += taps.odd[j] * g[s + 2 - j], b += taps.even[j] * g[s + 3 - j];
      ge[s] = a, go[s] = b;
    }
    ge[0] += before, go[length - 1] += after;
    float alpha_sum = 0, inverse_sum = 0;
#pragma GCC ivdep
    for (int64_t t = 0; t < length; ++t) {
      const Sines p = sines(alpha * e[t]), q = sines(alpha * o[t]);
      alpha_sum += (ge[t] * e[t] * p.doubled + go[t] * o[t] * q.doubled) * inverse;
      inverse_sum += ge[t] * p.squared + go[t] * q.squared;
      ge[t] *= 1 + alpha * inverse * p.doubled, go[t] *= 1 + alpha * inverse * q.doubled;
    }
    even_grad.pad(length, 0, 0);
    odd_grad.pad(length, 0, 0);
    for (int64_t i = 0; i < length; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < kHalf; ++j) {
        sum += taps.odd[kHalf - 1 - j] * ge[i + 3 - j] + taps.even[kHalf - 1 - j] * go[i + 2 - j];
      }
      to[i] = 2 * sum;
    }
    for (int64_t i = 1; i <= 4; ++i) {
      to[0] += 2 * outside(-i, taps), to[length - 1] += 2 * outside(length - 1 + i, taps);
    }
    return {alpha_sum, inverse_sum};
  }

 private:
  float inside(const float* g, int64_t at, float tap) const { return at < 0 || at >= length ? 0 : tap * g[at]; }

  // The gradient of the repeated samples, even and odd, at `s` outside of the doubled row.
  float around(const float* g, int64_t s, const Taps& taps) const {
    float sum = 0;
    for (int64_t j = 0; j < kHalf; ++j) sum += inside(g, s + 2 - j, taps.odd[j]) + inside(g, s + 3 - j, taps.even[j]);
    return sum;
  }

  // The gradient of the repeated sample at `i`, outside of the row.
  float outside(int64_t i, const Taps& taps) {
    float sum = 0;
    for (int64_t j = 0; j < kHalf; ++j) {
      sum += inside(even_grad.begin(), i + 3 - j, taps.odd[kHalf - 1 - j]);
      sum += inside(odd_grad.begin(), i + 2 - j, taps.even[kHalf - 1 - j]);
    }
    return sum;
  }
};

void check(const Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.scalar_type() == torch::kFloat, name, ": expected contiguous float32");
}

// x [B, C, T]; alpha and the inverse of beta [C].
Tensor activation_forward(const Tensor& x, const Tensor& alpha, const Tensor& inverse, const Tensor& filter) {
  check(x, "x"), check(alpha, "alpha"), check(inverse, "inverse"), check(filter, "filter");
  const Taps taps(filter);
  const int64_t channels = x.size(1), length = x.size(2);
  Tensor out = torch::empty_like(x);
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0) * channels, 1, [&](int64_t first, int64_t last) {
    Rows rows(length);
    for (int64_t r = first; r < last; ++r) {
      const int64_t c = r % channels;
      rows.forward(data(x) + r * length, to + r * length, data(alpha)[c], data(inverse)[c], taps);
    }
  });
  return out;
}

std::vector<Tensor> activation_backward(const Tensor& x, const Tensor& alpha, const Tensor& inverse,
                                        const Tensor& filter, const Tensor& grad) {
  check(x, "x"), check(grad, "grad");
  const Taps taps(filter);
  const int64_t channels = x.size(1), length = x.size(2), count = x.size(0) * channels;
  Tensor out = torch::empty_like(x), sums = torch::empty({2, count});
  float *to = out.mutable_data_ptr<float>(), *total = sums.mutable_data_ptr<float>();
  at::parallel_for(0, count, 1, [&](int64_t first, int64_t last) {
    Rows rows(length);
    for (int64_t r = first; r < last; ++r) {
      const int64_t c = r % channels, at = r * length;
      std::tie(total[r], total[count + r]) =
          rows.backward(data(x) + at, data(grad) + at, to + at, data(alpha)[c], data(inverse)[c], taps);
    }
  });
  const Tensor channel_sums = sums.view({2, x.size(0), channels}).sum(1);
  return {out, channel_sums[0], channel_sums[1]};
}

}  // namespace
}  // namespace intone

TORCH_LIBRARY(intone_anti_alias, m) {
  using namespace intone;
  m.def("activation_forward(Tensor x, Tensor alpha, Tensor inverse, Tensor filter) -> Tensor", activation_forward);
  m.def(
      "activation_backward(Tensor x, Tensor alpha, Tensor inverse, Tensor filter, Tensor grad) -> Tensor[]",
      activation_backward);
}
