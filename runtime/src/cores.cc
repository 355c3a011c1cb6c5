// Asks Linux, and tells it.
#include "cores.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#endif

namespace bopkit {

#if defined(__linux__)

int64_t this_thread() { return syscall(SYS_gettid); }

Cores Cores::of_this_thread() {
  Cores cores;
  cpu_set_t set;
  static_assert(sizeof set <= sizeof cores.bits_, "as many cores as the system counts");
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  std::memcpy(cores.bits_, &set, sizeof set);
  cores.count_ = CPU_COUNT(&set);
  return cores;
}

void Cores::keep_off_this_core(int64_t thread) const {
  const int core = sched_getcpu();
  if (core < 0 || core >= CPU_SETSIZE || count_ < 2) return;
  cpu_set_t set;
  std::memcpy(&set, bits_, sizeof set);
  CPU_CLR(core, &set);
  if (CPU_COUNT(&set) > 0) sched_setaffinity(static_cast<pid_t>(thread), sizeof set, &set);
}

void Cores::allow() const {
  cpu_set_t set;
  std::memcpy(&set, bits_, sizeof set);
  if (count_ >= 2) sched_setaffinity(0, sizeof set, &set);
}

#else

int64_t this_thread() { return 0; }
Cores Cores::of_this_thread() { return {}; }
void Cores::keep_off_this_core(int64_t) const {}
void Cores::allow() const {}

#endif

}  // namespace bopkit
