// What this machine's processor can do.
#pragma once

namespace bopkit {

struct CpuFeatures {
  bool avx2 = false;     // with FMA
  bool avx512 = false;   // F, BW, DQ, VL, VNNI and VPOPCNTDQ
  bool neon = false;     // AArch64, always
  bool dotprod = false;  // AArch64's SDOT and UDOT
  bool i8mm = false;     // and SMMLA
};

// Reads the processor once. An instruction set counts only where the operating system saves its
// registers.
const CpuFeatures& cpu_features();

}  // namespace bopkit
