// draw_codes on CUDA: repetition penalty, temperature, top-k, top-p and the draw, a block for each row, and what
// follows from it for the state of the row's unit. The best codes are taken one after the other: every thread keeps the
// best of its own, and a round finds the best of all threads.

#include <climits>
#include <cmath>

#include "cuda/kernel.cuh"

namespace intone {
namespace {

using namespace cuda;

constexpr int kThreads = 256;
constexpr int kMaxCodes = 10240;  // whose scores fit into shared memory
constexpr int kMaxTopK = 64;
constexpr int kSettings = 5;
constexpr int kNoCode = -1;

// The state of a unit: columns of `counters`.
enum Counter { kCode, kMade, kLength, kFewest, kMost, kEnded, kCounters };

struct Candidate {
  float score;
  int code;
};

// Of equal scores the smaller code is better.
__device__ inline bool better(const Candidate& a, const Candidate& b) {
  return a.score > b.score || (a.score == b.score && a.code < b.code);
}

__device__ inline Candidate warp_best(Candidate own) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const Candidate other{__shfl_xor_sync(kAllLanes, own.score, step), __shfl_xor_sync(kAllLanes, own.code, step)};
    if (better(other, own)) own = other;
  }
  return own;
}

// The best of a thread's own codes; a code that is taken has a score that is not a number.
__device__ inline Candidate best_of_own(const float* score, int codes) {
  Candidate own{-INFINITY, INT_MAX};
  for (int code = threadIdx.x; code < codes; code += kThreads) {
    if (better({score[code], code}, own)) own = {score[code], code};
  }
  return own;
}

// Cuts by top-p and draws from what is left, by one thread. Changes the order of `best`.
__device__ int64_t draw(Candidate* best, int count, float top_p, int kept, double uniform) {
  const float most = best[0].score;
  double total = 0.0, tail = 0.0;
  for (int i = 0; i < count; ++i) total += expf(best[i].score - most);
  while (count > kept) {  // summed from the unlikely end
    tail += expf(best[count - 1].score - most);
    if (tail / total > 1.0f - top_p) break;
    --count;
  }
  for (int i = 1; i < count; ++i) {  // sorted by code
    const Candidate moved = best[i];
    int at = i;
    for (; at > 0 && best[at - 1].code > moved.code; --at) best[at] = best[at - 1];
    best[at] = moved;
  }
  total = 0.0;
  for (int i = 0; i < count; ++i) total += exp(static_cast<double>(best[i].score) - most);
  double end = 0.0;
  for (int i = 0; i < count; ++i) {
    end += exp(static_cast<double>(best[i].score) - most);
    if (end > uniform * total) return best[i].code;
  }
  return best[count - 1].code;
}

__global__ void draw_codes_kernel(const float* logits, const int64_t* slots, bool* seen, const float* settings,
                                  int64_t* counters, const double* uniforms, int64_t columns, const int64_t* column,
                                  int64_t* drawn, int codes, int stop_code, int max_top_k) {
  __shared__ float score[kMaxCodes];
  __shared__ Candidate best[kMaxTopK], of_warps[kThreads / kWarp];
  const int64_t row = blockIdx.x, slot = slots[row], place = column[0];
  int64_t* own = counters + slot * kCounters;
  if (own[kEnded] || place < 0 || place >= columns) {  // the same for all threads of the block
    if (threadIdx.x == 0) drawn[row] = kNoCode;
    return;
  }
  bool* own_seen = seen + slot * codes;
  const float* own_settings = settings + slot * kSettings;
  const float temperature = own_settings[0], top_p = own_settings[2], penalty = own_settings[3];
  const int top_k = max(1, min(static_cast<int>(own_settings[1]), max_top_k));
  const int kept = max(1, static_cast<int>(own_settings[4]));
  const int excluded = own[kMade] < own[kFewest] ? stop_code : kNoCode;
  for (int code = threadIdx.x; code < codes; code += kThreads) {
    float value = logits[row * codes + code];
    if (own_seen[code]) value = value < 0.0f ? value * penalty : value / penalty;
    score[code] = code == excluded ? -INFINITY : value / temperature;
  }
  Candidate candidate = best_of_own(score, codes);  // of what this thread has written
  for (int rank = 0; rank < top_k; ++rank) {
    const Candidate of_warp = warp_best(candidate);
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = of_warp;
    __syncthreads();
    if (threadIdx.x == 0) {
      Candidate first = of_warps[0];
      for (int warp = 1; warp < kThreads / kWarp; ++warp) {
        if (better(of_warps[warp], first)) first = of_warps[warp];
      }
      if (first.code >= codes) first = {-INFINITY, 0};  // none of the logits is a number
      best[rank] = first;
    }
    __syncthreads();
    // Not after the last: thread 0 reorders `best` then.
    if (rank + 1 < top_k && best[rank].code == candidate.code) {
      score[candidate.code] = NAN;
      candidate = best_of_own(score, codes);
    }
  }
  if (threadIdx.x != 0) return;
  const int64_t code = draw(best, top_k, top_p, kept, uniforms[row * columns + place]);
  const bool stopped = code == stop_code;
  drawn[row] = stopped ? kNoCode : code;
  own_seen[code] = true;
  if (!stopped) {
    own[kCode] = code;
    ++own[kMade];
  }
  ++own[kLength];
  own[kEnded] = stopped || own[kMade] >= own[kMost];
}

Tensor draw_codes_cuda(Tensor logits, Tensor slots, Tensor seen, Tensor settings, Tensor counters, Tensor uniforms,
                       Tensor column, int64_t stop_code, int64_t max_top_k) {
  constexpr const char* op = "draw_codes";
  check_plain({op, "logits", logits}, 2);
  check_plain({op, "slots", slots}, 1);
  check_plain({op, "uniforms", uniforms}, 2);
  check_plain({op, "column", column}, 1);
  const int64_t rows = logits.size(0), codes = logits.size(1), slot_count = seen.size(0);
  check_size({op, "slots", slots}, 0, rows);
  check_size({op, "uniforms", uniforms}, 0, rows);
  check_size({op, "column", column}, 0, 1);
  const Arg of_slots[] = {{op, "seen", seen}, {op, "settings", settings}, {op, "counters", counters}};
  const int64_t widths[] = {codes, kSettings, kCounters};
  for (int i = 0; i < 3; ++i) {
    check_plain(of_slots[i], 2);
    check_size(of_slots[i], 0, slot_count);
    check_size(of_slots[i], 1, widths[i]);
  }
  check_type({op, "logits", logits}, ScalarType::Float);
  check_type({op, "seen", seen}, ScalarType::Bool);
  check_type({op, "settings", settings}, ScalarType::Float);
  for (const Arg& whole : {Arg{op, "slots", slots}, Arg{op, "counters", counters}, Arg{op, "column", column}}) {
    check_type(whole, ScalarType::Long);
  }
  check_type({op, "uniforms", uniforms}, ScalarType::Double);
  STD_TORCH_CHECK(codes <= kMaxCodes, op, ": logits of ", codes, " codes, expected at most ", kMaxCodes);
  STD_TORCH_CHECK(1 <= max_top_k && max_top_k <= kMaxTopK && max_top_k <= codes, op, ": max_top_k is ", max_top_k,
                  ", expected 1 to ", kMaxTopK, " and no more than ", codes, " codes");
  const Guard guard(logits);
  Tensor drawn = torch::stable::empty_like(slots);
  if (rows == 0) return drawn;
  launch(op, logits, draw_codes_kernel, rows, kThreads, data<float>(logits), data<int64_t>(slots),
         mutable_data<bool>(seen), data<float>(settings), mutable_data<int64_t>(counters), data<double>(uniforms),
         uniforms.size(1), data<int64_t>(column), mutable_data<int64_t>(drawn), codes, stop_code, max_top_k);
  return drawn;
}

}  // namespace

INTONE_KERNELS(m) { m.impl("draw_codes", TORCH_BOX(&draw_codes_cuda)); }

}  // namespace intone
