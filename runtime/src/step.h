// One step of a partition: what it computes, from which values into which. A step may use its
// StepContext and the threads of a Session; of LiteRT it knows the structs of tensors only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "step_context.h"
#include "threads.h"
#include "value.h"

namespace bopkit {

class Step {
 public:
  explicit Step(int input) : input_(input) {}
  virtual ~Step() = default;

  virtual std::string name() const = 0;

  // Computes the shape of the outputs from that of the inputs, and asks for the borders that the
  // input should have.
  virtual bool shape(StepContext& shared) = 0;
  // Gets ready to run, once all values have their layout.
  virtual bool prepare(const StepContext&) { return true; }
  virtual void run(const StepContext& shared, ThreadPool::Session& session) = 0;

  // Values that it reads and writes.
  virtual std::vector<int> reads() const { return {input_}; }
  virtual std::vector<int> writes() const = 0;
  // Whether `written`, of the same shape, may lie where `read` lies: the step reads an element of it
  // before it writes the one in its place, and reads nothing of it otherwise.
  virtual bool can_overwrite(int /*read*/, int /*written*/) const { return false; }

  virtual int64_t binary_macs() const { return 0; }
  virtual int64_t float_macs() const { return 0; }
  virtual int64_t int8_macs() const { return 0; }

  const std::string& error() const { return error_; }

  int64_t runs = 0, total_ns = 0, least_ns = 0;

 protected:
  bool fail(const char* what) {
    error_ = what;
    return false;
  }

  int input_;
  std::string error_;
};

// Rough costs, to tell steps that several threads should share from those that one does sooner.
inline constexpr double kBytesPerNs = 10;
inline bool is_small(double ns) { return ns < 20e3; }

// A step of one output and no epilogue.
class PlainStep : public Step {
 public:
  PlainStep(int input, int output) : Step(input), output_(output) {}
  std::vector<int> writes() const override { return {output_}; }

 protected:
  bool shape_output(StepContext& shared, const Shape& shape) {
    return shared.value(output_).set_shape(shape) || fail("has an output of no size, or too large");
  }

  // Calls `function(image, y, x)` for each pixel of a value.
  template <typename Function>
  void for_pixels(const Value& value, ThreadPool::Session& session, const Function& function) {
    const double ns = static_cast<double>(value.pixels()) * value.c * 4 / kBytesPerNs;
    session.run(value.n * value.h, is_small(ns), [&](int unit) {
      for (int x = 0; x < value.w; ++x) function(unit / value.h, unit % value.h, x);
    });
  }

  int output_;
};

}  // namespace bopkit
