// The low-pass filter of the anti-aliased activations, for CPU and CUDA: a Kaiser-windowed sinc of 12 taps with cutoff
// 1/4 and transition 0.3 of the rate. `server/ops/reference.py` computes the same numbers.

#pragma once

namespace intone {

constexpr int kTaps = 12;
constexpr float kTap0 = 2.0289664498962428e-3f, kTap1 = 9.3894639440678804e-3f, kTap2 = -2.5543464065294664e-2f,
                kTap3 = -5.7657375475364960e-2f, kTap4 = 1.2857260908132878e-1f, kTap5 = 4.4320980006536675e-1f;
// Symmetric: tap k is tap 11 - k.

}  // namespace intone
