// Draws the next code of one unit: repetition penalty, temperature, top-k and top-p, then a draw. float32, as in the
// Python reference.

#pragma once

#include <cstdint>
#include <vector>

namespace intone {

struct SamplingSettings {
  float temperature;           // 0 and up; 0: greedy, the best code after the penalty
  int64_t top_k;               // 0 and up; 0: all
  float top_p;                 // over 0, up to 1
  float penalty;               // over 0
  int64_t min_tokens_to_keep;  // 1 and up, that top_k and top_p never cut
};

class CodeSampler {
 public:
  // `seen`: codes that the penalty applies to from the first draw on, each 0 to `codes` - 1. Throws c10::Error for
  // another one, and for settings out of range.
  CodeSampler(const SamplingSettings& settings, int64_t codes, const std::vector<int64_t>& seen);

  // The code that `uniform`, in [0, 1), selects; the penalty applies to it from then on. logits [codes]. `excluded` is
  // a code that this draw cannot return, -1 for none.
  int64_t draw(const float* logits, double uniform, int64_t excluded);

  int64_t codes() const { return static_cast<int64_t>(seen_.size()); }

 private:
  struct Candidate {
    float score;
    int64_t code;
  };

  void rank(const float* logits, int64_t excluded);
  void cut();
  int64_t select(double uniform);

  SamplingSettings settings_;
  std::vector<char> seen_;
  std::vector<Candidate> candidates_;  // candidates of the last draw
};

}  // namespace intone
