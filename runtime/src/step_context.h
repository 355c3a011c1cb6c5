// What the steps of a partition share while they are made, get ready and run. Steps know this, and
// not the partition that they belong to.
#pragma once

#include <vector>

#include "kernels.h"
#include "value.h"

namespace bopkit {

struct StepContext {
  const Kernels& kernels;
  int threads;  // that share a step
  std::vector<Value> values = {};

  Value& value(int index) { return values[index]; }
  const Value& value(int index) const { return values[index]; }

  // Whether a value lies in memory of LiteRT's.
  bool is_held_by_litert(int index) const {
    const Value& value = values[index];
    return value.alias_of >= 0 ? is_held_by_litert(value.alias_of)
                               : value.is_input || value.is_output;
  }

  // The value that holds the memory of a view, or of a view of a view.
  Value& owner_of_view(int index) {
    Value& value = values[index];
    return value.is_view ? owner_of_view(value.alias_of) : value;
  }
};

}  // namespace bopkit
