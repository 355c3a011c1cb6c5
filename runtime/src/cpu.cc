// Asks the processor and the operating system; it uses nothing else of the runtime, so that
// benchmarks/peak.cc can be built with it alone.
#include "cpu.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace bopkit {
namespace {

#if defined(__x86_64__)

// Clang's __builtin_cpu_supports answered no to AVX2 and AVX-512 where both were there, so the
// processor is asked itself.
struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf leaf(uint32_t number, uint32_t sub = 0) {
  Leaf answer;
  __cpuid_count(number, sub, answer.eax, answer.ebx, answer.ecx, answer.edx);
  return answer;
}

// Sets of registers that the operating system saves (XCR0).
uint64_t saved_registers() {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

bool bit(uint32_t word, int index) { return (word >> index & 1) != 0; }

CpuFeatures detect() {
  CpuFeatures features;
  if (leaf(0).eax < 7) return features;
  const Leaf one = leaf(1);
  const bool os_saves = bit(one.ecx, 27);  // OSXSAVE
  if (!os_saves) return features;
  const uint64_t saved = saved_registers();
  const Leaf seven = leaf(7);
  const bool ymm = (saved & 0x6) == 0x6;
  const bool zmm = (saved & 0xe6) == 0xe6;
  features.avx2 =
      ymm && bit(one.ecx, 12) && bit(one.ecx, 28) && bit(seven.ebx, 5);  // FMA, AVX, AVX2
  features.avx512 = features.avx2 && zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) &&
                    bit(seven.ebx, 30) && bit(seven.ebx, 31) && bit(seven.ecx, 11) &&
                    bit(seven.ecx, 14);  // F, DQ, BW, VL, VNNI, VPOPCNTDQ
  return features;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  CpuFeatures features;
  features.neon = true;
#if defined(__linux__)
  constexpr unsigned long kHwcapAsimdDp = 1ul << 20;
  constexpr unsigned long kHwcap2I8mm = 1ul << 13;
  features.dotprod = (getauxval(AT_HWCAP) & kHwcapAsimdDp) != 0;
  features.i8mm = features.dotprod && (getauxval(AT_HWCAP2) & kHwcap2I8mm) != 0;
#elif defined(__APPLE__)
  features.dotprod = true;  // every Apple silicon of a Mac has it
  int has_i8mm = 0;
  size_t size = sizeof has_i8mm;
  features.i8mm =
      sysctlbyname("hw.optional.arm.FEAT_I8MM", &has_i8mm, &size, nullptr, 0) == 0 && has_i8mm != 0;
#endif
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

}  // namespace bopkit
