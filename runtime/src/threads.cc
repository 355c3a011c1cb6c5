// Workers take units of a task by a ticket that also numbers the task. It uses nothing else of the
// runtime but denormals.h.
#include "threads.h"

#include <thread>

#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "denormals.h"

namespace bopkit {
namespace {

constexpr int kSpins = 256;  // looks at the ticket before a thread lets others of its core run

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Where processes cannot fork, one number does for all.
int64_t this_process() {
#if defined(_WIN32)
  return 0;
#else
  return getpid();
#endif
}

template <typename Condition>
void spin_until(const Condition& condition) {
  for (int spins = 0; !condition(); ++spins) {
    pause();
    if (spins % kSpins == kSpins - 1) std::this_thread::yield();
  }
}

}  // namespace

ThreadPool::ThreadPool(int threads) : process_(this_process()) {
  workers_.reserve(static_cast<size_t>(threads));
  for (int i = 1; i < threads && add_worker(); ++i) {
  }
}

bool ThreadPool::is_of_this_process() const {
  return workers_.empty() || process_ == this_process();
}

bool ThreadPool::add_worker() {
#if defined(_WIN32)
  workers_.emplace_back([this] { work(); });
#else
  const auto work_in = [](void* pool) -> void* {
    static_cast<ThreadPool*>(pool)->work();
    return nullptr;
  };
  Worker worker;
  if (pthread_create(&worker, nullptr, work_in, this) != 0) return false;
  workers_.push_back(worker);
#endif
  return true;
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    is_ending_ = true;
  }
  wake_.notify_all();
  for (Worker& worker : workers_) {
#if defined(_WIN32)
    worker.join();
#else
    pthread_join(worker, nullptr);
#endif
  }
}

void ThreadPool::work() {
  const DenormalsAreZero mode;
  while (!is_ending_) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return is_awake_ || is_ending_; });
    }
    spin_until([this] {
      while (take_unit()) {
      }
      return !is_awake_ || is_ending_;
    });
  }
}

bool ThreadPool::take_unit() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket) != 0) {
    // As long as units are left the task is not over: if the ticket is still the same below, so was
    // the task here.
    const Task* task = task_.load(std::memory_order_relaxed);
    if (ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) {
      task->run(task->context, static_cast<int>(static_cast<uint32_t>(ticket) - 1));
      done_.fetch_add(1, std::memory_order_release);
      return true;
    }
  }
  return false;
}

void ThreadPool::share(int units, const Task& task) {
  done_.store(0, std::memory_order_relaxed);
  task_.store(&task, std::memory_order_relaxed);
  const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store(number << 32 | static_cast<uint32_t>(units), std::memory_order_release);
  while (take_unit()) {
  }
  spin_until([this, units] { return done_.load(std::memory_order_acquire) == units; });
}

ThreadPool::Session::Session(ThreadPool& pool) : pool_(pool) {}

ThreadPool::Session::~Session() {
  if (!has_workers_) return;
  pool_.is_awake_ = false;
  pool_.inference_.unlock();
}

bool ThreadPool::Session::wake_workers() {
  if (has_workers_ || is_refused_) return has_workers_;
  if (pool_.workers_.empty() || !pool_.is_of_this_process() || !pool_.inference_.try_lock()) {
    is_refused_ = true;
    return false;
  }
  has_workers_ = true;
  {
    std::lock_guard<std::mutex> lock(pool_.mutex_);
    pool_.is_awake_ = true;
  }
  pool_.wake_.notify_all();
  return true;
}

void ThreadPool::Session::run(int units, bool is_small, const Task& task) {
  if (units > 1 && !is_small && wake_workers()) {
    pool_.share(units, task);
    return;
  }
  for (int unit = 0; unit < units; ++unit) task.run(task.context, unit);
}

}  // namespace bopkit
