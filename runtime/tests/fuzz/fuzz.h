// The fuzzer's parts: libFuzzer's where there is one, else those of `driver.cc`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bopkit::host {

// Runs the case in `data`, if it is one, as a hostile file would be run. Returns whether it is a
// case.
bool try_case(const uint8_t* data, size_t size);

// Changes the case in `data`, in place; returns its new size. A quarter of the changes joins it
// with the case in `other`, which may be empty.
size_t mutate(uint8_t* data, size_t size, size_t most, uint32_t seed, const uint8_t* other,
              size_t other_size);

}  // namespace bopkit::host
