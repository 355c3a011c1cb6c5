// What the delegate runs in place of a set of operators: steps, their values, and the memory of
// these. It may use all below it; only delegate.cc uses it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "operators.h"
#include "step.h"
#include "step_context.h"
#include "tflite_abi.h"
#include "threads.h"

namespace bopkit {

// What a partition measures: nothing, its steps, or also what threads would share of each, run by one
// (`UnitTimes`).
enum class Profile { kNone, kSteps, kUnits };

// Operators that LiteRT runs as one node: steps over values, in order.
//
// `build` fuses operators into steps, from what does not change. `prepare` follows each change of
// the inputs' shapes: it computes all shapes, lays the values out and lets each step get ready.
// `run` is one inference.
class Partition {
 public:
  Partition(const Kernels& kernels, ThreadPool& pool, Profile profile);
  ~Partition();

  bool build(abi::Context* context, const std::vector<Op>& ops, const abi::DelegateParams& params,
             const Constants& constants);
  bool prepare(abi::Context* context);
  bool run(abi::Context* context);

  const std::string& error() const { return error_; }
  // Number of LiteRT's operators that it replaces.
  int nodes() const { return nodes_; }

  std::string describe() const;

 private:
  bool fail(const std::string& what);
  bool place_values();
  bool resize_outputs(abi::Context* context);
  int owner_of(int index) const;
  bool lay_out(size_t index, std::vector<char>* is_laid_out);
  void place_alias(size_t index);
  int overwritable(int written, size_t number, const std::vector<int>& last_used) const;

  StepContext shared_;
  ThreadPool& pool_;
  Profile profile_;
  int nodes_ = 0;
  std::vector<std::unique_ptr<Step>> steps_;
  // Memory of values: of one that has a border, and of several that need it one after the other.
  std::vector<Buffer> bordered_, reused_;
  std::string error_;
};

}  // namespace bopkit
