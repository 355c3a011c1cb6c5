// What this machine's processor can do.
#pragma once

namespace bopkit {

struct CpuFeatures {
  bool avx2 = false;     // with FMA
  bool avx512 = false;   // F, BW, DQ, VL and VPOPCNTDQ
  bool neon = false;     // AArch64, always
  bool dotprod = false;  // AArch64's UDOT
};

// Reads the processor once. An instruction set counts only where the operating system saves its
// registers.
const CpuFeatures& cpu_features();

}  // namespace bopkit
