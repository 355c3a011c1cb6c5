// Runs tasks on a pool of more threads than there are cores: thread-pool THREADS ROUNDS.
// Built with ThreadSanitizer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

#include "threads.h"

using bopkit::ThreadPool;

namespace {

constexpr double kWorthSharing = 1e6;  // nanoseconds

std::atomic<int> by_workers{0};

// Runs tasks of 1 to 40 units in inferences of several tasks; how many units did not run once.
int run_tasks(ThreadPool& pool, int tasks) {
  int wrong = 0;
  const std::thread::id caller = std::this_thread::get_id();
  for (int first = 0; first < tasks; first += 8) {
    ThreadPool::Session session(pool);
    for (int task = first; task < first + 8; ++task) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(task % 40 + 1));
      session.run(static_cast<int>(runs.size()), kWorthSharing, [&](int unit) {
        for (volatile int i = 0; i < 100 * unit;) i = i + 1;
        if (std::this_thread::get_id() != caller) ++by_workers;
        runs[static_cast<size_t>(unit)].fetch_add(1, std::memory_order_relaxed);
      });
      for (const std::atomic<int>& each : runs) wrong += each == 1 ? 0 : 1;
    }
  }
  return wrong;
}

// Milliseconds on processors of the whole process, while this thread sleeps for 200.
double idle_ms() {
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until all workers do
  const std::clock_t start = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  return 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int count, char** words) {
  if (count != 3) return 2;
  std::atomic<int> wrong{0};
  double most_idle_ms = 0;
  for (int round = 0; round < std::atoi(words[2]); ++round) {
    ThreadPool pool(std::atoi(words[1]));  // that has not yet learned to do without its workers
    wrong += run_tasks(pool, 80);
    // Two inferences at once, of which one has the workers.
    std::thread other([&] { wrong += run_tasks(pool, 80); });
    wrong += run_tasks(pool, 80);
    other.join();
    if (round % 20 == 0) most_idle_ms = std::max(most_idle_ms, idle_ms());
  }
  std::printf("%d units wrong, %d by workers, %.1f ms on processors while idle\n", wrong.load(),
              by_workers.load(), most_idle_ms);
  return wrong == 0 && most_idle_ms < 20 ? 0 : 1;
}
