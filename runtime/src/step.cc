#include "step.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace bopkit {

bool EpilogueStep::can_append(bool with_operand) const {
  return bits < 0 && bytes < 0 && epilogue_ops_.size() + 2 <= kMaxEpilogueOps &&
         (!with_operand || operands_.size() < kMaxOperands);
}

void EpilogueStep::append(EpilogueOpKind kind, int operand) {
  epilogue_ops_.push_back({kind, static_cast<int>(operands_.size()), nullptr});
  operands_.push_back(operand);
}

void EpilogueStep::append(EpilogueOpKind kind, std::vector<float> vector) {
  vector_channels_.push_back(static_cast<int>(vector.size()));
  vector.resize((vector.size() + kPanel - 1) / kPanel * kPanel);
  vectors_.push_back(std::move(vector));
  epilogue_ops_.push_back({kind, 0, vectors_.back().data()});
}

void EpilogueStep::append_activation(abi::Activation activation) {
  if (activation == abi::kActRelu) append(EpilogueOpKind::kRelu);
  if (activation == abi::kActReluN1To1) append(EpilogueOpKind::kReluN1To1);
  if (activation == abi::kActRelu6) append(EpilogueOpKind::kRelu6);
}

std::vector<int> EpilogueStep::reads() const {
  std::vector<int> values = {input_};
  values.insert(values.end(), operands_.begin(), operands_.end());
  return values;
}

std::vector<int> EpilogueStep::writes() const {
  std::vector<int> values;
  for (const int value : {floats, bits, bytes}) {
    if (value >= 0) values.push_back(value);
  }
  return values;
}

bool EpilogueStep::shape_results(Partition& partition, const Shape& shape) {
  Shape packed = shape;
  packed.dims[shape.rank - 1] = words_of(shape.channels());
  for (const int value : {floats, bytes}) {
    if (value >= 0 && !partition.value(value).set_shape(shape)) {
      return fail("has an output of no size, or too large");
    }
  }
  if (bits >= 0 && !partition.value(bits).set_shape(packed)) {
    return fail("has an output of no size, or too large");
  }
  for (const int channels : vector_channels_) {
    if (channels != shape.channels()) return fail("joins constants of another number of channels");
  }
  for (const int operand : operands_) {
    const Shape& other = partition.value(operand).shape;
    if (other.rank != shape.rank ||
        std::memcmp(other.dims, shape.dims, sizeof(int) * static_cast<size_t>(shape.rank)) != 0) {
      return fail("joins tensors of different shapes");
    }
  }
  return true;
}

Row EpilogueStep::row_at(Partition& partition, int image, int y, int x) const {
  Row row;
  if (floats >= 0) row.floats = partition.value(floats).at<float>(image, y, x);
  if (bits >= 0) row.bits = partition.value(bits).at<uint32_t>(image, y, x);
  if (bytes >= 0) row.bytes = partition.value(bytes).at<int8_t>(image, y, x);
  for (size_t i = 0; i < operands_.size(); ++i) {
    row.operands[i] = partition.value(operands_[i]).at<const float>(image, y, x);
  }
  return row;
}

void EpilogueStep::epilogue_from(int first, Epilogue* epilogue, EpilogueOp* ops) const {
  if (epilogue->multiplier != nullptr) epilogue->multiplier += first;
  if (epilogue->bias != nullptr) epilogue->bias += first;
  if (epilogue->threshold != nullptr) epilogue->threshold += first;
  for (size_t i = 0; i < epilogue_ops_.size(); ++i) {
    ops[i] = epilogue_ops_[i];
    if (ops[i].vector != nullptr) ops[i].vector += first;
  }
  epilogue->ops = ops;
  epilogue->op_count = static_cast<int>(epilogue_ops_.size());
}

std::string EpilogueStep::suffix() const {
  std::string text;
  for (const EpilogueOp& op : epilogue_ops_) {
    const bool is_activation = op.kind >= EpilogueOpKind::kRelu;
    text += is_activation ? " + relu" : op.vector != nullptr ? " + constants" : " + tensor";
  }
  return bits >= 0 ? text + " -> signs" : text;
}

namespace {

Row move(Row row, int channels, int words) {
  if (row.floats != nullptr) row.floats += channels;
  if (row.bits != nullptr) row.bits += words;
  if (row.bytes != nullptr) row.bytes += channels;
  for (const float*& operand : row.operands) {
    if (operand != nullptr) operand += channels;
  }
  return row;
}

}  // namespace

Row EpilogueStep::row_after(Row row, int channels) const {
  return move(row, channels, words_of(channels));
}

Row from_channel(Row row, int first) { return move(row, first, first / 32); }

Extent window_extent(int size, int filter, int stride, int dilation, bool is_same) {
  const int64_t reach = int64_t{filter - 1} * dilation + 1;
  if (!is_same) return {static_cast<int>(size < reach ? 0 : (size - reach) / stride + 1), 0, 0};
  const int out = (size + stride - 1) / stride;
  const int64_t over = std::max<int64_t>(0, int64_t{out - 1} * stride + reach - size);
  return {out, static_cast<int>(over / 2), static_cast<int>(over - over / 2)};
}

namespace {

constexpr double kBytesPerNs = 10;

// Cells of an image that the window of output cell `i` covers.
std::pair<int, int> covered(int i, int stride, int before, int filter, int size) {
  const int begin = i * stride - before;
  return {std::max(begin, 0), std::min(begin + filter, size)};
}

// Shape of the output of a pool, and its extents; returns what is wrong, or nothing.
const char* pooled_shape(const Value& input, const Window& window, Extent* height, Extent* width,
                         Shape* out) {
  if (input.shape.rank != 4) return "got an input that is not a batch of images";
  *height = window_extent(input.h, window.filter_h, window.stride_h, 1, window.is_same);
  *width = window_extent(input.w, window.filter_w, window.stride_w, 1, window.is_same);
  if (height->size < 1 || width->size < 1) return "got an input smaller than its window";
  *out = input.shape;
  out->dims[1] = height->size;
  out->dims[2] = width->size;
  return nullptr;
}

class Elementwise : public EpilogueStep {
 public:
  using EpilogueStep::EpilogueStep;

  std::string name() const override { return "map" + suffix(); }
  bool shape(Partition& partition) override {
    return shape_results(partition, partition.value(input_).shape);
  }

  void run(Partition& partition, ThreadPool::Session& session) override {
    const Value& input = partition.value(input_);
    const double ns = static_cast<double>(input.pixels()) * input.c * 8 / kBytesPerNs;
    const int rows = input.n * input.h;
    const int width = input.h == 1 && input.w == 1 ? 1 : input.w;
    session.run(rows, is_small(ns), [&](int unit) {
      for (int x = 0; x < width; ++x) run_row(partition, input, unit / input.h, unit % input.h, x);
    });
  }

 private:
  void run_row(Partition& partition, const Value& input, int image, int y, int x) const {
    const float* from = input.at<const float>(image, y, x);
    const Row row = row_at(partition, image, y, x);
    for (int first = 0; first < input.c; first += kPanel) {
      Epilogue epilogue;
      EpilogueOp ops[kMaxEpilogueOps];
      epilogue_from(first, &epilogue, ops);
      const Row part = from_channel(row, first);
      partition.kernels().float_epilogue(epilogue, from + first, std::min(kPanel, input.c - first),
                                         &part, 1);
    }
  }
};

class Pool : public EpilogueStep {
 public:
  Pool(const Op& op, int input, std::unique_ptr<EpilogueStep> source)
      : EpilogueStep(input),
        window_(op.window),
        is_maximum_(op.kind == OpKind::kMaxPool),
        source_(std::move(source)) {}

  std::string name() const override {
    const std::string size =
        std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w);
    const std::string before = source_ == nullptr ? "" : source_->name() + ", ";
    return before + (is_maximum_ ? "max pool " : "average pool ") + size + suffix();
  }

  bool shape(Partition& partition) override {
    if (source_ != nullptr && !source_->shape(partition)) return fail(source_->error().c_str());
    Shape out;
    const char* problem = pooled_shape(partition.value(input_), window_, &height_, &width_, &out);
    return problem == nullptr ? shape_results(partition, out) : fail(problem);
  }

  bool prepare(Partition& partition) override {
    if (source_ == nullptr) return true;
    if (!source_->prepare(partition)) return fail(source_->error().c_str());
    const Value& input = partition.value(input_);
    // A thread that begins within an image computes the rows that its window shares with the one
    // before once more.
    parts_ = std::min(height_.size, partition.threads() == 1 ? 1 : 4 * partition.threads());
    strip_ = int64_t{std::min(window_.filter_h, input.h)} * input.w * input.c;
    const int64_t units = int64_t{input.n} * parts_;
    const bool fits = strip_ <= kMaxBytes / 4 / units;
    return (fits && strips_.allocate(units * strip_ * 4)) || fail("found no memory for its rows");
  }

  void run(Partition& partition, ThreadPool::Session& session) override {
    const Value& input = partition.value(input_);
    const int64_t taps = int64_t{window_.filter_h} * window_.filter_w;
    const double ns = static_cast<double>(input.n) * height_.size * width_.size * input.c * taps *
                      4 / kBytesPerNs;
    if (source_ == nullptr) {
      session.run(input.n * height_.size, is_small(ns), [&](int unit) {
        run_rows(partition, unit / height_.size, unit % height_.size, unit % height_.size + 1,
                 nullptr);
      });
      return;
    }
    source_->start(partition, session);
    session.run(input.n * parts_, is_small(ns), [&](int unit) {
      const int64_t part = unit % parts_;
      const int begin = static_cast<int>(part * height_.size / parts_),
                end = static_cast<int>((part + 1) * height_.size / parts_);
      run_rows(partition, unit / parts_, begin, end, strips_.as<float>() + unit * strip_);
    });
  }

  std::vector<int> reads() const override {
    std::vector<int> values = EpilogueStep::reads();
    if (source_ == nullptr) return values;
    const std::vector<int> before = source_->reads();
    values.insert(values.end(), before.begin(), before.end());
    return values;
  }

  int64_t binary_macs() const override { return source_ == nullptr ? 0 : source_->binary_macs(); }
  int64_t float_macs() const override { return source_ == nullptr ? 0 : source_->float_macs(); }

 private:
  // Rows `begin` to `end` of an image. With `strip` the rows under the window are made there, each
  // as the window reaches it.
  void run_rows(Partition& partition, int image, int begin, int end, float* strip) const {
    const Value& input = partition.value(input_);
    const int64_t length = int64_t{input.w} * input.c;
    const int slots = std::min(window_.filter_h, input.h);
    std::vector<const float*> rows;
    std::vector<float> maxima;
    int made = 0;  // rows before this one are in the strip, as far as the window still needs them
    for (int y = begin; y < end; ++y) {
      const auto [top, bottom] =
          covered(y, window_.stride_h, height_.before, window_.filter_h, input.h);
      rows.clear();
      for (int v = top; v < bottom; ++v) {
        if (strip == nullptr) {
          rows.push_back(input.at<const float>(image, v, 0));
          continue;
        }
        float* row = strip + v % slots * length;
        if (v >= made) source_->make_row(partition, image, v, row);
        rows.push_back(row);
      }
      made = std::max(made, bottom);
      // The largest of a window is the largest of its columns' largest, which neighbours share.
      // Sums would round otherwise.
      if (is_maximum_ && rows.size() > 1) {
        maxima.assign(rows[0], rows[0] + length);
        for (size_t v = 1; v < rows.size(); ++v) {
          partition.kernels().max_row(maxima.data(), rows[v], static_cast<int>(length));
        }
        rows.assign(1, maxima.data());
      }
      for (int x = 0; x < width_.size; ++x) {
        run_pixel(partition, rows, input, row_at(partition, image, y, x), x);
      }
    }
  }

  void run_pixel(Partition& partition, const std::vector<const float*>& rows, const Value& input,
                 const Row& to, int x) const {
    alignas(kAlignment) float pooled[kPanel];
    const auto [left, right] =
        covered(x, window_.stride_w, width_.before, window_.filter_w, input.w);
    for (int first = 0; first < input.c; first += kPanel) {
      const int channels = std::min(kPanel, input.c - first);
      bool is_first = true;
      for (const float* row : rows) {
        for (int u = left; u < right; ++u, is_first = false) {
          const float* from = row + int64_t{u} * input.c + first;
          if (is_first) {
            std::memcpy(pooled, from, static_cast<size_t>(channels) * sizeof(float));
          } else {
            (is_maximum_ ? partition.kernels().max_row : partition.kernels().add_row)(pooled, from,
                                                                                      channels);
          }
        }
      }
      if (!is_maximum_) {
        const float count = static_cast<float>(static_cast<int>(rows.size()) * (right - left));
        for (int c = 0; c < channels; ++c) pooled[c] /= count;
      }
      Epilogue epilogue;
      EpilogueOp ops[kMaxEpilogueOps];
      epilogue_from(first, &epilogue, ops);
      const Row part = from_channel(to, first);
      partition.kernels().float_epilogue(epilogue, pooled, channels, &part, 1);
    }
  }

  Window window_;
  bool is_maximum_;
  std::unique_ptr<EpilogueStep> source_;
  Extent height_{}, width_{};
  int parts_ = 1;      // of an image, each one unit of work
  int64_t strip_ = 0;  // floats of a part's rows
  Buffer strips_;
};

// Steps of one output that is no row of float32.
class PlainStep : public Step {
 public:
  PlainStep(int input, int output) : Step(input), output_(output) {}
  std::vector<int> writes() const override { return {output_}; }

 protected:
  bool shape_output(Partition& partition, const Shape& shape) {
    return partition.value(output_).set_shape(shape) ||
           fail("has an output of no size, or too large");
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

// The largest of signs is -1 only where all are: their bits are joined by AND.
class BitPackedMaxPool : public PlainStep {
 public:
  BitPackedMaxPool(const Op& op, int input, int output)
      : PlainStep(input, output), window_(op.window) {}

  std::string name() const override {
    return "max pool " + std::to_string(window_.filter_h) + "x" + std::to_string(window_.filter_w) +
           " of signs";
  }

  bool shape(Partition& partition) override {
    Shape out;
    const char* problem = pooled_shape(partition.value(input_), window_, &height_, &width_, &out);
    return problem == nullptr ? shape_output(partition, out) : fail(problem);
  }

  void run(Partition& partition, ThreadPool::Session& session) override {
    const Value& input = partition.value(input_);
    const Value& output = partition.value(output_);
    for_pixels(output, session, [&](int image, int y, int x) {
      const auto [top, bottom] =
          covered(y, window_.stride_h, height_.before, window_.filter_h, input.h);
      const auto [left, right] =
          covered(x, window_.stride_w, width_.before, window_.filter_w, input.w);
      uint32_t* to = output.at<uint32_t>(image, y, x);
      std::fill(to, to + output.c, ~0u);
      for (int v = top; v < bottom; ++v) {
        for (int u = left; u < right; ++u) {
          const uint32_t* from = input.at<const uint32_t>(image, v, u);
          for (int c = 0; c < output.c; ++c) to[c] &= from[c];
        }
      }
    });
  }

 private:
  Window window_;
  Extent height_{}, width_{};
};

class BitPackBytes : public PlainStep {
 public:
  BitPackBytes(int input, int output, int zero_point)
      : PlainStep(input, output), zero_point_(zero_point) {}

  std::string name() const override { return "signs of bytes"; }

  bool shape(Partition& partition) override {
    Shape packed = partition.value(input_).shape;
    packed.dims[packed.rank - 1] = words_of(packed.channels());
    return shape_output(partition, packed);
  }

  void run(Partition& partition, ThreadPool::Session& session) override {
    const Value& input = partition.value(input_);
    const Value& output = partition.value(output_);
    for_pixels(input, session, [&](int image, int y, int x) {
      const int8_t* from = input.at<const int8_t>(image, y, x);
      uint32_t* to = output.at<uint32_t>(image, y, x);
      std::fill(to, to + output.c, 0u);
      for (int c = 0; c < input.c; ++c) {
        to[c / 32] |= static_cast<uint32_t>(from[c] < zero_point_) << (c % 32);
      }
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

  bool shape(Partition& partition) override {
    // How many channels the last word holds is known from the output only.
    Value& output = partition.value(output_);
    Shape shape = partition.value(input_).shape;
    const int channels = output.shape.channels();
    if (shape.channels() != words_of(channels)) {
      return fail("got an input of another number of channels");
    }
    shape.dims[shape.rank - 1] = channels;
    return shape_output(partition, shape);
  }

  void run(Partition& partition, ThreadPool::Session& session) override {
    const Value& input = partition.value(input_);
    const Value& output = partition.value(output_);
    for_pixels(output, session, [&](int image, int y, int x) {
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

class Mean : public PlainStep {
 public:
  Mean(const Op& op, int input, int output)
      : PlainStep(input, output), keeps_rank_(op.keeps_rank) {}

  std::string name() const override { return "mean"; }

  bool shape(Partition& partition) override {
    const Value& input = partition.value(input_);
    if (input.shape.rank != 4) return fail("got an input that is not a batch of images");
    return shape_output(
        partition, keeps_rank_ ? Shape{4, {input.n, 1, 1, input.c}} : Shape{2, {input.n, input.c}});
  }

  void run(Partition& partition, ThreadPool::Session&) override {
    const Value& input = partition.value(input_);
    const Value& output = partition.value(output_);
    const float count = static_cast<float>(input.h) * static_cast<float>(input.w);
    for (int image = 0; image < input.n; ++image) {
      float* to = output.at<float>(image, 0, 0);
      std::fill(to, to + input.c, 0.0f);
      for (int y = 0; y < input.h; ++y) {
        for (int x = 0; x < input.w; ++x) {
          partition.kernels().add_row(to, input.at<const float>(image, y, x), input.c);
        }
      }
      for (int c = 0; c < input.c; ++c) to[c] /= count;
    }
  }

 private:
  bool keeps_rank_;
};

class Reshape : public PlainStep {
 public:
  Reshape(int input, int output, std::vector<int> shape, bool is_alias)
      : PlainStep(input, output), target_(std::move(shape)), is_alias_(is_alias) {}

  std::string name() const override { return "reshape"; }

  bool shape(Partition& partition) override {
    const Value& input = partition.value(input_);
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
    return shape_output(partition, shape);
  }

  void run(Partition& partition, ThreadPool::Session&) override {
    const Value& input = partition.value(input_);
    if (!is_alias_) {
      std::memcpy(partition.value(output_).first, input.first,
                  static_cast<size_t>(input.pixels()) * input.c * input.element_bytes());
    }
  }

 private:
  std::vector<int> target_;
  bool is_alias_;
};

}  // namespace

std::unique_ptr<EpilogueStep> make_pool(const Op& op, int input,
                                        std::unique_ptr<EpilogueStep> source) {
  auto step = std::make_unique<Pool>(op, input, std::move(source));
  step->append_activation(op.activation);
  return step;
}

std::unique_ptr<EpilogueStep> make_elementwise(int input) {
  return std::make_unique<Elementwise>(input);
}

std::unique_ptr<Step> make_bit_packed_max_pool(const Op& op, int input, int output) {
  return std::make_unique<BitPackedMaxPool>(op, input, output);
}

std::unique_ptr<Step> make_bit_pack_bytes(int input, int output, int zero_point) {
  return std::make_unique<BitPackBytes>(input, output, zero_point);
}

std::unique_ptr<Step> make_bit_unpack(int input, int output, float scale, int zero_point) {
  return std::make_unique<BitUnpack>(input, output, scale, zero_point);
}

std::unique_ptr<Step> make_mean(const Op& op, int input, int output) {
  return std::make_unique<Mean>(op, input, output);
}

std::unique_ptr<Step> make_reshape(int input, int output, std::vector<int> shape, bool is_alias) {
  return std::make_unique<Reshape>(input, output, std::move(shape), is_alias);
}

}  // namespace bopkit
