// A few threads that go through the same code side by side and share out its loops. Waking threads costs more than most
// loops of a model take, so a runtime wakes them once and runs all its layers within.
//
// They are OpenMP's own threads, the ones that torch computes with: no second pool competes for the cores. Nobody waits
// for a thread that another process keeps from its core, unless it has begun a piece of work: the others do the rest,
// and it catches up when it comes back.

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
  // Calls body(team) on as many threads as torch is set to use, all at once; returns when every one is through. The
  // body must not throw. What it does between its loops is done by every thread, by some of them late: it may only
  // read what no loop writes.
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

  // Calls share(begin, end) for pieces of 0 to count - 1 of at most `grain`. Every thread of the team calls this with
  // the same numbers; each takes the next piece that is left, and goes on when all pieces are done.
  template <typename Share>
  void split(int64_t count, int64_t grain, const Share& share) {
    if (progress_ == nullptr) {
      if (count > 0) share(int64_t{0}, count);
      return;
    }
    const int64_t after = before_ + (count + grain - 1) / grain;
    for (int64_t piece = progress_->taken.load(std::memory_order_relaxed); piece < after;) {
      if (!progress_->taken.compare_exchange_weak(piece, piece + 1, std::memory_order_relaxed)) continue;
      const int64_t begin = (piece - before_) * grain;
      share(begin, std::min(count, begin + grain));
      progress_->done.fetch_add(1, std::memory_order_release);
      piece = progress_->taken.load(std::memory_order_relaxed);
    }
    wait_until(after);
    before_ = after;
  }

 private:
  static constexpr int kSpins = 1000;  // some twenty microseconds, then others may have the core

  // Pieces of all loops so far.
  struct Progress {
    alignas(64) std::atomic<int64_t> taken{0};
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

  Progress* progress_;  // null where there is one thread
  int64_t before_ = 0;  // pieces of the loops that this thread has gone through
};

}  // namespace intone
