// Walks a FlexBuffer without trust in it. It uses nothing else of the runtime.
#include "flexbuffer.h"

#include <cstring>
#include <limits>

namespace bopkit {
namespace {

// FlexBuffer types, the upper six bits of a type byte; the lower two are the logarithm of the width
// in bytes.
enum FlexType { kInt = 1, kUInt = 2, kIndirectInt = 6, kIndirectUInt = 7, kMap = 9, kBool = 26 };

constexpr int width_of(uint8_t packed) { return 1 << (packed & 3); }

int64_t sign_extend(uint64_t value, int width) {
  const int shift = 64 - 8 * width;
  return static_cast<int64_t>(value << shift) >> shift;
}

}  // namespace

FlexMap::FlexMap(const void* data, size_t size)
    : data_(static_cast<const uint8_t*>(data)), size_(data == nullptr ? 0 : size) {
  // The last byte is the width of the root, the one before it its type, and before them stands the
  // root: for a map, how far back its values begin. In front of those are their number, the keys'
  // width and how far back the keys are.
  if (size_ < 3) return;
  const int root_width = data_[size_ - 1];
  const uint8_t type = data_[size_ - 2];
  if ((root_width != 1 && root_width != 2 && root_width != 4 && root_width != 8) ||
      type >> 2 != kMap) {
    return;
  }
  if (size_ < 2 + static_cast<uint64_t>(root_width)) return;
  width_ = width_of(type);
  const uint64_t header = 3 * static_cast<uint64_t>(width_);
  uint64_t keys_width;
  if (!step_back(size_ - 2 - root_width, root_width, &values_) || values_ < header) return;
  if (!read(values_ - width_, width_, &length_) ||
      !read(values_ - 2 * width_, width_, &keys_width)) {
    return;
  }
  if (keys_width != 1 && keys_width != 2 && keys_width != 4 && keys_width != 8) return;
  key_width_ = static_cast<int>(keys_width);
  if (!step_back(values_ - header, width_, &keys_)) return;
  // Behind the values stands one type byte each.
  if (length_ > size_ || values_ + length_ * (width_ + 1) > size_ ||
      keys_ + length_ * keys_width > size_) {
    return;
  }
  is_valid_ = true;
}

bool FlexMap::read(uint64_t position, int width, uint64_t* value) const {
  if (position > size_ || size_ - position < static_cast<uint64_t>(width)) return false;
  *value = 0;
  for (int i = 0; i < width; ++i) *value |= uint64_t{data_[position + i]} << (8 * i);
  return true;
}

bool FlexMap::step_back(uint64_t position, int width, uint64_t* target) const {
  uint64_t offset;
  if (!read(position, width, &offset) || offset > position) return false;
  *target = position - offset;
  return true;
}

bool FlexMap::key_is(uint64_t position, const char* name) const {
  const size_t bytes = std::strlen(name) + 1;
  return position <= size_ && size_ - position >= bytes &&
         std::memcmp(data_ + position, name, bytes) == 0;
}

bool FlexMap::entry(uint64_t index, int32_t* value) const {
  uint64_t position = values_ + index * width_;
  const uint8_t packed = data_[values_ + length_ * width_ + index];
  const int type = packed >> 2;
  int width = width_;
  if (type == kIndirectInt || type == kIndirectUInt) {
    if (!step_back(position, width, &position)) return false;
    width = width_of(packed);
  } else if (type != kInt && type != kUInt && type != kBool) {
    return false;
  }
  uint64_t bits;
  if (!read(position, width, &bits)) return false;
  const bool is_signed = type == kInt || type == kIndirectInt;
  const int64_t wide = is_signed ? sign_extend(bits, width) : static_cast<int64_t>(bits);
  if (wide < std::numeric_limits<int32_t>::min() || wide > std::numeric_limits<int32_t>::max()) {
    return false;
  }
  *value = static_cast<int32_t>(wide);
  return true;
}

bool FlexMap::integer(const char* name, int32_t* value) const {
  if (!is_valid_) return false;
  for (uint64_t i = 0; i < length_; ++i) {
    uint64_t key;
    if (!step_back(keys_ + i * key_width_, key_width_, &key)) return false;
    if (key_is(key, name)) return entry(i, value);
  }
  return false;
}

}  // namespace bopkit
