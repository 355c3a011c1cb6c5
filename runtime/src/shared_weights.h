// Packed weights that all interpreters of a model have in common.
#pragma once

#include <memory>

#include "memory.h"

namespace bopkit {

// A buffer with the bytes of `packed`, which nobody may change any more: of those who still hold equal
// bytes, or else `packed` itself, also where another thread looks for its own at this moment. Threads that each run an interpreter of one model so read the same
// weights, which then lie once in a cache that their cores share.
std::shared_ptr<const Buffer> share_weights(Buffer packed);

}  // namespace bopkit
