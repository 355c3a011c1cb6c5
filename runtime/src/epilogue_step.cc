// The part that all steps with an epilogue share: which values they write, what joins them, and the
// epilogue as the micro-kernels take it.
#include "epilogue_step.h"

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

bool EpilogueStep::shape_results(StepContext& shared, const Shape& shape) {
  Shape packed = shape;
  packed.dims[shape.rank - 1] = words_of(shape.channels());
  for (const int value : {floats, bytes}) {
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
    if (other.rank != shape.rank ||
        std::memcmp(other.dims, shape.dims, sizeof(int) * static_cast<size_t>(shape.rank)) != 0) {
      return fail("joins tensors of different shapes");
    }
  }
  return true;
}

Row EpilogueStep::row_at(const StepContext& shared, int image, int y, int x) const {
  Row row;
  if (floats >= 0) row.floats = shared.value(floats).at<float>(image, y, x);
  if (bits >= 0) row.bits = shared.value(bits).at<uint32_t>(image, y, x);
  if (bytes >= 0) row.bytes = shared.value(bytes).at<int8_t>(image, y, x);
  for (size_t i = 0; i < operands_.size(); ++i) {
    row.operands[i] = shared.value(operands_[i]).at<const float>(image, y, x);
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

void EpilogueStep::store_floats(const Kernels& kernels, const float* values, int first,
                                int channels, const Row& row) const {
  Epilogue epilogue;
  EpilogueOp ops[kMaxEpilogueOps];
  epilogue_from(first, &epilogue, ops);
  const Row part = from_channel(row, first);
  kernels.float_epilogue(epilogue, values, channels, &part, 1);
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

}  // namespace bopkit
