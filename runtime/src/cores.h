// On which cores threads run. It knows Linux; elsewhere nothing happens.
#pragma once

#include <cstdint>

namespace bopkit {

int64_t this_thread();  // as the system numbers it

// Cores that a thread may run on.
class Cores {
 public:
  static Cores of_this_thread();

  // Lets another thread, which had these cores, run on all but the one that this thread is on.
  void keep_off_this_core(int64_t thread) const;
  // Lets this thread run on all of them again.
  void allow() const;

 private:
  static constexpr int kMostCores = 1024;  // as many as the system's own type has
  uint64_t bits_[kMostCores / 64] = {};
  int count_ = 0;
};

}  // namespace bopkit
