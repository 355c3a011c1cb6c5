// AArch64: every processor, those with dot products, and those that multiply matrices of int8. For
// binary products SMMLA saves nothing over UDOT: it wants words of two pixels and two channels side
// by side.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

// Where it is not unrolled, a loop over parts of a tile takes these through memory.
#define BOPKIT_UNROLL _Pragma("GCC unroll 16")
#define BOPKIT_FOR_TILE \
  BOPKIT_UNROLL for (int p = 0; p < pixels; ++p) BOPKIT_UNROLL for (int v = 0; v < 4; ++v)

namespace bopkit {

namespace {
namespace plain {

bool is_supported() { return cpu_features().neon; }

#include "kernels_neon.inl.h"

}  // namespace plain

namespace dot {

bool is_supported() { return cpu_features().dotprod; }

#if defined(__clang__)
BOPKIT_TARGET("dotprod")
#else
BOPKIT_TARGET("arch=armv8.2-a+dotprod")
#endif
#define BOPKIT_HAS_DOT
#include "kernels_neon.inl.h"
BOPKIT_TARGET_END

}  // namespace dot

namespace i8mm {

bool is_supported() { return cpu_features().i8mm; }

#if defined(__clang__)
BOPKIT_TARGET("dotprod,i8mm")
#else
BOPKIT_TARGET("arch=armv8.2-a+dotprod+i8mm")
#endif
#define BOPKIT_HAS_I8MM
#include "kernels_neon.inl.h"
BOPKIT_TARGET_END

}  // namespace i8mm
}  // namespace

#define BOPKIT_KERNELS(name, of, ...)                                                              \
  {                                                                                                \
    name, of::is_supported, true, of::kBinaryPacking, of::kPacking, of::kInt8Packing, 0,           \
        of::binary_gemm, of::float_gemm, of::mixed_gemm, of::int8_gemm, of::end_integers,          \
        of::end_all_floats, BOPKIT_COMMON_KERNELS(of::), of::depthwise_floats, of::depthwise_int8, \
        __VA_ARGS__                                                                                \
  }

const Kernels kNeonKernels = BOPKIT_KERNELS("neon", plain, 60, 8, 16);
const Kernels kNeonDotKernels = BOPKIT_KERNELS("neon_dot", dot, 120, 8, 50);
const Kernels kNeonI8mmKernels = BOPKIT_KERNELS("neon_i8mm", i8mm, 120, 8, 90);

}  // namespace bopkit

#endif
