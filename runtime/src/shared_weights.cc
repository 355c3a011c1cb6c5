#include "shared_weights.h"

#include <cstdint>
#include <cstring>
#include <mutex>
#include <unordered_map>

namespace bopkit {
namespace {

uint64_t hash_of(const Buffer& buffer) {
  uint64_t hash = buffer.bytes();
  for (size_t i = 0; i + sizeof hash <= buffer.bytes(); i += sizeof hash) {
    uint64_t word;
    std::memcpy(&word, buffer.as<char>() + i, sizeof word);
    hash = (hash ^ word) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  }
  return hash;
}

bool are_equal(const Buffer& a, const Buffer& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.as<char>(), b.as<char>(), a.bytes()) == 0;
}

}  // namespace

std::shared_ptr<const Buffer> share_weights(Buffer packed) {
  const uint64_t hash = hash_of(packed);
  const auto own = std::make_shared<const Buffer>(std::move(packed));
  // Never destroyed: interpreters may outlive what the program's end destroys.
  static std::mutex& mutex = *new std::mutex;
  static auto& held = *new std::unordered_multimap<uint64_t, std::weak_ptr<const Buffer>>;
  // In a forked child it may be locked for ever, by a thread that the child has not got.
  const std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  if (!lock) return own;
  for (auto [each, end] = held.equal_range(hash); each != end; ++each) {
    if (const auto other = each->second.lock(); other != nullptr && are_equal(*own, *other)) {
      return other;
    }
  }
  for (auto each = held.begin(); each != held.end();) {
    each = each->second.expired() ? held.erase(each) : std::next(each);
  }
  held.emplace(hash, own);
  return own;
}

}  // namespace bopkit
