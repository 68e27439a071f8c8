// A team of threads that run the same code in parallel and divide its loops among them. Waking threads costs more than
// most loops of a model take, so a runtime wakes them once and runs all its layers in one parallel region.
//
// These are OpenMP's own threads, the ones that torch computes with: no second pool competes for the cores. Loops are
// scheduled dynamically, so a descheduled thread delays the others only while it holds a piece; they do the rest, and
// it skips the finished loops when it resumes.

#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace intone {

class Team {
 public:
  // Calls body(team) on as many threads as torch is set to use, concurrently; returns when all have finished. The body
  // must not throw. Code between its loops runs on every thread, on some of them late: it may only read what no loop
  // writes.
  template <typename Body>
  static void run(const Body& body) {
    const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
    if (threads == 1) {
      Team alone(nullptr);
      return body(alone);
    }
    Progress progress;
#pragma omp parallel num_threads(threads)
    {
      Team member(&progress);
      body(member);
    }
  }

  // Calls share(begin, end) for pieces of [0, count) of at most `grain`. Every thread of the team calls this with the
  // same arguments; each claims the next free piece, and returns when all pieces are done.
  template <typename Share>
  void split(int64_t count, int64_t grain, const Share& share) {
    if (progress_ == nullptr) {
      if (count > 0) share(int64_t{0}, count);
      return;
    }
    const int64_t after = before_ + (count + grain - 1) / grain;
    for (int64_t piece = progress_->claimed.load(std::memory_order_relaxed); piece < after;) {
      if (!progress_->claimed.compare_exchange_weak(piece, piece + 1, std::memory_order_relaxed)) continue;
      const int64_t begin = (piece - before_) * grain;
      share(begin, std::min(count, begin + grain));
      progress_->done.fetch_add(1, std::memory_order_release);
      piece = progress_->claimed.load(std::memory_order_relaxed);
    }
    wait_until(after);
    before_ = after;
  }

 private:
  static constexpr int kSpins = 1000;  // about 20 µs, then yield the core

  // Pieces claimed and finished in all loops so far.
  struct Progress {
    alignas(64) std::atomic<int64_t> claimed{0};
    alignas(64) std::atomic<int64_t> done{0};
  };

  explicit Team(Progress* progress) : progress_(progress) {}

  void wait_until(int64_t pieces) const {
    for (int spin = 0; progress_->done.load(std::memory_order_acquire) < pieces; ++spin) {
      if (spin < kSpins) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
  }

  Progress* progress_;  // null for a single thread
  int64_t before_ = 0;  // pieces of the loops that this thread has completed
};

}  // namespace intone
