// What one core of this machine can do at most: prints, as JSON, binary multiply-accumulates a
// nanosecond by XOR, count and add on registers alone, float32 ones by FMA, int8 ones by VPDPBUSD,
// and bytes a nanosecond read from memory.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "../src/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr int kChains =
    12;  // independent sums: more than latency needs, and few enough for the registers
constexpr int64_t kRounds = 1'000'000;
constexpr int kRepeats = 15;

double now_ns() {
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

#if defined(__x86_64__)

#define BOPKIT_AVX512 __attribute__((target("avx512f,avx512vnni,avx512vpopcntdq")))

// The sums are named so that each has a register; the asm statements keep the compiler from
// computing the loop beforehand, and from computing the XOR of all steps once.
#define BOPKIT_EACH(step) \
  step(a) step(b) step(c) step(d) step(e) step(f) step(g) step(h) step(i) step(j) step(k) step(l)
#define BOPKIT_KEEP(sum) __asm__ volatile("" : "+v"(sum));

BOPKIT_AVX512 double binary_macs_per_ns() {
  __m512i x = _mm512_set1_epi32(0x5a5a1234), w = _mm512_set1_epi32(0x1234567);
  __m512i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
  const double start = now_ns();
  for (int64_t round = 0; round < kRounds; ++round) {
#define BOPKIT_STEP(sum) \
  BOPKIT_KEEP(x)         \
  sum = _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(w, x)));
    BOPKIT_EACH(BOPKIT_STEP)
#undef BOPKIT_STEP
  }
  BOPKIT_EACH(BOPKIT_KEEP)
  return kRounds * kChains * 512.0 / (now_ns() - start);
}

BOPKIT_AVX512 double float_macs_per_ns() {
  __m512 x = _mm512_set1_ps(1e-9f);
  __m512 a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
  const double start = now_ns();
  for (int64_t round = 0; round < kRounds; ++round) {
    BOPKIT_KEEP(x)
#define BOPKIT_STEP(sum)            \
  sum = _mm512_fmadd_ps(x, x, sum); \
  BOPKIT_KEEP(sum)
    BOPKIT_EACH(BOPKIT_STEP)
#undef BOPKIT_STEP
  }
  BOPKIT_EACH(BOPKIT_KEEP)
  return kRounds * kChains * 16.0 / (now_ns() - start);
}

BOPKIT_AVX512 double int8_macs_per_ns() {
  __m512i x = _mm512_set1_epi8(3);
  __m512i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
  const double start = now_ns();
  for (int64_t round = 0; round < kRounds; ++round) {
    BOPKIT_KEEP(x)
#define BOPKIT_STEP(sum)                \
  sum = _mm512_dpbusd_epi32(sum, x, x); \
  BOPKIT_KEEP(sum)
    BOPKIT_EACH(BOPKIT_STEP)
#undef BOPKIT_STEP
  }
  BOPKIT_EACH(BOPKIT_KEEP)
  return kRounds * kChains * 64.0 / (now_ns() - start);
}

#endif

double bytes_per_ns() {
  static const std::vector<uint64_t> memory(size_t{1} << 25, 1);  // 256 MiB: no cache holds it
  const double start = now_ns();
  uint64_t sums[8] = {};
  for (size_t i = 0; i < memory.size(); i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += memory[i + j];
  }
  for (uint64_t& sum : sums) __asm__ volatile("" : "+r"(sum));
  return static_cast<double>(memory.size()) * 8 / (now_ns() - start);
}

// The largest of several: others may be busy on the machine.
double most(double (*measure)()) {
  double most = 0;
  for (int i = 0; i < kRepeats; ++i) {
    const double measured = measure();
    if (measured > most) most = measured;
  }
  return most;
}

}  // namespace

int main() {
  double binary = 0, floats = 0, int8 = 0;
#if defined(__x86_64__)
  if (bopkit::cpu_features().avx512) {
    binary = most(binary_macs_per_ns);
    floats = most(float_macs_per_ns);
    int8 = most(int8_macs_per_ns);
  }
#endif
  std::printf(
      "{\"binary_macs_per_ns\": %.1f, \"float_macs_per_ns\": %.1f, \"int8_macs_per_ns\": %.1f, "
      "\"bytes_per_ns\": %.2f}\n",
      binary, floats, int8, most(bytes_per_ns));
  return 0;
}
