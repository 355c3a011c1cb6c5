// Steps of int8 that treat each number by itself.
#include <algorithm>
#include <tuple>

#include "int8_step.h"
#include "int8_steps.h"
#include "quantization.h"

namespace bopkit {
namespace {

int8_t clamped(int32_t value, int32_t min, int32_t max) {
  return static_cast<int8_t>(std::min(std::max(value, min), max));
}

Int8Arithmetic arithmetic_of(const Op& op, const abi::Context& context) {
  // The difference of reversed operands is that of the file.
  const int first = op.is_reversed ? op.other : op.input;
  const int second = op.is_reversed ? op.input : op.other;
  const abi::Tensor &a = context.tensors[first], &b = context.tensors[second],
                    &output = context.tensors[op.output];
  const ArithmeticFactors factors = arithmetic_factors(op.kind, a, b, output);
  Int8Arithmetic arithmetic;
  arithmetic.zero_points[0] = a.zero_point;
  arithmetic.zero_points[1] = b.zero_point;
  arithmetic.terms[0] = rescaling_of(factors.terms[0]);
  arithmetic.terms[1] = rescaling_of(factors.terms[1]);
  if (op.kind == OpKind::kSubtract) arithmetic.terms[1].multiplier *= -1;
  arithmetic.result = rescaling_of(factors.result);
  arithmetic.zero_point = output.zero_point;
  std::tie(arithmetic.min, arithmetic.max) = int8_range(op.activation, output);
  return arithmetic;
}

// The same as the micro-kernels, of one pair.
int8_t combine(OpKind kind, const Int8Arithmetic& by, int8_t a, int8_t b) {
  const int32_t x = a - by.zero_points[0], y = b - by.zero_points[1];
  const int32_t combined = kind == OpKind::kMultiply
                               ? x * y
                               : rescale(by.terms[0], x * (1 << kInt8SumShift)) +
                                     rescale(by.terms[1], y * (1 << kInt8SumShift));
  return clamped(rescale(by.result, combined) + by.zero_point, by.min, by.max);
}

// Two values, either of which may have a size of 1 where the other has another.
class Arithmetic : public Int8Step {
 public:
  Arithmetic(const Op& op, int input, int other, int output, const abi::Context& context)
      : Int8Step(input, output),
        others_{op.is_reversed ? other : input, op.is_reversed ? input : other},
        kind_(op.kind),
        arithmetic_(arithmetic_of(op, context)) {}

  std::string name() const override {
    return kind_ == OpKind::kAdd        ? "int8 sum"
           : kind_ == OpKind::kSubtract ? "int8 difference"
                                        : "int8 product";
  }

  std::vector<int> reads() const override { return {others_[0], others_[1]}; }
  bool can_overwrite(int, int) const override { return true; }

  bool shape(StepContext& shared) override {
    const Shape &a = shared.value(others_[0]).shape, &b = shared.value(others_[1]).shape;
    if (a.rank != b.rank) return fail("got operands of different ranks");
    Shape shape = a;
    for (int i = 0; i < a.rank; ++i) {
      shape.dims[i] = std::max(a.dims[i], b.dims[i]);
      const bool fits = a.dims[i] == b.dims[i] || a.dims[i] == 1 || b.dims[i] == 1;
      if (!fits || (a.rank != 4 && a.dims[i] != b.dims[i])) {
        return fail("got operands whose shapes do not fit");
      }
    }
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& output = shared.value(output_);
    const Value* values[] = {&shared.value(others_[0]), &shared.value(others_[1])};
    const auto function =
        kind_ == OpKind::kMultiply ? shared.kernels.multiply_int8 : shared.kernels.add_int8;
    const bool has_plain_rows =
        output.is_contiguous() && std::all_of(values, values + 2, [&](const Value* value) {
          return value->c == output.c && value->w == output.w && value->is_contiguous();
        });
    for_rows(output, 0.5, session, [&](int image, int y) {
      const int pixels = has_plain_rows ? 1 : output.w;
      const int64_t count = has_plain_rows ? int64_t{output.w} * output.c : output.c;
      std::vector<int8_t> spread;  // a pixel of one channel, for all
      for (int x = 0; x < pixels; ++x) {
        const int8_t* from[2];
        for (int i = 0; i < 2; ++i) {
          const Value& value = *values[i];
          from[i] = value.at<const int8_t>(value.n == 1 ? 0 : image, value.h == 1 ? 0 : y,
                                           value.w == 1 ? 0 : x);
          if (value.c == 1 && output.c > 1) {
            spread.assign(static_cast<size_t>(output.c), *from[i]);
            from[i] = spread.data();
          }
        }
        function(arithmetic_, from[0], from[1], count, output.at<int8_t>(image, y, x));
      }
    });
  }

 private:
  int others_[2];
  OpKind kind_;
  Int8Arithmetic arithmetic_;
};

constexpr int kNumbers = 256;

// The result for each byte, in all channels or in each.
class Map : public Int8Step {
 public:
  Map(std::string name, int input, int output, std::vector<int8_t> table)
      : Int8Step(input, output), name_(std::move(name)), table_(std::move(table)) {}

  std::string name() const override { return name_; }
  bool can_overwrite(int, int) const override { return true; }

  bool shape(StepContext& shared) override {
    const Value& input = shared.value(input_);
    const auto channels = static_cast<int>(table_.size() / kNumbers);
    if (channels > 1 && input.c != channels) return fail("got another number of channels");
    return shape_output(shared, input.shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    const int stride = table_.size() > kNumbers ? kNumbers : 0;
    for_rows(input, 1, session, [&](int image, int y) {
      for (int x = 0; x < input.w; ++x) {
        const uint8_t* from = input.at<const uint8_t>(image, y, x);
        int8_t* to = output.at<int8_t>(image, y, x);
        const int8_t* results = table_.data();
        for (int c = 0; c < input.c; ++c, results += stride) to[c] = results[from[c]];
      }
    });
  }

 private:
  std::string name_;
  std::vector<int8_t> table_;
};

// `result(x, c)` of each number of a type, int8 or uint8, in so many channels.
template <typename Byte = int8_t, typename Function>
std::vector<int8_t> tabulate(int channels, const Function& result) {
  std::vector<int8_t> table(static_cast<size_t>(channels) * kNumbers);
  for (size_t i = 0; i < table.size(); ++i) {
    const auto x = static_cast<Byte>(static_cast<uint8_t>(i % kNumbers));
    table[i] = result(x, static_cast<int>(i / kNumbers));
  }
  return table;
}

std::vector<int8_t> table_of(const Op& op, const abi::Context& context) {
  const abi::Tensor &input = context.tensors[op.input], &output = context.tensors[op.output];
  const auto [min, max] = int8_range(op.activation, output);
  if (op.kind == OpKind::kQuantize || op.kind == OpKind::kRelu) {
    const Rescaling by = rescaling_of(map_factor(op.kind, input, output));
    const auto result = [&, min = min, max = max](int x, int) {
      return clamped(rescale(by, x - input.zero_point) + output.zero_point, min, max);
    };
    return input.type == abi::kUInt8 ? tabulate<uint8_t>(1, result) : tabulate(1, result);
  }
  const abi::Tensor& other = context.tensors[op.other];
  const auto* constants = static_cast<const int8_t*>(other.data);
  const int channels = other.dims->size == 0 ? 1 : static_cast<int>(count_elements(other));
  if (op.kind == OpKind::kPRelu) {
    const SlopeFactors factors = slope_factors(input, other, output);
    const Rescaling positive = rescaling_of(factors.positive),
                    negative = rescaling_of(factors.negative);
    return tabulate(channels, [&](int8_t x, int c) {
      const int32_t value = x - input.zero_point, slope = constants[c] - other.zero_point;
      const int32_t result =
          value >= 0 ? rescale(positive, value) : rescale(negative, value * slope);
      return clamped(result + output.zero_point, -128, 127);
    });
  }
  const Int8Arithmetic by = arithmetic_of(op, context);
  return tabulate(channels, [&](int8_t x, int c) {
    return op.is_reversed ? combine(op.kind, by, constants[c], x)
                          : combine(op.kind, by, x, constants[c]);
  });
}

}  // namespace

std::unique_ptr<Step> make_int8_arithmetic(const Op& op, int input, int other, int output,
                                           const abi::Context& context) {
  return std::make_unique<Arithmetic>(op, input, other, output, context);
}

std::unique_ptr<Step> make_int8_map(const Op& op, int input, int output,
                                    const abi::Context& context) {
  return std::make_unique<Map>(op.kind == OpKind::kQuantize ? "int8 of another scale" : "int8 map",
                               input, output, table_of(op, context));
}

}  // namespace bopkit
