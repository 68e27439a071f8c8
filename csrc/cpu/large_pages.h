// Memory for weights that are read from end to end for every row, in pages of 2 MiB where the system has them: with
// small pages a third of the time is spent on TLB misses.

#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace intone {

// `count` words, int32, uninitialised.
inline at::Tensor words_in_large_pages(int64_t count) {
#if defined(__linux__)
  constexpr size_t kPage = size_t{2} << 20;
  const size_t bytes = static_cast<size_t>(count) * sizeof(int32_t);
  if (bytes >= kPage) {
    void* memory = nullptr;
    if (posix_memalign(&memory, kPage, bytes) != 0) throw std::bad_alloc();
    madvise(memory, bytes, MADV_HUGEPAGE);  // a hint: without it the pages are small
    return at::from_blob(memory, {count}, [](void* held) { std::free(held); }, at::TensorOptions(at::kInt));
  }
#endif
  return at::empty({count}, at::kInt);
}

// `count` words of zeros, int32.
inline at::Tensor zeros_in_large_pages(int64_t count) {
  at::Tensor words = words_in_large_pages(count);
  std::memset(words.mutable_data_ptr(), 0, words.nbytes());
  return words;
}

// A copy of a contiguous tensor whose elements have 32 bits.
inline at::Tensor copied_to_large_pages(const at::Tensor& tensor) {
  at::Tensor words = words_in_large_pages(tensor.numel());
  std::memcpy(words.mutable_data_ptr(), tensor.const_data_ptr(), words.nbytes());
  return words.view(tensor.scalar_type()).view(tensor.sizes());
}

}  // namespace intone
