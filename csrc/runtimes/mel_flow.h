// The solver of IndexTTS's flow: noise to mel frames in one call. Euler steps over a velocity field: a bidirectional
// transformer with adaptive norms (DiT, arXiv 2212.09748) and long skips (U-ViT, arXiv 2209.12152), then a WaveNet
// (arXiv 1609.03499). Classifier-free guidance (arXiv 2207.12598). CPU, activations float; the linear layers of the
// transformer and of the WaveNet int8, bfloat16 or float, those at the field's ends float.
//
// T frames, the first P of them known and N = T - P solved for; M bands, D the width. A sequence is the T frames with
// the condition, or without it.
//
// All that a layer does with single rows is done for a block of rows at a time by one thread, whose activations stay in
// its cache. Only attention and the WaveNet's convolutions wait for other rows. A row's result depends neither on the
// blocks nor on the number of threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cpu/full_attention.h"
#include "cpu/linear.h"

namespace intone {

// Types of the weights.
struct MelFlowTypes {
  WeightType transformer, wavenet;
};

// Keys and values of the first frames of a sequence in every layer at one step, as bfloat16.
class CachedFrames {
 public:
  int64_t frames() const { return frames_; }
  int64_t nbytes() const { return words_.size() * sizeof(uint16_t); }

 private:
  friend class MelFlow;
  CachedFrames(int64_t frames, int64_t layers, int64_t heads, int64_t each)
      : frames_(frames), layers_(layers), heads_(heads), each_(each), words_(layers * heads * each) {}

  uint16_t* of(int64_t layer, int64_t head) { return words_.data() + (layer * heads_ + head) * each_; }
  const uint16_t* of(int64_t layer, int64_t head) const { return words_.data() + (layer * heads_ + head) * each_; }

  int64_t frames_, layers_, heads_, each_;
  std::vector<uint16_t> words_;  // [layers, heads, words of `HeadMemory::copy_to`]
};

class MelFlow {
 public:
  using Cached = std::vector<const CachedFrames*>;

  // The parameters of the field at E times, and the steps from each to the next.
  struct Times {
    at::Tensor norms;             // [E, 2 · layers + 1, 2, D], scale and shift: attention, feed-forward, ..., last
    at::Tensor last_norm;         // [E, 2, D], scale and shift of the layer norm behind the WaveNet
    at::Tensor gates;             // [E, layers of the WaveNet, 2D]
    std::vector<double> lengths;  // E
  };

  // `tensors`, float32, copied:
  //
  //   frames_in [D, M]
  //   layers.{i}.qkv [3D, D]       rows of queries and keys ordered as cos and sin rotate them
  //   layers.{i}.out [D, D], .gate_up [2F, D], .down [D, F]
  //   layers.{i}.skip.weight [D, 2D], .bias [D]     where the layer takes the result of an earlier one
  //   cos, sin [positions, D / heads]               the first half of sin negated
  //   wavenet_in.weight [D, D + M], .bias [D], and around_wavenet of the same shapes
  //   wavenet.{i}.conv [2D, K · D]                  oldest tap first
  //   wavenet.{i}.residual.weight [D, D], .bias [D] but for the last layer; .skip of the same shapes
  //   frames_out.weight [M, D], .bias [M]
  //
  // `dilations` are those of the WaveNet's layers.
  MelFlow(int64_t heads, const std::vector<int64_t>& dilations, const std::map<std::string, at::Tensor>& tensors,
          const MelFlowTypes& types, Isa isa);

  // noise [N, M] to mel frames [N, M]. `rows` [1, T, D], all inputs of the field but the noisy frames; or [2, T, D]
  // with those of the unconditional sequence, where the velocity is (1 + g) · conditional - g · unconditional.
  //
  // `cached`, nothing or one for each sequence and step, [sequences · E]: as many frames of each, which come before
  // those of `rows`. They are seen as they were when they were cached: no new frame changes them. They end before
  // the frames whose WaveNet's result a new frame depends on.
  at::Tensor solve(const at::Tensor& noise, const at::Tensor& rows, double guidance, const Times& times,
                   const Cached& cached) const;

  // The first `frames`, a multiple of 16, of a sequence of known frames, rows [P, D], at a time whose norms are
  // [2 · layers + 1, 2, D]. They attend to all P.
  CachedFrames cache(const at::Tensor& rows, int64_t frames, const at::Tensor& norms) const;

 private:
  struct Layer {
    Linear qkv, out, gate_up, down;
    std::optional<Linear> skip;
    int64_t skipped_from;  // the layer whose result `skip` takes
    bool is_taken;         // by the skip of a later layer
  };
  struct GatedConv {
    Linear conv;
    std::optional<Linear> residual;
    Linear skip;
    int64_t dilation, padding;
    int64_t padding_after;  // of all later layers
  };
  struct Work;
  struct Block;
  struct Step;
  class Tensors;

  void read_layers(const Tensors& tensors, WeightType type);
  void read_convs(const Tensors& tensors, const std::vector<int64_t>& dilations, WeightType type);
  void check_inputs(const at::Tensor& noise, const at::Tensor& rows, const Times& times) const;
  void check_cached(const at::Tensor& noise, const at::Tensor& rows, const Times& times, const Cached& cached) const;
  void step(Team& team, Work& work, const Step& step) const;
  void project_all(Team& team, Work& work, const Step& step, size_t layer) const;
  void load_cached(Team& team, Work& work, const Step& step, size_t layer) const;
  void embed(Work& work, const Block& block) const;
  void project(Work& work, const Step& step, size_t layer, const Block& block) const;
  void attend(Team& team, Work& work, int64_t first) const;
  void finish(Work& work, const Step& step, size_t layer, const Block& block) const;
  void enter_wavenet(Work& work, const Step& step, const Block& block) const;
  void convolve(Work& work, const Step& step, size_t layer, const Block& block) const;
  void advance(Work& work, const Step& step, const Block& block) const;

  int64_t heads_, width_, bands_, feed_forward_;
  Linear frames_in_;
  std::vector<Layer> layers_;
  at::Tensor cos_, sin_;
  Linear wavenet_in_, around_wavenet_;
  std::vector<GatedConv> convs_;
  Linear frames_out_;
  FullAttention attention_;
};

}  // namespace intone
