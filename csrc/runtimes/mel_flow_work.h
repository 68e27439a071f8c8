// The memory of one solve of `MelFlow`, and the pieces of work that a step is divided into.

#pragma once

#include <memory>
#include <vector>

#include "runtimes/mel_flow.h"

namespace intone {

inline void check_float(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.scalar_type() == at::kFloat && tensor.device().is_cpu(), "found ", tensor.scalar_type(), " on ",
              tensor.device(), ", expected Float on cpu");
}

// Rows `first` to `first` + `count` - 1 of a sequence, by one thread.
struct MelFlow::Block {
  int64_t sequence, first, count;
  int thread;
};

// The parameters of one step.
struct MelFlow::Step {
  const float *norms, *last_norm, *gates;
  float length;
  std::vector<const CachedFrames*> cached;  // of each sequence, or none
};

struct MelFlow::Work {
  // Rows of a block: enough that reading the weights is a small part of the work, few enough for a core's cache.
  static constexpr int64_t kMaxBlockRows = 96, kMinBlockRows = 48;

  // Memory of one thread.
  struct Own {
    PackedRows packed;
    std::vector<float> wide;  // [block, widest layer]
    std::vector<float> row;
    FullAttention::Scratch attention;
  };

  // `cached` frames come before those of `rows`.
  Work(const MelFlow& flow, const at::Tensor& noise, const at::Tensor& rows, double guidance, int64_t cached);

  // Calls share(block) for all blocks of rows `first` to `last` - 1 of every sequence.
  template <typename Share>
  void split(Team& team, int64_t first, int64_t last, const Share& share);

  void pack_modulated(int thread, const float* norm, const Linear& into, const float* x, int64_t count);

  // Of a frame that is computed, `cached` and on.
  int64_t place_of(int64_t sequence, int64_t frame) const {
    return (sequence * (frames - cached) + frame - cached) * width;
  }
  float* of(std::vector<float>& rows, int64_t sequence, int64_t frame) const {
    return rows.data() + place_of(sequence, frame);
  }

  int64_t sequences, cached, frames, known, width;
  int64_t first;  // row from which on the field's end is computed: the WaveNet's context, and new frames
  int64_t block_rows;
  int threads;
  const float* condition;                        // [sequences, T - cached, D]
  float weight;                                  // of the conditional velocity, 1 - weight of the unconditional one
  float* x;                                      // [N, M], noisy frames
  std::vector<float> hidden, queries, attn_out;  // [sequences, T - cached, D]
  std::vector<std::vector<float>> skips;         // of each layer whose result is taken later, the same
  std::vector<HeadMemory> memories;              // [sequences, heads]
  std::vector<float> wave, next_wave, total;     // the same, from row `first` on: the WaveNet's input and sums
  std::vector<Own> own;                          // of each thread
};

template <typename Share>
void MelFlow::Work::split(Team& team, int64_t begin, int64_t end, const Share& share) {
  const int64_t each = (end - begin + block_rows - 1) / block_rows;
  // Blocks of equal size.
  const int64_t size = each > 0 ? (end - begin + each - 1) / each : 1;
  team.split(sequences * each, 1, [&](int64_t from, int64_t to) {
    for (int64_t block = from; block < to; ++block) {
      const int64_t at = begin + block % each * size;
      if (at < end) share(Block{block / each, at, std::min(size, end - at), team.index()});
    }
  });
}

}  // namespace intone
