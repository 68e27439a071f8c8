// Convolution in one dimension with fewer multiplications (Toom-Cook; for neural networks arXiv 1509.09308,
// "Winograd").
//
// M outputs of R taps g over inputs x, y[i] = Σ g[r] · x[i + r], take N = M + R - 1 multiplications instead of M · R:
//
//   y = output · ((weights · g) ∘ (input · x))      output [M, N], weights [N, R], input [N, N], x [N]
//
// A tap or an input stands for a whole matrix or row of channels here, so the product ∘ is a matrix product for each of
// the N points, and the transforms are cheap beside it. The points are infinity and small numbers; with seven of them
// rounding errors are four times those of the plain sums.

#pragma once

namespace intone {

template <int M, int R>
struct ToomCook {
  static constexpr int kPoints = M + R - 1, kFinite = kPoints - 1;

  double output[M][kPoints] = {}, weights[kPoints][R] = {}, input[kPoints][kPoints] = {};

  constexpr ToomCook() {
    constexpr double kAt[] = {0, 1, -1, 2, -2, 0.5};
    static_assert(kFinite <= 6);
    for (int p = 0; p < kFinite; ++p) {
      double power = 1, divisor = 1;  // the others' product of differences
      for (int j = 0; j < kFinite; ++j) divisor *= j == p ? 1 : kAt[p] - kAt[j];
      for (int k = 0; k < (M > R ? M : R); ++k, power *= kAt[p]) {
        if (k < M) output[k][p] = power;
        if (k < R) weights[p][k] = power / divisor;
      }
      set_product(kAt, p, input[p]);
    }
    output[M - 1][kFinite] = weights[kFinite][R - 1] = 1;
    set_product(kAt, kFinite, input[kFinite]);
    for (int p = 0; p < kPoints; ++p) balance(p);
  }

 private:
  // Coefficients of Π (z - at[j]) over the finite points except `skipped`.
  static constexpr void set_product(const double* at, int skipped, double* coefficients) {
    coefficients[0] = 1;
    for (int j = 0, degree = 0; j < kFinite; ++j) {
      if (j == skipped) continue;
      ++degree;
      for (int k = degree; k >= 0; --k) {
        coefficients[k] = (k ? coefficients[k - 1] : 0) - at[j] * (k < degree ? coefficients[k] : 0);
      }
    }
  }

  // Moves a power of two from the inputs of a point to its weights, so that the inputs stay of their size.
  constexpr void balance(int p) {
    double largest = 0, scale = 1;
    for (double value : input[p]) largest = value > largest ? value : -value > largest ? -value : largest;
    while (largest * scale > 1.5) scale /= 2;
    while (largest * scale <= 0.75) scale *= 2;
    for (double& value : input[p]) value *= scale;
    for (double& value : weights[p]) value /= scale;
  }
};

template <int M, int R>
constexpr ToomCook<M, R> kToomCook{};

}  // namespace intone
