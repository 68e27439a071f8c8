// The solver of VoxCPM's conditional flow with its diffusion transformer: noise to patch in one call. Euler steps,
// classifier-free guidance with the optimised scale of CFG-Zero* (arXiv 2503.18886). CPU, float activations.
//
// B patches of P frames with D numbers; H is the transformer's width.

#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "runtimes/transformer.h"

namespace intone {

class LocalFlow {
 public:
  // `frames_in` from D to H, `frames_out` from H to D.
  LocalFlow(std::shared_ptr<Transformer> stack, Linear frames_in, Linear frames_out);

  // noise [B, P, D] to patches [B, P, D]. What stays the same: `wish` [B, W, H] and `before` [B, P, H]. Each
  // evaluation has a time [H], a row of `times` [E, H], which is added to the wish where W is 1 and stands after it
  // otherwise, and the length of the step that follows. `guidance` [B] weighs the wish; nothing means 1 for all.
  at::Tensor solve(const at::Tensor& noise, const at::Tensor& wish, const at::Tensor& before, const at::Tensor& times,
                   const std::vector<double>& lengths, const std::optional<at::Tensor>& guidance) const;

 private:
  // What a solution is made of, all contiguous.
  struct Given {
    int64_t patches, frames, wishes, rows, length;  // rows: twice the patches with guidance; length: tokens of a row
    const float *wish, *before, *guidance;
  };

  void place_tokens(Team& team, const Given& given, const float* time, const float* frames, float* tokens) const;
  void advance(Team& team, const Given& given, const float* velocity, float length, float* x) const;

  std::shared_ptr<Transformer> stack_;
  Linear frames_in_, frames_out_;
};

}  // namespace intone
