// Threads that share the work of one step.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#if defined(_WIN32)
#include <thread>
#else
#include <pthread.h>
#endif

namespace bopkit {

// A function over units of work: `run(context, unit)`.
struct Task {
  void (*run)(const void* context, int unit);
  const void* context;
};

// Runs units of work on several threads, the caller's among them.
//
// Units are handed out one by one, so that a thread whose core is taken away delays one unit only:
// on a busy machine the caller does the work of the others. Workers are woken once an inference
// (`Session`), by its first step that is worth it, and spin between its steps, which are too short
// to sleep between; outside of an inference they sleep. One inference at a time has the workers:
// another that runs meanwhile does its units alone.
//
// A fork leaves the workers behind: in the child an inference does its units alone, and the pool
// must not be destroyed, which would wait for them (`is_of_this_process`).
class ThreadPool {
 public:
  // With fewer threads where the system has no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Whether the workers, if any, are threads of the process that asks.
  bool is_of_this_process() const;

  // One inference.
  class Session {
   public:
    explicit Session(ThreadPool& pool);
    ~Session();

    // Runs all units, in any order, and returns when the last has ended. With `is_small` the caller
    // runs them alone.
    void run(int units, bool is_small, const Task& task);

    template <typename Function>
    void run(int units, bool is_small, const Function& function) {
      run(units, is_small,
          Task{
              [](const void* context, int unit) { (*static_cast<const Function*>(context))(unit); },
              &function});
    }

   private:
    bool wake_workers();

    ThreadPool& pool_;
    bool has_workers_ = false, is_refused_ = false;
  };

 private:
  // Without exceptions std::thread ends the process where no thread is to be had.
#if defined(_WIN32)
  using Worker = std::thread;
#else
  using Worker = pthread_t;
#endif

  bool add_worker();
  void work();
  bool take_unit();
  void share(int units, const Task& task);

  const int64_t process_;  // that made the workers
  std::vector<Worker> workers_;
  std::mutex inference_;  // held by the session that has the workers
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> is_awake_{false}, is_ending_{false};

  // The number of the task at hand in the upper half, and how many of its units nobody has taken
  // yet in the lower one: a worker that is late for one task can take no unit of the next.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<const Task*> task_{nullptr};
  std::atomic<int> done_{0};
};

}  // namespace bopkit
