// What the steps of int8 share: one output of int8 and no epilogue.
#pragma once

#include "step.h"

namespace bopkit {

class Int8Step : public PlainStep {
 public:
  using PlainStep::PlainStep;

 protected:
  // Calls `function(image, y)` for each row of a value, whose numbers take one thread so long each.
  template <typename Function>
  void for_rows(const Value& value, double number_ns, ThreadPool::Session& session,
                const Function& function) {
    const double ns = static_cast<double>(value.pixels()) * value.c * number_ns;
    session.run(value.n * value.h, ns, [&](int unit) { function(unit / value.h, unit % value.h); });
  }
};

}  // namespace bopkit
