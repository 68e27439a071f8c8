// The language model of IndexTTS with its sampling loop: GPT-2 blocks, two final norms, a head over semantic codes.
// Owns packed weights; any number of units share it, each with its own settings and state. CPU, activations float,
// weights int8, bfloat16 or float.
//
// D is the width, V the number of codes. Batch-invariant, bit for bit; independent of the number of threads.

#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cpu/linear.h"
#include "runtimes/code_sampler.h"
#include "runtimes/kv_blocks.h"

namespace intone {

struct GptSizes {
  int64_t layers, heads, start_code, stop_code;
  int64_t skipped_positions;  // between the start code's position and that of the first code
};

// The state of one unit. Used by one thread at a time.
struct GptUnit {
  KvBlocks cache;
  CodeSampler sampler;
  int64_t max_codes;
  int64_t min_codes;          // before which the stop code is excluded
  int64_t length = 0;         // positions in the cache
  int64_t made = 0;           // codes generated, without the stop code
  int64_t pending_code = -1;  // the last code, until it has been fed to the model
  bool ended = false;         // no code follows
  std::vector<float> hidden;  // [D], predicts the next code, once `pending_code` has been fed
};

class Gpt {
 public:
  // `tensors` by published name, matrices of the blocks [in, out], all float32. They are copied; linear layers are
  // packed as `type`.
  Gpt(const GptSizes& sizes, const std::map<std::string, at::Tensor>& tensors, WeightType type);

  // A new unit: prefills prefix [S, D] and the start code. `seen` as for `CodeSampler`.
  std::shared_ptr<GptUnit> begin(const at::Tensor& prefix, int64_t max_codes, const SamplingSettings& settings,
                                 const std::vector<int64_t>& seen, int64_t min_codes) const;

  struct Generated {
    at::Tensor codes;   // [n], int64
    at::Tensor hidden;  // [n, D], each the state that predicted the code
    bool ended;         // by the stop code, which is not among `codes`, or at `max_codes`
  };

  // Up to `count` more codes of each unit. uniforms [units, count], float64 in [0, 1): one number for each draw.
  std::vector<Generated> generate(const std::vector<std::shared_ptr<GptUnit>>& units, int64_t count,
                                  const at::Tensor& uniforms) const;

 private:
  struct Norm {
    at::Tensor weight, bias;  // [D]
    void apply(const float* x, float* y) const;
  };
  struct Block {
    Norm norm_1;
    Linear qkv, out;
    Norm norm_2;
    Linear up, down;
  };
  // One position of one unit.
  struct Row {
    KvBlocks* cache;
    int64_t position;
  };

  // What one call generates for one unit.
  struct Draft {
    GptUnit* unit;
    const double* uniforms;  // for the next draw
    std::vector<int64_t> codes;
    std::vector<float> hidden;
  };

  void forward(const std::vector<Row>& rows, std::vector<float>& x) const;
  void attend(Team& team, Scratch& scratch, int64_t layer, const std::vector<Row>& rows, const float* qkv,
              float* attn_out) const;
  void generate_next(const std::vector<Draft*>& drafts) const;
  void forward_pending_codes(const std::vector<Draft*>& drafts) const;
  int64_t max_codes() const { return positions_.size(0) - 1 - sizes_.skipped_positions; }
  void check_unit(const GptUnit& unit) const;
  void embed(int64_t code, int64_t position, float* x) const;
  void final_norms(const float* x, float* hidden) const;

  GptSizes sizes_;
  at::Tensor codes_, positions_;  // embeddings, [V, D] and [P, D]
  std::vector<Block> blocks_;
  std::vector<Norm> final_norms_;
  Linear head_;
  int64_t width_;
};

}  // namespace intone
