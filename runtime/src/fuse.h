// Fuses operators of LiteRT's graph into steps: arithmetic, activations and bit-packing join the
// step that computes their operand, and a convolution joins the pool that alone reads it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operators.h"
#include "step.h"
#include "step_context.h"
#include "tflite_abi.h"

namespace bopkit {

// Turns `ops`, in the order in which they run, into steps in the same order, and adds the values
// that these read and write to `shared`. False, with the reason in `error`, where they cannot run.
bool fuse(abi::Context* context, const std::vector<Op>& ops, const abi::DelegateParams& params,
          const Constants& constants, StepContext* shared,
          std::vector<std::unique_ptr<Step>>* steps, std::string* error);

}  // namespace bopkit
