// Workers take units of a task by a ticket that also numbers the task. It uses nothing else of the
// runtime but cores.h, denormals.h and unit_times.h.
#include "threads.h"

#include <algorithm>
#include <thread>

#if !defined(_WIN32)
#include <unistd.h>
#endif

#include "denormals.h"

namespace bopkit {
namespace {

// What one thread does sooner than several: handing units to workers that look out for them costs a
// microsecond or two, with what moves between their caches. To wake those that sleep costs the
// caller about 7 microseconds, and they come 20 to 50 later.
constexpr double kLeastSharedNs = 5e3, kLeastWakingNs = 20e3;

// Smaller units are handed out several at a time, but not in fewer portions than so many a thread.
constexpr double kLeastUnitNs = 2e3;
constexpr int kLeastPortions = 8;

// How long a thread looks out before it sleeps: about as long as it would take to wake it. A worker
// first stays for what lies between two steps: who yields its core to another program gets it back
// milliseconds later.
constexpr auto kLookout = std::chrono::microseconds(50);
constexpr auto kBetweenSteps = std::chrono::microseconds(10);
constexpr auto kLongestLookout = std::chrono::microseconds(200);  // for the last units of a step
constexpr int kLooksAtOnce = 64;                                  // between two looks at the clock
constexpr int kFewestLookouts = 16;  // of a worker, which may have no core for longer than kLookout

// An inference gained nothing if the longest of its threads had more than this share of the work.
constexpr double kLeastGain = 0.85;
constexpr int kFewestAloneTimes = 16, kMostAloneTimes = 256;
constexpr auto kMostAlone = std::chrono::milliseconds(250);

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

// Units of a task, `size` of them as one.
struct Portions {
  const Task& units;
  int size;

  Task task() const {
    const auto run = [](const void* context, int portion) {
      const auto& [units, size] = *static_cast<const Portions*>(context);
      const int end = std::min(units.units, (portion + 1) * size);
      for (int unit = portion * size; unit < end; ++unit) units.run(units.context, unit);
    };
    return {run, this, (units.units + size - 1) / size};
  }
};

template <typename Condition>
bool look_out(const Condition& condition) {
  for (int i = 0; i < kLooksAtOnce; ++i) {
    if (condition()) return true;
    pause();
  }
  return false;
}

}  // namespace

thread_local int ThreadPool::thread_number_ = 0;

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
  thread_number_ = ++numbered_;
  const auto is_wanted = [this] { return has_units() || is_ending_; };
  while (!is_ending_) {
    while (take_unit()) {
    }
    const auto start = Clock::now();
    for (int i = 0; !look_out(is_wanted); ++i) {
      const auto time = Clock::now() - start;
      if (i >= kFewestLookouts && time > kLookout) {
        sleep();
        break;
      }
      if (time > kBetweenSteps) std::this_thread::yield();  // the caller may wait for this core
    }
  }
}

// A task that is published meanwhile may go unnoticed: its caller runs the units itself.
void ThreadPool::sleep() {
  std::unique_lock<std::mutex> lock(mutex_);
  ++sleepers_;
  sleeping_.push_back(this_thread());
  const uint64_t wakes = wakes_;
  wake_.wait(lock, [&] { return wakes_ != wakes || is_ending_; });
  const Cores cores = cores_;
  lock.unlock();
  cores.allow();
}

// Linux often wakes a thread on the core of the one that wakes it, although others are idle, and
// moves it milliseconds later, after the inference: so they may not be on that core when they wake.
void ThreadPool::wake_sleepers() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cores_ = Cores::of_this_thread();
    for (const int64_t thread : sleeping_) cores_.keep_off_this_core(thread);
    sleeping_.clear();
    ++wakes_;
    sleepers_ = 0;
  }
  wake_.notify_all();
}

bool ThreadPool::has_units() const {
  return static_cast<uint32_t>(ticket_.load(std::memory_order_relaxed)) != 0;
}

bool ThreadPool::take_unit() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(ticket) != 0) {
    // As long as units are left the task is not over: if the ticket is still the same below, so was
    // the task here.
    const Task* task = task_.load(std::memory_order_relaxed);
    if (ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) {
      task->run(task->context, task->units - static_cast<int>(static_cast<uint32_t>(ticket)));
      // In one order with what `wait_for_workers` does: either the caller sees the last unit end, or
      // its thread sees the caller sleep.
      if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_) {
        { std::lock_guard<std::mutex> lock(mutex_); }
        finished_.notify_one();
      }
      return true;
    }
  }
  return false;
}

// Returns how many units the caller took, and whether the others came late.
int ThreadPool::run_with_workers(const Task& task, bool* is_late) {
  unfinished_.store(task.units, std::memory_order_relaxed);
  task_.store(&task, std::memory_order_relaxed);
  const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store(number << 32 | static_cast<uint32_t>(task.units), std::memory_order_release);
  if (sleepers_ != 0) wake_sleepers();
  const auto start = Clock::now();
  int taken = 0;
  while (take_unit()) ++taken;
  *is_late = !wait_for_workers(taken == 0 ? Clock::duration() : (Clock::now() - start) / taken);
  return taken;
}

// Waits for units that workers have taken, of which one takes so long. Lets nobody have its core
// while they may be at them: it would get it back later than they end. Returns whether they took no
// longer than the slower cores of a processor need for one.
bool ThreadPool::wait_for_workers(Clock::duration unit) {
  const auto is_finished = [this] { return unfinished_ == 0; };
  const auto start = Clock::now();
  const auto expected = std::max<Clock::duration>(kLookout, 4 * unit);
  do {
    if (look_out(is_finished)) return true;
  } while (Clock::now() - start < std::min<Clock::duration>(expected, kLongestLookout));
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_ = true;
  finished_.wait(lock, is_finished);
  caller_sleeps_ = false;
  return Clock::now() - start < expected;
}

ThreadPool::Session::Session(ThreadPool& pool) : pool_(pool) {}

ThreadPool::Session::~Session() {
  if (!has_pool_) return;
  const Clock::duration time = Clock::now() - start_;
  if (shared_ns_ == 0) {
    pool_.alone_left_ -= time;
  } else if (longest_ns_ <= kLeastGain * shared_ns_) {
    pool_.alone_times_ = 0;
  } else {
    pool_.alone_times_ = std::clamp(2 * pool_.alone_times_, kFewestAloneTimes, kMostAloneTimes);
    pool_.alone_left_ = std::min<Clock::duration>(pool_.alone_times_ * time, kMostAlone);
  }
  pool_.inference_.unlock();
}

bool ThreadPool::Session::take_workers() {
  if (has_pool_ || is_alone_) return !is_alone_;
  has_pool_ = pool_.is_of_this_process() && pool_.inference_.try_lock();
  if (has_pool_) start_ = Clock::now();
  is_alone_ = !has_pool_ || pool_.alone_left_ > Clock::duration();
  return !is_alone_;
}

int ThreadPool::Session::threads_for(double ns) {
  if (pool_.threads() == 1) return 1;
  if (times_ != nullptr) return ns < kLeastSharedNs ? 1 : pool_.threads();
  const double least_ns = pool_.sleepers_ == 0 ? kLeastSharedNs : kLeastWakingNs;
  return ns < least_ns || !take_workers() ? 1 : pool_.threads();
}

void ThreadPool::Session::run(const Task& task, double ns) {
  if (task.units == 1 || threads_for(ns) == 1) {
    for (int unit = 0; unit < task.units; ++unit) task.run(task.context, unit);
    return;
  }
  const int most = task.units / (kLeastPortions * pool_.threads());
  const double enough = kLeastUnitNs * task.units / ns;
  const Portions portions = {task, std::max(1, static_cast<int>(std::min<double>(most, enough)))};
  if (times_ != nullptr) {
    measure_units(portions.task());
  } else {
    share(portions.task(), ns);
  }
}

void ThreadPool::Session::share(const Task& task, double ns) {
  bool is_late;
  const int own = pool_.run_with_workers(task, &is_late);
  const double of_worker = static_cast<double>(task.units - own) / (pool_.threads() - 1);
  shared_ns_ += ns;
  longest_ns_ += ns * std::max<double>(own, of_worker) / task.units;
  if (!is_late) return;
  is_alone_ = true;  // there are more threads than cores for them
  longest_ns_ = shared_ns_;
}

void ThreadPool::Session::measure_units(const Task& task) {
  std::vector<int64_t> unit_ns;
  auto start = Clock::now();
  for (int unit = 0; unit < task.units; ++unit) {
    task.run(task.context, unit);
    const auto end = Clock::now();
    unit_ns.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(end - start).count());
    start = end;
  }
  times_->add(unit_ns);
}

}  // namespace bopkit
