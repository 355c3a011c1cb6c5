// Memory that says when there is none: sizes come from files, so an allocation may fail, and must
// not end the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace bopkit {

inline constexpr size_t kAlignment = 64;  // bytes: a cache line, and the widest vector

// Bytes behind each buffer that kernels may read, and never use: the last vector of a row may reach
// over its end.
inline constexpr size_t kSlack = 256;

// Most bytes of one buffer: beyond it a file asks for more than any network needs.
inline constexpr int64_t kMaxBytes = int64_t{1} << 31;

// Zeroed bytes, aligned to `kAlignment`.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer() { std::free(block_); }

  // Holds `bytes` zeroed bytes from now on; false where there are none to be had.
  bool allocate(int64_t bytes) {
    if (bytes < 0 || bytes > kMaxBytes) return false;
    const size_t wanted = static_cast<size_t>(bytes) + kSlack;
    if (wanted > bytes_) {
      std::free(block_);
      bytes_ = 0;
      data_ = nullptr;
      block_ = std::malloc(wanted + kAlignment);
      if (block_ == nullptr) return false;
      const uintptr_t address = reinterpret_cast<uintptr_t>(block_);
      data_ = reinterpret_cast<char*>((address + kAlignment - 1) / kAlignment * kAlignment);
      bytes_ = wanted;
    }
    std::memset(data_, 0, wanted);
    return true;
  }

  size_t bytes() const { return bytes_; }  // with kSlack

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void* block_ = nullptr;
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace bopkit
