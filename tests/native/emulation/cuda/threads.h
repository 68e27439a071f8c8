// The threads of a block as threads of the system, a barrier for each block and one for each warp.

#pragma once

#include <algorithm>
#include <barrier>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace intone::emulation {

struct Index {
  unsigned x = 0;
};

constexpr int kWarpSize = 32;

inline thread_local Index thread_index, block_index, block_size, grid_size;

// A block that is running.
struct Block {
  explicit Block(int threads) : all(threads), exchanged(threads) {
    for (int first = 0; first < threads; first += kWarpSize) {
      warps.push_back(std::make_unique<std::barrier<>>(std::min(kWarpSize, threads - first)));
    }
  }

  std::barrier<> all;
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  std::vector<uint64_t> exchanged;
};

inline thread_local Block* block = nullptr;

// What each thread gives in an exchange.
inline std::vector<uint64_t>& exchanged() { return block->exchanged; }

inline void sync_block() { block->all.arrive_and_wait(); }
inline void sync_warp() { block->warps[thread_index.x / kWarpSize]->arrive_and_wait(); }

inline void run_blocks(unsigned blocks, int threads, const std::function<void()>& body) {
  Block running(threads);
  std::vector<std::thread> started;
  for (int thread = 0; thread < threads; ++thread) {
    started.emplace_back([&, thread] {
      block = &running;
      thread_index.x = thread;
      block_size.x = threads;
      grid_size.x = blocks;
      for (unsigned index = 0; index < blocks; ++index) {
        block_index.x = index;
        body();
        running.all.arrive_and_wait();  // shared memory is free for the next block
      }
    });
  }
  for (std::thread& thread : started) thread.join();
}

}  // namespace intone::emulation
