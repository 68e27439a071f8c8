// OpenMP's parallel regions by threads of the standard library, for an extension that ThreadSanitizer watches: it does
// not see the barriers of libgomp, and would take every access after one for a race. What the compiler calls for
// `#pragma omp parallel` and in it; the extension uses nothing else of OpenMP.

#include <thread>
#include <vector>

namespace {

thread_local int thread_number = 0, thread_count = 1;

void run_part(void (*body)(void*), void* data, int number, int count) {
  thread_number = number;
  thread_count = count;
  body(data);
  thread_number = 0;
  thread_count = 1;
}

}  // namespace

extern "C" {

void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned) {
  const int count = threads == 0 ? 2 : static_cast<int>(threads);
  std::vector<std::thread> others;
  for (int number = 1; number < count; ++number) others.emplace_back(run_part, body, data, number, count);
  run_part(body, data, 0, count);
  for (std::thread& other : others) other.join();
}

int omp_get_num_threads() { return thread_count; }

int omp_get_thread_num() { return thread_number; }
}
