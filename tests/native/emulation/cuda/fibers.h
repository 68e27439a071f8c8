// The threads of a block as fibers of one thread of the system: each runs until it waits at a barrier.

#pragma once

#include <torch/headeronly/util/Exception.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace intone::emulation {

struct Index {
  unsigned x = 0;
};

constexpr int kWarpSize = 32;
constexpr size_t kStackBytes = 1 << 17;

inline thread_local Index thread_index, block_index, block_size, grid_size;

struct Barrier {
  int expected = 0;
  int arrived = 0;
  unsigned passed = 0;  // how often all have arrived
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack = std::make_unique<char[]>(kStackBytes);
  const Barrier* barrier = nullptr;  // that it waits at
  unsigned passed = 0;               // of the barrier, when it came
  bool done = false;

  bool can_run() const { return !done && (barrier == nullptr || barrier->passed != passed); }
};

// A block that is running.
struct Block {
  explicit Block(int threads) : all{threads}, fibers(threads), exchanged(threads) {
    for (int first = 0; first < threads; first += kWarpSize) warps.push_back({std::min(kWarpSize, threads - first)});
  }

  Barrier all;
  std::vector<Barrier> warps;
  std::vector<Fiber> fibers;
  std::vector<uint64_t> exchanged;
  const std::function<void()>* body = nullptr;
  ucontext_t scheduler;
};

inline thread_local Block* block = nullptr;

// What each thread gives in an exchange.
inline std::vector<uint64_t>& exchanged() { return block->exchanged; }

inline void wait_at(Barrier& barrier) {
  if (++barrier.arrived == barrier.expected) {
    barrier.arrived = 0;
    ++barrier.passed;
    return;
  }
  Fiber& own = block->fibers[thread_index.x];
  own.barrier = &barrier;
  own.passed = barrier.passed;
  swapcontext(&own.context, &block->scheduler);
}

inline void sync_block() { wait_at(block->all); }
inline void sync_warp() { wait_at(block->warps[thread_index.x / kWarpSize]); }

inline void run_fiber() {
  (*block->body)();
  block->fibers[thread_index.x].done = true;
}

inline void run_blocks(unsigned blocks, int threads, const std::function<void()>& body) {
  Block running(threads);
  running.body = &body;
  block = &running;
  block_size.x = threads;
  grid_size.x = blocks;
  for (unsigned index = 0; index < blocks; ++index) {
    block_index.x = index;
    for (Fiber& fiber : running.fibers) {
      fiber.done = false;
      fiber.barrier = nullptr;
      getcontext(&fiber.context);
      fiber.context.uc_stack.ss_sp = fiber.stack.get();
      fiber.context.uc_stack.ss_size = kStackBytes;
      fiber.context.uc_link = &running.scheduler;
      makecontext(&fiber.context, run_fiber, 0);
    }
    for (bool moved = true; moved;) {
      moved = false;
      for (int thread = 0; thread < threads; ++thread) {
        if (!running.fibers[thread].can_run()) continue;
        running.fibers[thread].barrier = nullptr;
        thread_index.x = thread;
        swapcontext(&running.scheduler, &running.fibers[thread].context);
        moved = true;
      }
    }
    for (const Fiber& fiber : running.fibers) {
      STD_TORCH_CHECK(fiber.done, "a thread waits at a barrier that others never reach");
    }
  }
}

}  // namespace intone::emulation
