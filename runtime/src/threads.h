// Threads that share the work of one step.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#if defined(_WIN32)
#include <thread>
#else
#include <pthread.h>
#endif

#include "cores.h"
#include "unit_times.h"

namespace bopkit {

// A function over units of work: `run(context, unit)`, unit 0 to units - 1.
struct Task {
  void (*run)(const void* context, int unit);
  const void* context;
  int units;
};

// Runs units of work on several threads, the caller's among them.
//
// Units are handed out one by one, so that a thread whose core is taken away delays one unit only. A
// worker without units looks out for the next for a moment, in which it lets others of its core run,
// and then sleeps until it is woken by a step that is worth it.
//
// On a machine that has other things to do a worker may come late, take the caller's core, or lose
// its own within a unit, for longer than the whole inference takes. An inference that gained nothing
// is followed by many times its time without the workers, and twice as many each time that happens
// again: at worst, several threads take a few percent longer than one.
//
// One inference at a time has the workers: another that runs meanwhile does its units alone.
//
// A fork leaves the workers behind: in the child an inference does its units alone, and the pool
// must not be destroyed, which would wait for them (`is_of_this_process`).
class ThreadPool {
 public:
  // With fewer threads where the system has no more.
  explicit ThreadPool(int threads);
  ~ThreadPool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Of the thread that runs a unit, 0 to threads() - 1: what is kept for each thread stays in its
  // cache.
  static int thread_number() { return thread_number_; }

  // Whether the workers, if any, are threads of the process that asks.
  bool is_of_this_process() const;

  using Clock = std::chrono::steady_clock;

  // One inference.
  class Session {
   public:
    explicit Session(ThreadPool& pool);
    ~Session();

    // From now on it runs what several threads would share on one, unit by unit, and adds what each
    // takes to `times`.
    void measure(UnitTimes* times) { times_ = times; }

    // How many threads would share work for which one takes roughly so long.
    int threads_for(double ns);

    // Runs all units, handed out in their order, and returns when the last has ended. `ns` is roughly what one
    // thread takes for all of them.
    void run(const Task& task, double ns);

    template <typename Function>
    void run(int units, double ns, const Function& function) {
      const auto call = [](const void* context, int unit) {
        (*static_cast<const Function*>(context))(unit);
      };
      run(Task{call, &function, units}, ns);
    }

   private:
    bool take_workers();
    void measure_units(const Task& task);
    void share(const Task& task, double ns);

    ThreadPool& pool_;
    UnitTimes* times_ = nullptr;
    bool has_pool_ = false, is_alone_ = false;
    Clock::time_point start_;                // since it has the pool
    double shared_ns_ = 0, longest_ns_ = 0;  // of all threads together, and of the longest
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
  void sleep();
  void wake_sleepers();
  bool has_units() const;
  bool take_unit();
  int run_with_workers(const Task& task, bool* is_late);
  bool wait_for_workers(Clock::duration unit);

  static thread_local int thread_number_;

  const int64_t process_;  // that made the workers
  std::vector<Worker> workers_;
  std::atomic<int> numbered_{0};   // workers that have their number
  std::mutex inference_;           // held by the session that has the pool; of what follows
  Clock::duration alone_left_{0};  // that inferences do without the workers
  int alone_times_ = 0;            // how many times as long as the last that gained nothing

  std::mutex mutex_;  // of those who sleep
  std::condition_variable wake_, finished_;
  uint64_t wakes_ = 0;
  std::vector<int64_t> sleeping_;  // threads, until they are woken
  Cores cores_;                    // of the caller when it woke them
  std::atomic<int> sleepers_{0};   // that nobody has woken yet
  std::atomic<bool> is_ending_{false}, caller_sleeps_{false};

  // The number of the task at hand in the upper half, and how many of its units nobody has taken
  // yet in the lower one: a worker that is late for one task can take no unit of the next.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<const Task*> task_{nullptr};
  std::atomic<int> unfinished_{0};
};

}  // namespace bopkit
