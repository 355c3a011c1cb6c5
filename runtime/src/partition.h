// What the delegate runs in place of a set of operators.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "operators.h"
#include "tflite_abi.h"
#include "threads.h"
#include "value.h"

namespace bopkit {

class Step;

// Operators that LiteRT runs as one node: steps over values, in order.
//
// `build` fuses operators into steps, from what does not change. `prepare` follows each change of
// the inputs' shapes: it computes all shapes, lays the values out and lets each step get ready.
// `run` is one inference.
class Partition {
 public:
  Partition(const Kernels& kernels, ThreadPool& pool, bool is_profiled);
  ~Partition();

  bool build(abi::Context* context, const std::vector<Op>& ops, const abi::DelegateParams& params,
             const Constants& constants);
  bool prepare(abi::Context* context);
  bool run(abi::Context* context);

  const std::string& error() const { return error_; }
  // Number of LiteRT's operators that it replaces.
  int nodes() const { return nodes_; }

  std::string describe() const;

  // For steps.
  Value& value(int index) { return values_[index]; }
  const Kernels& kernels() const { return kernels_; }
  int threads() const { return pool_.threads(); }

 private:
  friend class Builder;

  bool fail(const std::string& what);
  bool place_values(abi::Context* context);
  bool resize_outputs(abi::Context* context);
  Value& owner_of(Value& value);

  const Kernels& kernels_;
  ThreadPool& pool_;
  bool is_profiled_;
  int nodes_ = 0;
  std::vector<Value> values_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::map<int, std::vector<float>> dequantized_;  // constants by tensor
  std::vector<Buffer> own_,
      shared_;  // memory of values: of their own where they have a border, else shared over time
  std::string error_;
};

}  // namespace bopkit
