// AArch64, without and with the dot product instructions. Processors with I8MM take the latter too:
// a matrix instruction sums eight counts into each of four numbers, but wants words of two pixels
// and two channels side by side, and saves no instruction over UDOT for it.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <cstddef>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

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
BOPKIT_TARGET("+dotprod")
#endif
#define BOPKIT_HAS_DOT
#include "kernels_neon.inl.h"
BOPKIT_TARGET_END

}  // namespace dot
}  // namespace

const Kernels kNeonKernels = {"neon",
                              plain::is_supported,
                              true,
                              plain::kPacking,
                              plain::kPacking,
                              plain::binary_rows,
                              plain::float_rows,
                              plain::float_epilogue,
                              plain::max_row,
                              plain::add_row,
                              plain::add_rows,
                              plain::depthwise_row};

const Kernels kNeonDotKernels = {"neon_dot",      dot::is_supported,   true,
                                 dot::kPacking,   dot::kPacking,       dot::binary_rows,
                                 dot::float_rows, dot::float_epilogue, dot::max_row,
                                 dot::add_row,    dot::add_rows,       dot::depthwise_row};

}  // namespace bopkit

#endif
