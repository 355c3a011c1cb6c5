// Replays cases, and changes them at random where there is no libFuzzer.
//   driver FILE...              runs each file once
//   driver --seconds N FILE...  then changes of them, as long as that; the last one tried lies in
//   crash.case
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "case.h"
#include "fuzz.h"

using namespace bopkit::host;

namespace {

constexpr size_t kMostBytes = 1 << 16;

Bytes read_file(const char* path) {
  Bytes all;
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return all;
  all.resize(kMostBytes);
  all.resize(std::fread(all.data(), 1, kMostBytes, file));
  std::fclose(file);
  return all;
}

void write_file(const char* path, const uint8_t* data, size_t size) {
  std::FILE* file = std::fopen(path, "wb");
  if (file == nullptr) return;
  std::fwrite(data, 1, size, file);
  std::fclose(file);
}

}  // namespace

int main(int count, char** words) {
  int first = 1, seconds = 0;
  if (count > 2 && std::strcmp(words[1], "--seconds") == 0) {
    seconds = std::atoi(words[2]);
    first = 3;
  }
  std::vector<Bytes> corpus;
  for (int i = first; i < count; ++i) {
    const Bytes bytes = read_file(words[i]);
    std::fprintf(stderr, "%s\n", words[i]);
    if (!try_case(bytes.data(), bytes.size())) {
      std::fprintf(stderr, "%s is no case\n", words[i]);
      return 2;
    }
    corpus.push_back(bytes);
  }
  if (corpus.empty()) return 2;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  uint32_t seed = 1;
  for (; std::chrono::steady_clock::now() < end; ++seed) {
    // From one file on, a few changes one after the other.
    Bytes bytes = corpus[seed * 2654435761u % corpus.size()];
    size_t size = bytes.size();
    bytes.resize(kMostBytes);
    const Bytes& other = corpus[seed * 40503u % corpus.size()];
    for (uint32_t i = 0; i < 8; ++i) {
      size = mutate(bytes.data(), size, kMostBytes, seed * 8 + i, other.data(),
                    i % 2 == 0 ? other.size() : 0);
      write_file("crash.case", bytes.data(), size);
      try_case(bytes.data(), size);
    }
  }
  if (seconds > 0) std::remove("crash.case");
  std::printf("%zu cases and %u changes of them without a finding\n", corpus.size(),
              (seed - 1) * 8);
  return 0;
}
