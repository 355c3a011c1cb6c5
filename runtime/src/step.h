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

  // Roughly what one thread takes for its multiply-accumulates.
  double macs_ns(const Kernels& kernels) const {
    return static_cast<double>(binary_macs()) / kernels.binary_macs_per_ns +
           static_cast<double>(float_macs()) / kernels.float_macs_per_ns +
           static_cast<double>(int8_macs()) / kernels.int8_macs_per_ns;
  }

  int64_t runs = 0, total_ns = 0, least_ns = 0;
  UnitTimes unit_times;

 protected:
  bool fail(const char* what) {
    error_ = what;
    return false;
  }

  int input_;
  std::string error_;
};

// Roughly what one thread reads and writes, to tell what several threads should share.
inline constexpr double kBytesPerNs = 10;

// A step of one output and no epilogue.
class PlainStep : public Step {
 public:
  PlainStep(int input, int output) : Step(input), output_(output) {}
  std::vector<int> writes() const override { return {output_}; }

 protected:
  bool shape_output(StepContext& shared, const Shape& shape) {
    return shared.value(output_).set_shape(shape) || fail("has an output of no size, or too large");
  }

  // Calls `function(image, y, x)` for each pixel of a value, which takes roughly so long.
  template <typename Function>
  void for_pixels(const Value& value, ThreadPool::Session& session, double pixel_ns,
                  const Function& function) {
    session.run(value.n * value.h, static_cast<double>(value.pixels()) * pixel_ns, [&](int unit) {
      for (int x = 0; x < value.w; ++x) function(unit / value.h, unit % value.h, x);
    });
  }

  int output_;
};

}  // namespace bopkit
