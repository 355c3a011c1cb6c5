// Denormal numbers count as zero while LiteRT runs a network, and so for LCE: -1e-40 is not
// negative. LiteRT sets that up for its own thread only.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace bopkit {

// Takes denormal numbers for zero, in operands and in results, for the current thread and as long
// as it lives.
class DenormalsAreZero {
 public:
#if defined(__x86_64__)
  DenormalsAreZero() : before_(_mm_getcsr()) {
    _mm_setcsr(static_cast<unsigned>(before_) | 0x8040u);
  }
  ~DenormalsAreZero() { _mm_setcsr(static_cast<unsigned>(before_)); }
#elif defined(__aarch64__)
  DenormalsAreZero() {
    __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
    set(before_ | uint64_t{1} << 24);
  }
  ~DenormalsAreZero() { set(before_); }
#else
  DenormalsAreZero() = default;
  ~DenormalsAreZero() {}  // a statement: objects of it are never unused
#endif
  DenormalsAreZero(const DenormalsAreZero&) = delete;
  DenormalsAreZero& operator=(const DenormalsAreZero&) = delete;

 private:
#if defined(__aarch64__)
  static void set(uint64_t control) { __asm__ volatile("msr fpcr, %0" : : "r"(control)); }
#endif
#if defined(__x86_64__) || defined(__aarch64__)
  uint64_t before_ = 0;
#endif
};

}  // namespace bopkit
