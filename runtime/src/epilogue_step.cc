// The part that all steps with an epilogue share: which values they write, what joins them, and the
// epilogue as the micro-kernels take it.
#include "epilogue_step.h"

#include <algorithm>
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

bool EpilogueStep::stands_for_int8(const abi::Tensor& tensor) const {
  const Epilogue epilogue = sums_epilogue();
  return epilogue.is_requantized && epilogue_ops_.empty() &&
         epilogue.requantization.stands_for(tensor.scale, tensor.zero_point);
}

bool EpilogueStep::has_activations_alone() const {
  return std::all_of(epilogue_ops_.begin(), epilogue_ops_.end(),
                     [](const EpilogueOp& op) { return op.kind >= EpilogueOpKind::kRelu; });
}

std::vector<int> EpilogueStep::reads() const {
  std::vector<int> values = {input_};
  values.insert(values.end(), operands_.begin(), operands_.end());
  return values;
}

void EpilogueStep::append_store() {
  append(EpilogueOpKind::kStore);
  stored = floats;
  floats = -1;
}

std::vector<int> EpilogueStep::writes() const {
  std::vector<int> values;
  for (const int value : {stored, floats, bits, bytes}) {
    if (value >= 0) values.push_back(value);
  }
  return values;
}

bool EpilogueStep::can_overwrite(int read, int written) const {
  const auto count = [read](const std::vector<int>& values) {
    return std::count(values.begin(), values.end(), read);
  };
  return written == floats && count(operands_) != 0 && count(reads()) == count(operands_);
}

namespace {

// One value a channel for all pixels of an image.
bool is_channel_vector(const Shape& shape, const Shape& of) {
  if (of.rank != 4 || shape.rank < 1 || shape.channels() != of.channels()) return false;
  const bool has_image = shape.rank == 4 && shape.dims[0] == of.dims[0];
  for (int i = has_image ? 1 : 0; i < shape.rank - 1; ++i) {
    if (shape.dims[i] != 1) return false;
  }
  return true;
}

}  // namespace

bool EpilogueStep::shape_results(StepContext& shared, const Shape& shape) {
  Shape packed = shape;
  packed.dims[shape.rank - 1] = words_of(shape.channels());
  for (const int value : {stored, floats, bytes}) {
    if (value >= 0 && !shared.value(value).set_shape(shape)) {
      return fail("has an output of no size, or too large");
    }
  }
  if (bits >= 0 && !shared.value(bits).set_shape(packed)) {
    return fail("has an output of no size, or too large");
  }
  for (const int channels : vector_channels_) {
    if (channels != shape.channels()) return fail("joins constants of another number of channels");
  }
  for (const int operand : operands_) {
    const Shape& other = shared.value(operand).shape;
    const bool is_same =
        other.rank == shape.rank &&
        std::memcmp(other.dims, shape.dims, sizeof(int) * static_cast<size_t>(shape.rank)) == 0;
    if (!is_same && !is_channel_vector(other, shape)) {
      return fail("joins tensors of different shapes");
    }
  }
  return true;
}

Row EpilogueStep::row_at(const StepContext& shared, int image, int y, int x) const {
  Row row{};
  if (floats >= 0) row.floats = shared.value(floats).at<float>(image, y, x);
  if (stored >= 0) row.stored = shared.value(stored).at<float>(image, y, x);
  if (bits >= 0) row.bits = shared.value(bits).at<uint32_t>(image, y, x);
  if (bytes >= 0) row.bytes = shared.value(bytes).at<int8_t>(image, y, x);
  for (size_t i = 0; i < operands_.size(); ++i) {
    // A value of one pixel joins all pixels.
    const Value& operand = shared.value(operands_[i]);
    row.operands[i] = operand.at<const float>(operand.n == 1 ? 0 : image, operand.h == 1 ? 0 : y,
                                              operand.w == 1 ? 0 : x);
  }
  return row;
}

RowStep EpilogueStep::row_step(const StepContext& shared) const {
  const auto of = [&](int index) -> intptr_t {
    if (index < 0) return 0;
    const Value& value = shared.value(index);
    return value.pixel_stride * value.element_bytes();
  };
  RowStep step{of(floats), of(stored), of(bits), of(bytes), {}};
  for (size_t i = 0; i < operands_.size(); ++i) {
    step.operands[i] = shared.value(operands_[i]).w == 1 ? 0 : of(operands_[i]);
  }
  return step;
}

void EpilogueStep::epilogue_from(int first, Epilogue* epilogue, EpilogueOp* ops) const {
  if (epilogue->multiplier != nullptr) epilogue->multiplier += first;
  if (epilogue->bias != nullptr) epilogue->bias += first;
  if (epilogue->threshold != nullptr) epilogue->threshold += first;
  if (epilogue->is_requantized) {
    Requantization& by = epilogue->requantization;
    for (const int32_t** vector :
         {&by.bias, &by.multiplier, &by.left_shift, &by.right_shift, &by.least_not_negative}) {
      *vector += first;
    }
    if (by.factor != nullptr) by.factor += first;
  }
  epilogue->stores_int8_sums = bytes_are_sums;
  epilogue->byte_scale = byte_scale;
  epilogue->byte_zero_point = byte_zero_point;
  for (size_t i = 0; i < epilogue_ops_.size(); ++i) {
    ops[i] = epilogue_ops_[i];
    if (ops[i].vector != nullptr) ops[i].vector += first;
  }
  epilogue->ops = ops;
  epilogue->op_count = static_cast<int>(epilogue_ops_.size());
}

template <typename Predicate>
bool EpilogueStep::holds_for_values(const StepContext& shared, const Predicate& holds) const {
  const auto holds_for = [&](int index) { return holds(shared.value(index)); };
  const std::vector<int> read = reads(), written = writes();
  return std::all_of(read.begin(), read.end(), holds_for) &&
         std::all_of(written.begin(), written.end(), holds_for);
}

bool EpilogueStep::has_plain_rows(const StepContext& shared) const {
  const Value& input = shared.value(input_);
  return bits < 0 && holds_for_values(shared, [&](const Value& value) {
           return value.is_contiguous() && value.h == input.h && value.w == input.w &&
                  value.c == input.c;
         });
}

bool EpilogueStep::has_rows_side_by_side(const StepContext& shared) const {
  const Value& input = shared.value(input_);
  return holds_for_values(shared, [&](const Value& value) {
    return value.n == input.n && value.border.is_none() &&
           value.row_stride == int64_t{value.w} * value.c;
  });
}

std::vector<EpilogueOp> EpilogueStep::epilogue_of_row(
    int pixels, std::vector<std::vector<float>>* vectors) const {
  std::vector<EpilogueOp> ops = epilogue_ops_;
  vectors->clear();
  vectors->reserve(vectors_.size());
  for (EpilogueOp& op : ops) {
    if (op.vector == nullptr) continue;
    const int channels = vector_channels_[vectors->size()];
    std::vector<float> row;
    for (int i = 0; i < pixels; ++i) row.insert(row.end(), op.vector, op.vector + channels);
    row.resize((row.size() + kPanel - 1) / kPanel * kPanel);
    vectors->push_back(std::move(row));
    op.vector = vectors->back().data();
  }
  return ops;
}

std::string EpilogueStep::suffix() const {
  std::string text;
  for (const EpilogueOp& op : epilogue_ops_) {
    const bool is_activation = op.kind >= EpilogueOpKind::kRelu;
    text += is_activation                             ? " + relu"
            : op.kind == EpilogueOpKind::kStore       ? ", stored"
            : op.kind == EpilogueOpKind::kPReluVector ? " + prelu"
            : op.vector != nullptr                    ? " + constants"
                                                      : " + tensor";
  }
  if (bytes >= 0 && !bytes_are_sums) text += " -> int8";
  return bits >= 0 ? text + " -> signs" : text;
}

}  // namespace bopkit
