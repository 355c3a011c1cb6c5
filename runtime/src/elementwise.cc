// Steps that treat each number by itself: arithmetic that no other step's epilogue holds, and
// bit-packing and unpacking. They may use what steps may.
#include <algorithm>
#include <cmath>

#include "epilogue_step.h"
#include "steps.h"

namespace bopkit {
namespace {

class Elementwise : public EpilogueStep {
 public:
  Elementwise(int input, float scale, int zero_point)
      : EpilogueStep(input), scale_(scale), zero_point_(zero_point) {}

  std::string name() const override { return "map" + suffix(); }
  bool shape(StepContext& shared) override {
    return shape_results(shared, shared.value(input_).shape);
  }

  // A row, or several, are one long pixel where that is possible: few channels would leave most lanes
  // of a vector empty, and each pixel takes its time, as does each row. Constants are then repeated,
  // and should stay in the first-level cache.
  bool prepare(const StepContext& shared) override {
    constexpr int64_t kMostRepeated = 4096, kMostTogether = 16384;
    const Value& input = shared.value(input_);
    const int64_t row = int64_t{input.w} * input.c;
    row_is_pixel_ = input.w > 1 && has_plain_rows(shared) && vectors() * row <= kMostRepeated;
    rows_together_ = 1;
    if (row_is_pixel_ && input.type == abi::kFloat32 && has_rows_side_by_side(shared)) {
      const int64_t most = vectors() == 0 ? kMostTogether : kMostRepeated / vectors();
      rows_together_ =
          static_cast<int>(std::max<int64_t>(1, std::min(most / row, int64_t{input.n} * input.h)));
    }
    row_ops_.clear();
    if (row_is_pixel_) row_ops_ = epilogue_of_row(rows_together_ * input.w, &row_vectors_);
    if (input.type == abi::kFloat32) return true;
    const int64_t numbers = int64_t{input.w} * input.c;
    return (numbers <= kMaxBytes / 4 / shared.threads &&
            numbers_.allocate(shared.threads * numbers * static_cast<int64_t>(sizeof(float)))) ||
           fail("found no memory for its numbers");
  }

  bool can_overwrite(int read, int written) const override {
    return written == floats && (read == input_ || EpilogueStep::can_overwrite(read, written));
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const double ns = static_cast<double>(input.pixels()) * input.c * 8 / kBytesPerNs;
    const int rows = input.n * input.h;
    session.run((rows + rows_together_ - 1) / rows_together_, ns, [&](int unit) {
      const int first = unit * rows_together_, count = std::min(rows_together_, rows - first);
      run_rows(shared, input, first / input.h, first % input.h, count, nullptr);
    });
  }

  bool makes_rows() const override {
    return floats >= 0 && bits < 0 && bytes < 0 && !joins_operands() && !stores_twice();
  }

  void make_row(const StepContext& shared, int image, int y, float* to) const override {
    run_rows(shared, shared.value(input_), image, y, 1, to);
  }

 private:
  // `count` rows, 1 to rows_together_. With `to` the results go there, one pixel behind the other.
  void run_rows(const StepContext& shared, const Value& input, int image, int y, int count,
                float* to) const {
    constexpr int kPixels = 8 * kMaxTilePixels;
    RowStep to_right = row_step(shared);
    if (to != nullptr) to_right.floats = input.c * sizeof(float);
    Epilogue epilogue;
    EpilogueOp ops[kMaxEpilogueOps];
    epilogue_from(0, &epilogue, ops);
    const float* from = numbers_of(shared.kernels, input, image, y);
    const int64_t stride = input.type == abi::kFloat32 ? input.pixel_stride : input.c;
    if (row_is_pixel_) {
      Row row{};
      if (to == nullptr) {
        row = row_at(shared, image, y, 0);
      } else {
        row.floats = to;
      }
      epilogue.ops = row_ops_.data();
      shared.kernels.float_epilogue(epilogue, from, 0, count * input.w * input.c, &row, 1);
      return;
    }
    for (int x = 0; x < input.w; x += kPixels) {
      const int pixels = std::min(kPixels, input.w - x);
      Row first{}, rows[kPixels];
      if (to != nullptr) {
        first.floats = to + int64_t{x} * input.c;
      } else {
        first = row_at(shared, image, y, x);
      }
      fill_rows(first, to_right, pixels, rows);
      shared.kernels.float_epilogue(epilogue, from + x * stride, stride, input.c, rows, pixels);
    }
  }

  // A row of the input; in memory of this thread's where it is no float32.
  const float* numbers_of(const Kernels& kernels, const Value& input, int image, int y) const {
    if (input.type == abi::kFloat32) return input.at<const float>(image, y, 0);
    const int64_t row = int64_t{input.w} * input.c;
    float* const numbers = numbers_.as<float>() + ThreadPool::thread_number() * row;
    const int pixels = input.is_contiguous() ? 1 : input.w;
    const int64_t count = row / pixels;
    for (int x = 0; x < pixels; ++x) {
      float* to = numbers + x * count;
      if (input.type == abi::kInt8) {
        kernels.dequantize_int8(input.at<int8_t>(image, y, x), count, zero_point_, scale_, to);
      } else {
        kernels.dequantize_uint8(input.at<uint8_t>(image, y, x), count, zero_point_, scale_, to);
      }
    }
    return numbers;
  }

  float scale_;
  int zero_point_;
  Buffer numbers_;
  bool row_is_pixel_ = false;
  int rows_together_ = 1;            // that are treated as one pixel
  std::vector<EpilogueOp> row_ops_;  // of this pixel
  std::vector<std::vector<float>> row_vectors_;
};

constexpr double kExponentialNs = 1;
constexpr double kPackNs = 0.2, kUnpackNs = 1;  // of one number

class Logistic : public PlainStep {
 public:
  using PlainStep::PlainStep;

  std::string name() const override { return "logistic"; }
  bool shape(StepContext& shared) override {
    return shape_output(shared, shared.value(input_).shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(input, session, input.c * kExponentialNs, [&](int image, int y, int x) {
      shared.kernels.logistic(input.at<const float>(image, y, x), input.c,
                              output.at<float>(image, y, x));
    });
  }
};

class Softmax : public PlainStep {
 public:
  Softmax(int input, int output, float beta) : PlainStep(input, output), beta_(beta) {}

  std::string name() const override { return "softmax"; }
  bool shape(StepContext& shared) override {
    return shape_output(shared, shared.value(input_).shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(input, session, input.c * kExponentialNs, [&](int image, int y, int x) {
      shared.kernels.softmax(input.at<const float>(image, y, x), input.c, beta_,
                             output.at<float>(image, y, x));
    });
  }

 private:
  float beta_;
};

class BitPackBytes : public PlainStep {
 public:
  BitPackBytes(int input, int output, int zero_point)
      : PlainStep(input, output), zero_point_(zero_point) {}

  std::string name() const override { return "signs of bytes"; }

  bool shape(StepContext& shared) override {
    Shape packed = shared.value(input_).shape;
    packed.dims[packed.rank - 1] = words_of(packed.channels());
    return shape_output(shared, packed);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(input, session, input.c * kPackNs, [&](int image, int y, int x) {
      shared.kernels.pack_int8_signs(input.at<const int8_t>(image, y, x), input.c, zero_point_,
                                     output.at<uint32_t>(image, y, x));
    });
  }

 private:
  int zero_point_;
};

class BitUnpack : public PlainStep {
 public:
  BitUnpack(int input, int output, float scale, int zero_point) : PlainStep(input, output) {
    const int one = scale > 0 ? static_cast<int>(std::round(std::min(1.0f / scale, 512.0f))) : 1;
    plus_one_ = static_cast<int8_t>(std::min(127, zero_point + one));
    minus_one_ = static_cast<int8_t>(std::max(-128, zero_point - one));
  }

  std::string name() const override { return "unpack signs"; }

  bool shape(StepContext& shared) override {
    // How many channels the last word holds is known from the output only.
    Value& output = shared.value(output_);
    Shape shape = shared.value(input_).shape;
    const int channels = output.shape.channels();
    if (shape.channels() != words_of(channels)) {
      return fail("got an input of another number of channels");
    }
    shape.dims[shape.rank - 1] = channels;
    return shape_output(shared, shape);
  }

  void run(const StepContext& shared, ThreadPool::Session& session) override {
    const Value& input = shared.value(input_);
    const Value& output = shared.value(output_);
    for_pixels(output, session, output.c * kUnpackNs, [&](int image, int y, int x) {
      const uint32_t* from = input.at<const uint32_t>(image, y, x);
      const auto is_negative = [from](int c) { return (from[c / 32] >> (c % 32) & 1u) != 0; };
      if (output.type == abi::kFloat32) {
        float* to = output.at<float>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = is_negative(c) ? -1.0f : 1.0f;
      } else if (output.type == abi::kInt8) {
        int8_t* to = output.at<int8_t>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = is_negative(c) ? minus_one_ : plus_one_;
      } else {
        bool* to = output.at<bool>(image, y, x);
        for (int c = 0; c < output.c; ++c) to[c] = !is_negative(c);
      }
    });
  }

 private:
  int8_t plus_one_, minus_one_;
};

}  // namespace

std::unique_ptr<EpilogueStep> make_elementwise(int input, float scale, int zero_point) {
  return std::make_unique<Elementwise>(input, scale, zero_point);
}

std::unique_ptr<Step> make_logistic(int input, int output) {
  return std::make_unique<Logistic>(input, output);
}

std::unique_ptr<Step> make_softmax(int input, int output, float beta) {
  return std::make_unique<Softmax>(input, output, beta);
}

std::unique_ptr<Step> make_bit_pack_bytes(int input, int output, int zero_point) {
  return std::make_unique<BitPackBytes>(input, output, zero_point);
}

std::unique_ptr<Step> make_bit_unpack(int input, int output, float scale, int zero_point) {
  return std::make_unique<BitUnpack>(input, output, scale, zero_point);
}

}  // namespace bopkit
