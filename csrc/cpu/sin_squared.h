// sin² in a form that compilers vectorize, for the snake activations.

#pragma once

#include "cpu/attributes.h"

namespace intone {

// sin² has period π: reduce to [-π/2, π/2], take an odd polynomial for the sine (error 5e-9), square it. π is split so
// that multiples of its first two parts are exact up to 2^15 periods; beyond, αx itself is no longer exact enough to
// matter. The limit, a little past π/2 because a rounded count of periods can miss by a little, keeps the result near
// [0, 1] where the rounding trick ends (2^22 periods); it lets NaN through.
template <typename T>
INTONE_INLINE T sin_squared(const T& y) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2^23: adding it drops the fraction
  constexpr float kInvPi = 0.318309886f, kPi1 = 3.140625f, kPi2 = 0x1.fbp-11f, kPi3 = 6.278329465e-7f;
  constexpr float kLimit = 1.6f;
  const T n = (y * kInvPi + kRound) - kRound;
  T r = ((y - n * kPi1) - n * kPi2) - n * kPi3;
  r = r > kLimit ? kLimit : r;
  r = r < -kLimit ? -kLimit : r;
  const T u = r * r;
  const T sine = r + r * u * (-0.166666567f + u * (8.33301712e-3f + u * (-1.98066147e-4f + u * 2.60005481e-6f)));
  return sine * sine;
}

}  // namespace intone
