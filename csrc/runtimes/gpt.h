// The language model of IndexTTS with its sampling loop: GPT-2 blocks, two norms at the end, a head over semantic
// codes. Owns packed weights. Any number of units share it, each with its own settings and memory. CPU, activations
// float, weights int8, bfloat16 or float.
//
// D is the width, V the number of codes. What a unit is given does not depend on its company, nor on the number of
// threads.

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

// What the model remembers of one unit. One thread at a time.
struct GptUnit {
  KvBlocks cache;
  CodeSampler sampler;
  int64_t most_codes;
  int64_t least_codes;        // before which the stop code cannot come
  int64_t length = 0;         // positions read
  int64_t made = 0;           // codes, the stop code not counted
  int64_t unread = -1;        // the last code, while the model has not read it
  bool ended = false;         // no code follows
  std::vector<float> hidden;  // [D], predicts the next code, once `unread` is read
};

class Gpt {
 public:
  // `tensors` by published name, matrices of the blocks [in, out]; all float32. They are copied, those of the
  // linear layers as `type`.
  Gpt(const GptSizes& sizes, const std::map<std::string, at::Tensor>& tensors, WeightType type);

  // Reads what stands before the codes, prefix [S, D], and the start code.
  std::shared_ptr<GptUnit> begin(const at::Tensor& prefix, int64_t most_codes, const SamplingSettings& settings,
                                 const std::vector<int64_t>& seen, int64_t least_codes) const;

  struct Written {
    at::Tensor codes;   // [n], int64
    at::Tensor hidden;  // [n, D], each the state that predicted the code
    bool ended;         // by the stop code, which is not among the codes, or because `most_codes` are made
  };

  // Up to `count` more codes of each unit. uniforms [units, count], float64 in [0, 1): what the draws are made with.
  std::vector<Written> generate(const std::vector<std::shared_ptr<GptUnit>>& units, int64_t count,
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

  // What one call adds to one unit.
  struct Draft {
    GptUnit* unit;
    const double* uniforms;  // the next one
    std::vector<int64_t> codes;
    std::vector<float> hidden;
  };

  void read(const std::vector<Row>& rows, std::vector<float>& x) const;
  void attend(Team& team, int64_t layer, const std::vector<Row>& rows, const float* qkv, float* mixed) const;
  void write_next(const std::vector<Draft*>& drafts) const;
  void read_last_codes(const std::vector<Draft*>& drafts) const;
  void embed(int64_t code, int64_t position, float* x) const;
  void end_norms(const float* x, float* hidden) const;

  GptSizes sizes_;
  at::Tensor codes_, positions_;  // embeddings, [V, D] and [P, D]
  std::vector<Block> blocks_;
  std::vector<Norm> end_norms_;
  Linear head_;
  int64_t width_;
};

}  // namespace intone
