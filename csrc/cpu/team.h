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
#include <exception>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace intone {

class Team {
 public:
  // Threads of a team that starts now: as many as torch is set to use.
  static int available_threads() { return at::in_parallel_region() ? 1 : std::max(1, at::get_num_threads()); }

  // Calls body(team) on up to `threads` threads, concurrently; returns when all have finished. Code between its loops
  // runs on every thread, on some of them late: it may only read what no loop writes. The first exception of the body
  // ends it on all threads and is thrown here.
  template <typename Body>
  static void run(int threads, const Body& body) {
    if (threads == 1) {
      Team alone(nullptr, 0);
      return body(alone);
    }
    Progress progress;
#pragma omp parallel num_threads(threads)
    {
      Team member(&progress, omp_get_thread_num());
      member.keep_exception([&] { body(member); });
    }
    if (progress.failed.load()) std::rethrow_exception(progress.exception);
  }

  template <typename Body>
  static void run(const Body& body) {
    run(available_threads(), body);
  }

  // The index of this thread, from 0 to the team's threads - 1.
  int index() const { return index_; }

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
      keep_exception([&] { share(begin, std::min(count, begin + grain)); });
      progress_->done.fetch_add(1, std::memory_order_release);
      piece = progress_->claimed.load(std::memory_order_relaxed);
    }
    wait_until(after);
    before_ = after;
    if (progress_->failed.load(std::memory_order_relaxed)) throw Ended();
  }

 private:
  struct Ended {};  // leaves the body after an exception of another piece

  static constexpr int kSpins = 1000;  // about 20 µs, then yield the core

  // Pieces claimed and finished in all loops so far, and the first exception.
  struct Progress {
    alignas(64) std::atomic<int64_t> claimed{0};
    alignas(64) std::atomic<int64_t> done{0};
    alignas(64) std::atomic<bool> failed{false};
    std::exception_ptr exception;  // written by the thread that sets `failed`, read after the region
  };

  Team(Progress* progress, int index) : progress_(progress), index_(index) {}

  // Calls `part`, unless the team has failed. An exception may not leave a parallel region, and the other threads wait
  // for this one's pieces: it is kept for `run`.
  template <typename Part>
  void keep_exception(const Part& part) noexcept {
    if (progress_->failed.load(std::memory_order_relaxed)) return;
    try {
      part();
    } catch (...) {
      if (!progress_->failed.exchange(true)) progress_->exception = std::current_exception();
    }
  }

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
  int index_;
  int64_t before_ = 0;  // pieces of the loops that this thread has completed
};

// Scratch memory for each thread of a team, allocated before it starts, in whole cache lines.
class Scratch {
 public:
  Scratch(int threads, int64_t floats) : floats_((floats + 15) / 16 * 16), memory_(threads * floats_) {}

  float* of(const Team& team) { return memory_.data() + team.index() * floats_; }

 private:
  int64_t floats_;
  std::vector<float> memory_;
};

}  // namespace intone
