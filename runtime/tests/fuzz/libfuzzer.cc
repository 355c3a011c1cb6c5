// What libFuzzer calls.
#include <cstring>

#include "fuzz.h"

using namespace bopkit::host;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return try_case(data, size) ? 0 : -1;  // what is no case does not join the corpus
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned seed) {
  if (seed % 32 == 0) return LLVMFuzzerMutate(data, size, most);
  return mutate(data, size, most, seed, nullptr, 0);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* a, size_t a_size, const uint8_t* b,
                                            size_t b_size, uint8_t* out, size_t most,
                                            unsigned seed) {
  if (a_size > most) return 0;
  std::memcpy(out, a, a_size);
  return mutate(out, a_size, most, seed, b, b_size);
}
