// Which code comes next for one unit: penalty, temperature, cuts, then a draw. float32 as in the Python original.

#pragma once

#include <cstdint>
#include <vector>

namespace intone {

struct SamplingSettings {
  float temperature;  // 0: the likeliest code that the penalty leaves
  int64_t top_k;      // 0: all
  float top_p;
  float penalty;
  int64_t least;  // codes that stay whatever the cuts say
};

class CodeSampler {
 public:
  // `seen`: codes that count as made before the first one.
  CodeSampler(const SamplingSettings& settings, int64_t codes, const std::vector<int64_t>& seen);

  // The code that `uniform`, in [0, 1), points at; from then on it counts as made. logits [codes]. `barred` is a code
  // that cannot come this time, -1 for none.
  int64_t draw(const float* logits, double uniform, int64_t barred);

 private:
  struct Candidate {
    float score;
    int64_t code;
  };

  void rank(const float* logits, int64_t barred);
  void cut();
  int64_t pick(double uniform);

  SamplingSettings settings_;
  std::vector<char> seen_;
  std::vector<Candidate> kept_;  // of the last draw
};

}  // namespace intone
