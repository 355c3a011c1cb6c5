// RESHAPE: another shape for the same numbers, copied only where LiteRT holds the result. It may
// use what steps may.
#include <cstring>

#include "steps.h"

namespace bopkit {
namespace {

class Reshape : public PlainStep {
 public:
  Reshape(int input, int output, std::vector<int> shape, bool is_alias)
      : PlainStep(input, output), target_(std::move(shape)), is_alias_(is_alias) {}

  std::string name() const override { return "reshape"; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    int64_t known = 1, all = input.pixels() * input.c;
    Shape shape;
    shape.rank = static_cast<int>(target_.size());
    int unknown = -1;
    for (int i = 0; i < shape.rank; ++i) {
      shape.dims[i] = target_[i];
      if (target_[i] == -1 && unknown < 0) {
        unknown = i;
      } else if (target_[i] < 1 || known > all / target_[i]) {
        return fail("cannot take the shape that it should");
      } else {
        known *= target_[i];
      }
    }
    if (unknown >= 0) shape.dims[unknown] = static_cast<int>(all / known);
    if (unknown < 0 ? known != all : all % known != 0) {
      return fail("cannot take the shape that it should");
    }
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session&) override {
    const Value& input = shared.value(input_);
    if (!is_alias_) {
      std::memcpy(shared.value(output_).first, input.first,
                  static_cast<size_t>(input.pixels()) * input.c * input.element_bytes());
    }
  }

 private:
  std::vector<int> target_;
  bool is_alias_;
};

}  // namespace

std::unique_ptr<Step> make_reshape(int input, int output, std::vector<int> shape, bool is_alias) {
  return std::make_unique<Reshape>(input, output, std::move(shape), is_alias);
}

}  // namespace bopkit
