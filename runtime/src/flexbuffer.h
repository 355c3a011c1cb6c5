// Reads the options of LCE's operators: a FlexBuffer whose root is a map from names to integers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bopkit {

// A map in a FlexBuffer that may come from anybody: every position is checked against the buffer's
// end before it is read.
class FlexMap {
 public:
  // `is_valid` is false where the buffer is no map.
  FlexMap(const void* data, size_t size);
  bool is_valid() const { return is_valid_; }

  // The integer of that name; false where there is none, or something else than an integer.
  bool integer(const char* name, int32_t* value) const;

 private:
  bool read(uint64_t position, int width, uint64_t* value) const;
  bool step_back(uint64_t position, int width, uint64_t* target) const;
  bool key_is(uint64_t position, const char* name) const;
  bool entry(uint64_t index, int32_t* value) const;

  const uint8_t* data_;
  uint64_t size_;
  uint64_t values_ = 0, keys_ = 0, length_ = 0;
  int width_ = 0, key_width_ = 0;
  bool is_valid_ = false;
};

}  // namespace bopkit
