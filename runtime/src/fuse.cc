// One operator after the other becomes a step, or joins one that is there.
#include "fuse.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "dequantize.h"
#include "int8_steps.h"
#include "steps.h"

namespace bopkit {
namespace {

bool is_arithmetic(OpKind kind) { return kind >= OpKind::kAdd && kind <= OpKind::kRelu; }

std::vector<int> tensors_read(const Op& op) {
  if (op.kind == OpKind::kConcatenation) return op.parts;
  return {op.input};
}

std::vector<int> tensors_written(const Op& op) {
  if (op.kind == OpKind::kSplit) return op.parts;
  return {op.output};
}

class Fuser {
 public:
  Fuser(abi::Context* context, const Constants& constants, StepContext* shared,
        std::vector<std::unique_ptr<Step>>* steps)
      : context_(context), constants_(constants), shared_(*shared), steps_(*steps) {}

  bool fuse(const std::vector<Op>& ops, const abi::DelegateParams& params);

  const std::string& error() const { return error_; }

 private:
  bool is_in_order(const std::vector<Op>& ops, const abi::DelegateParams& params);
  bool joins_tensor(const Op& op) const;
  int value_of(int tensor);
  const float* floats_of(int tensor);
  std::vector<float> vector_of(int tensor, int channels);
  bool add(const Op& op);
  void add_int8_step(const Op& op);
  bool add_arithmetic(const Op& op);
  bool leads_to_signs(const Op& op, int most = kMaxEpilogueOps) const;
  bool store_and_go_on(EpilogueStep* step);
  void append(const Op& op, EpilogueStep* step, int other, bool is_swapped, int first_channel = 0,
              int channels = 0);
  bool add_to_parts(const Op& op);
  bool make_ready(EpilogueStep* step, int operand);
  int root_of(int value) const;
  bool is_overwritten(int value) const;
  bool reads_any(const EpilogueStep& step, int root) const;
  bool reads_overwritten(const EpilogueStep& step) const;
  int shareable(int value) const;
  int new_value(const Value& like);
  int view_of(int whole, int first_channel, const Value& like);
  int as_part(int value, int whole, int first_channel);
  EpilogueStep* copy(int from, int to);
  void add_concatenation(const Op& op);
  void add_split(const Op& op);
  void add_pad(const Op& op);
  void make_pad(const Op& op);
  bool can_add_in_place(const Op& op, size_t number);
  bool add_in_place(const Op& op);
  int channels_of(int tensor) const { return shape_of(context_->tensors[tensor]).channels(); }
  void add_bit_pack(const Op& op);
  void add_quantize(const Op& op);
  EpilogueStep* step_to_end(int input, int EpilogueStep::*form);
  EpilogueStep* take_numbers(int value);
  EpilogueStep* add_map(int input, float scale = 1, int zero_point = 0);
  bool add_epilogue_step(std::unique_ptr<EpilogueStep> step, int output);
  void add_plain(std::unique_ptr<Step> step) { steps_.push_back(std::move(step)); }
  bool is_only_used_once(int value) const {
    return shared_.values[value].uses == 1 && !shared_.values[value].is_output;
  }
  EpilogueStep* producer_of(int value);
  std::unique_ptr<EpilogueStep> take_source(int value);

  bool fail(const char* what) {
    error_ = what;
    return false;
  }

  abi::Context* context_;
  const Constants& constants_;
  StepContext& shared_;
  std::vector<std::unique_ptr<Step>>& steps_;
  const std::vector<Op>* ops_ = nullptr;
  size_t now_ = 0;                              // of `ops_`
  std::map<int, std::vector<size_t>> readers_;  // numbers of operators by tensor
  std::map<int, const Op*> pads_;               // that their only reader joins, by output tensor
  // Steps that write the parts of a concatenation that nobody else reads, by its value.
  struct PartStep {
    EpilogueStep* step;
    int first_channel, channels;
  };
  std::map<int, std::vector<PartStep>> joined_;
  void run_together(const std::vector<PartStep>& parts);
  std::set<int> overwritten_;                      // values whose memory changed after all read it
  std::map<int, int> values_;                      // by tensor
  std::vector<EpilogueStep*> epilogue_steps_;      // in the order of their steps
  std::map<int, std::vector<float>> dequantized_;  // constants by tensor
  std::string error_;
};

int Fuser::value_of(int tensor) {
  const auto [found, is_new] = values_.emplace(tensor, static_cast<int>(shared_.values.size()));
  if (is_new) {
    Value value;
    value.tensor = tensor;
    value.type = context_->tensors[tensor].type;
    value.shape = shape_of(context_->tensors[tensor]);
    value.zero_point = context_->tensors[tensor].zero_point;
    shared_.values.push_back(value);
  }
  return found->second;
}

const float* Fuser::floats_of(int tensor) {
  if (tensor < 0) return nullptr;
  const auto found = constants_.find(tensor);
  if (found == constants_.end()) return static_cast<const float*>(context_->tensors[tensor].data);
  std::vector<float>& values = dequantized_[tensor];
  if (values.empty()) values = dequantize(context_->tensors[found->second]);
  return values.data();
}

// Whether an arithmetic operator's other operand is no constant.
bool Fuser::joins_tensor(const Op& op) const {
  return is_arithmetic(op.kind) && op.other >= 0 && !is_constant(context_->tensors[op.other]) &&
         constants_.count(op.other) == 0;
}

// Whether all tensors are written once, and before they are read: steps share memory by it.
bool Fuser::is_in_order(const std::vector<Op>& ops, const abi::DelegateParams& params) {
  std::set<int> known(params.input_tensors->data,
                      params.input_tensors->data + params.input_tensors->size);
  for (const auto& constant : constants_) known.insert(constant.first);
  for (const Op& op : ops) {
    if (op.kind == OpKind::kConstant) continue;
    for (const int tensor : tensors_read(op)) {
      if (known.count(tensor) == 0) return false;
    }
    if (joins_tensor(op) && known.count(op.other) == 0) return false;
    for (const int tensor : tensors_written(op)) {
      if (!known.insert(tensor).second) return false;
    }
  }
  return true;
}

// A constant with one value a channel, or one for all.
std::vector<float> Fuser::vector_of(int tensor, int channels) {
  const abi::Tensor& constant = context_->tensors[tensor];
  const float* values = floats_of(tensor);
  const bool is_scalar = constant.dims->size == 0 || count_elements(constant) == 1;
  return is_scalar ? std::vector<float>(static_cast<size_t>(channels), values[0])
                   : std::vector<float>(values, values + channels);
}

EpilogueStep* Fuser::producer_of(int value) {
  for (EpilogueStep* step : epilogue_steps_) {
    if (step->result == value) return step;
  }
  return nullptr;
}

// The step that makes a value, taken out of the partition for the pool that is the only one to read
// it: where the value is too large for the second-level cache, it is better never written as a
// whole.
std::unique_ptr<EpilogueStep> Fuser::take_source(int value) {
  constexpr int64_t kLargeBytes = 512 << 10;
  EpilogueStep* step = producer_of(value);
  const int64_t bytes = 4 * count_elements(context_->tensors[shared_.values[value].tensor]);
  if (step == nullptr || !step->makes_rows() || !is_only_used_once(value) || bytes < kLargeBytes) {
    return nullptr;
  }
  // Somebody else reads those.
  if (step->bits >= 0 || step->bytes >= 0 || step->stored >= 0) return nullptr;
  if (reads_overwritten(*step)) return nullptr;
  epilogue_steps_.erase(std::find(epilogue_steps_.begin(), epilogue_steps_.end(), step));
  const auto found = std::find_if(steps_.begin(), steps_.end(),
                                  [step](const auto& each) { return each.get() == step; });
  std::unique_ptr<EpilogueStep> source(static_cast<EpilogueStep*>(found->release()));
  steps_.erase(found);
  return source;
}

bool Fuser::fuse(const std::vector<Op>& ops, const abi::DelegateParams& params) {
  const auto mark = [&](const abi::IntArray* tensors, bool Value::*role) {
    for (int i = 0; tensors != nullptr && i < tensors->size; ++i) {
      const int tensor = tensors->data[i];
      if (tensor >= 0 && values_.count(tensor) != 0) {
        shared_.values[values_[tensor]].*role = true;
      }
    }
  };
  if (!is_in_order(ops, params)) {
    return fail("a tensor is read before it is written, or written twice");
  }
  ops_ = &ops;
  for (size_t i = 0; i < ops.size(); ++i) {
    const Op& op = ops[i];
    if (op.kind == OpKind::kConstant) continue;
    std::vector<int> read = tensors_read(op);
    if (joins_tensor(op)) read.push_back(op.other);
    for (const int tensor : read) {
      ++shared_.values[value_of(tensor)].uses;
      readers_[tensor].push_back(i);
    }
    for (const int tensor : tensors_written(op)) value_of(tensor);
    if (op.kind == OpKind::kReshape) {
      shared_.values[value_of(op.input)].is_reshaped = true;
      shared_.values[value_of(op.output)].is_reshaped = true;
    }
  }
  mark(params.input_tensors, &Value::is_input);
  mark(params.output_tensors, &Value::is_output);
  for (now_ = 0; now_ < ops.size(); ++now_) {
    if (ops[now_].kind != OpKind::kConstant && !add(ops[now_])) return false;
  }
  return true;
}

bool Fuser::add(const Op& op) {
  if (op.is_int8) {
    add_int8_step(op);
    return true;
  }
  const int input = value_of(op.input), output = value_of(op.output);
  const abi::Tensor& from = context_->tensors[op.input];
  const abi::Tensor& to = context_->tensors[op.output];
  switch (op.kind) {
    case OpKind::kBitPack:
      // Numbers that small would lose their signs: the processor takes them for zero.
      if (from.type == abi::kFloat32 || (from.scale > 1e-30f && take_numbers(input) != nullptr)) {
        add_bit_pack(op);
      } else {
        add_plain(
            make_bit_pack_bytes(input, output, from.type == abi::kBool ? 1 : from.zero_point));
      }
      return true;
    case OpKind::kBitUnpack:
      add_plain(make_bit_unpack(input, output, to.type == abi::kInt8 ? to.scale : 1.0f,
                                to.type == abi::kInt8 ? to.zero_point : 0));
      return true;
    case OpKind::kBinaryConv:
      return add_epilogue_step(make_binary_conv(op, input, *context_, shared_.kernels,
                                                floats_of(op.multiplier), floats_of(op.bias)),
                               output);
    case OpKind::kBitPackedMaxPool:
      add_plain(make_bit_packed_max_pool(op, input, output));
      return true;
    case OpKind::kInt8Conv:
      return add_epilogue_step(make_int8_conv(op, input, *context_, shared_.kernels), output);
    case OpKind::kInt8DepthwiseConv:
      return add_epilogue_step(make_int8_depthwise_conv(op, input, *context_), output);
    case OpKind::kQuantize:
      add_quantize(op);
      return true;
    case OpKind::kDequantize: {
      EpilogueStep* step = take_numbers(input);
      if (step == nullptr) step = add_map(input, from.scale, from.zero_point);
      step->result = step->floats = output;
      return true;
    }
    case OpKind::kCast:
      copy(input, output);
      return true;
    case OpKind::kFloatConv: {
      const auto stored = constants_.find(op.filter);
      const abi::Tensor& weights =
          context_->tensors[stored == constants_.end() ? op.filter : stored->second];
      if (has_int8_weights(weights, 0)) {
        return add_epilogue_step(
            make_mixed_conv(op, input, weights, shared_.kernels, floats_of(op.bias)), output);
      }
      return add_epilogue_step(make_float_conv(op, input, *context_, shared_.kernels,
                                               floats_of(op.filter), floats_of(op.bias)),
                               output);
    }
    case OpKind::kMaxPool:
    case OpKind::kAveragePool:
      return add_epilogue_step(make_pool(op, input, take_source(input)), output);
    case OpKind::kMean:
      add_plain(make_mean(op, input, output));
      return true;
    case OpKind::kDepthwiseConv:
      return add_epilogue_step(make_depthwise_conv(op, input, channels_of(op.filter),
                                                   floats_of(op.filter), floats_of(op.bias)),
                               output);
    case OpKind::kConcatenation:
      add_concatenation(op);
      return true;
    case OpKind::kSplit:
      add_split(op);
      return true;
    case OpKind::kPad:
      add_pad(op);
      return true;
    case OpKind::kLogistic:
      add_plain(make_logistic(input, output));
      return true;
    case OpKind::kSoftmax:
      add_plain(make_softmax(input, output, op.beta));
      return true;
    case OpKind::kAdd:
    case OpKind::kSubtract:
    case OpKind::kMultiply:
    case OpKind::kMaximum:
    case OpKind::kPRelu:
    case OpKind::kRelu:
      return add_in_place(op) || add_to_parts(op) || add_arithmetic(op);
    case OpKind::kReshape: {
      const abi::Tensor& shape = context_->tensors[op.other];
      const auto* sizes = static_cast<const int32_t*>(shape.data);
      Value& target = shared_.values[output];
      const bool is_alias = !target.is_output;
      if (is_alias) target.alias_of = input;
      add_plain(make_reshape(input, output, std::vector<int>(sizes, sizes + shape.dims->data[0]),
                             is_alias));
      return true;
    }
    case OpKind::kConstant:
      return true;
  }
  return true;
}

void Fuser::add_int8_step(const Op& op) {
  const int input = value_of(op.input), output = value_of(op.output);
  switch (op.kind) {
    case OpKind::kMaxPool:
    case OpKind::kAveragePool:
      return add_plain(make_int8_pool(op, input, output, *context_));
    case OpKind::kMean:
      return add_plain(make_int8_mean(op, input, output, *context_));
    case OpKind::kPad:
      return add_plain(make_int8_pad(op, input, output, *context_));
    case OpKind::kConcatenation: {
      std::vector<int> parts;
      for (const int tensor : op.parts) parts.push_back(value_of(tensor));
      return add_plain(make_int8_concatenation(std::move(parts), output));
    }
    default:
      return add_plain(joins_tensor(op)
                           ? make_int8_arithmetic(op, input, value_of(op.other), output, *context_)
                           : make_int8_map(op, input, output, *context_));
  }
}

bool Fuser::add_epilogue_step(std::unique_ptr<EpilogueStep> step, int output) {
  if (step == nullptr) return fail("found no memory for the weights");
  const abi::Type type = shared_.values[output].type;
  if (type == abi::kFloat32) {
    step->result = step->floats = output;
  } else {
    (type == abi::kInt32 ? step->bits : step->bytes) = output;
    step->bytes_are_sums = step->sums_epilogue().is_requantized;
  }
  epilogue_steps_.push_back(step.get());
  steps_.push_back(std::move(step));
  return true;
}

// A value is bit-packed where it is computed, while it is still in registers.
void Fuser::add_bit_pack(const Op& op) {
  step_to_end(value_of(op.input), &EpilogueStep::bits)->bits = value_of(op.output);
}

// The step whose results are `input`, to store them in a form that it does not store yet.
EpilogueStep* Fuser::step_to_end(int input, int EpilogueStep::*form) {
  EpilogueStep* step = producer_of(input);
  if (step == nullptr || step->*form >= 0) return add_map(input);
  // Nothing else reads it: it need not be stored as floats.
  if (is_only_used_once(input)) step->floats = -1;
  --shared_.values[input].uses;
  return step;
}

// A value becomes int8 where it is computed, too.
void Fuser::add_quantize(const Op& op) {
  EpilogueStep* step = step_to_end(value_of(op.input), &EpilogueStep::bytes);
  const abi::Tensor& to = context_->tensors[op.output];
  step->bytes = value_of(op.output);
  // Numbers that int8 sums stand for are these sums again.
  step->bytes_are_sums = step->floats < 0 && step->bits < 0 && step->stands_for_int8(to);
  step->byte_scale = to.scale;
  step->byte_zero_point = to.zero_point;
}

// The step that computes an int8 value which nothing else reads, and then the numbers that this
// stands for; null for none.
EpilogueStep* Fuser::take_numbers(int value) {
  for (EpilogueStep* step : epilogue_steps_) {
    if (step->bytes != value || !step->bytes_are_sums || !is_only_used_once(value)) continue;
    step->bytes = -1;
    step->bytes_are_sums = false;
    step->result = value;
    return step;
  }
  return nullptr;
}

EpilogueStep* Fuser::add_map(int input, float scale, int zero_point) {
  auto made = make_elementwise(input, scale, zero_point);
  EpilogueStep* step = made.get();
  epilogue_steps_.push_back(step);
  steps_.push_back(std::move(made));
  return step;
}

// Whether all that happens to the result of an operator, before its signs are taken, is arithmetic
// with constants.
bool Fuser::leads_to_signs(const Op& op, int most) const {
  const auto readers = readers_.find(op.output);
  if (most == 0 || readers == readers_.end()) return false;
  for (const size_t reader : readers->second) {
    const Op& next = (*ops_)[reader];
    if (next.kind == OpKind::kBitPack) return true;
  }
  const Op& next = (*ops_)[readers->second[0]];
  return readers->second.size() == 1 && is_arithmetic(next.kind) && !joins_tensor(next) &&
         leads_to_signs(next, most - 1);
}

// Lets the step store its result, which others read too, and go on with it.
bool Fuser::store_and_go_on(EpilogueStep* step) {
  if (!step->can_store()) return false;
  step->append_store();
  return true;
}

int Fuser::root_of(int value) const {
  const int owner = shared_.values[value].alias_of;
  return owner < 0 ? value : root_of(owner);
}

// Whether the memory that a value lies in changed after all that read it before. What it lies in may
// lie in something else by now.
bool Fuser::is_overwritten(int value) const {
  return overwritten_.count(value) != 0 ||
         (shared_.values[value].alias_of >= 0 && is_overwritten(shared_.values[value].alias_of));
}

bool Fuser::reads_any(const EpilogueStep& step, int root) const {
  const std::vector<int> read = step.reads();
  return std::any_of(read.begin(), read.end(), [&](int value) { return root_of(value) == root; });
}

// Whether the step must stay where it is: it reads what a later step changes.
bool Fuser::reads_overwritten(const EpilogueStep& step) const {
  const std::vector<int> read = step.reads();
  return std::any_of(read.begin(), read.end(), [&](int value) { return is_overwritten(value); });
}

// Whether the operand is there when the step runs, or will be because the step runs later: nobody
// has read its result yet.
bool Fuser::make_ready(EpilogueStep* step, int operand) {
  if (shared_.values[operand].is_input) return true;
  const auto at = [&](const Step* wanted) {
    return std::find_if(steps_.begin(), steps_.end(),
                        [wanted](const auto& each) { return each.get() == wanted; });
  };
  const auto here = at(step);
  const auto writes_it = [&](const auto& each) {
    const std::vector<int> written = each->writes();
    return std::find(written.begin(), written.end(), operand) != written.end();
  };
  if (std::find_if(steps_.begin(), here, writes_it) != here) return true;
  if (writes_it(*here) || step->stored >= 0 || step->bits >= 0) return false;
  if (reads_overwritten(*step)) return false;
  if (std::find_if(here, steps_.end(), writes_it) == steps_.end()) return false;
  std::rotate(here, here + 1, steps_.end());
  std::rotate(std::find(epilogue_steps_.begin(), epilogue_steps_.end(), step),
              std::find(epilogue_steps_.begin(), epilogue_steps_.end(), step) + 1,
              epilogue_steps_.end());
  return true;
}

// Arithmetic joins the step of its later operand, if nothing else reads that, and becomes a step of
// its own otherwise.
bool Fuser::add_arithmetic(const Op& op) {
  for (const int tensor : {op.input, op.other}) {
    const auto pad = pads_.find(tensor);
    if (pad == pads_.end()) continue;
    make_pad(*pad->second);
    pads_.erase(pad);
  }
  const int output = value_of(op.output);
  const bool is_vector = op.kind != OpKind::kRelu && values_.count(op.other) == 0;
  int input = value_of(op.input), other = is_vector || op.other < 0 ? -1 : value_of(op.other);
  bool is_swapped = false;
  const auto is_image = [&](int value) {
    const Shape &shape = shared_.values[value].shape, &to = shared_.values[output].shape;
    return shape.rank == to.rank &&
           std::equal(shape.dims + 1, shape.dims + shape.rank, to.dims + 1);
  };
  if (other >= 0 && is_image(other)) {
    const auto place = [&](int value) {
      return std::find(epilogue_steps_.begin(), epilogue_steps_.end(), producer_of(value)) -
             epilogue_steps_.begin();
    };
    const bool other_is_last = producer_of(other) != nullptr &&
                               (producer_of(input) == nullptr || place(other) > place(input));
    if (other_is_last) {
      std::swap(input, other);
      is_swapped = true;
    }
  }
  EpilogueStep* step = producer_of(input);
  bool joins = step != nullptr && step->can_append(other >= 0);
  if (joins && is_only_used_once(input)) {
    joins = other < 0 || make_ready(step, other);
    if (joins) --shared_.values[input].uses;
  } else {
    joins = joins && other < 0 && leads_to_signs(op) && store_and_go_on(step);
  }
  if (!joins) step = add_map(input);
  append(op, step, other, is_swapped);
  step->result = step->floats = output;
  return true;
}

// Arithmetic of a concatenation with constants joins the steps of all its parts.
bool Fuser::add_to_parts(const Op& op) {
  const int input = value_of(op.input), output = value_of(op.output);
  const bool is_vector = op.kind == OpKind::kRelu || values_.count(op.other) == 0;
  const auto joined = joined_.find(input);
  if (joined == joined_.end() || !is_vector || !is_only_used_once(input)) return false;
  const std::vector<PartStep> parts = joined->second;
  for (const PartStep& part : parts) {
    if (!part.step->can_append(false)) return false;
  }
  Value& target = shared_.values[output];
  if (target.is_output || target.is_reshaped) return false;
  for (const PartStep& part : parts) {
    append(op, part.step, -1, false, part.first_channel, part.channels);
  }
  target.alias_of = input;
  target.is_view = true;
  add_plain(make_cut(input, channels_of(op.input), {output}, {channels_of(op.output)}));
  joined_[output] = parts;
  return true;
}

// With `channels`, the step computes only so many of the operator's, from `first_channel` on.
void Fuser::append(const Op& op, EpilogueStep* step, int other, bool is_swapped, int first_channel,
                   int channels) {
  const bool is_vector = op.kind != OpKind::kRelu && other < 0;
  EpilogueOpKind kind = EpilogueOpKind::kRelu;
  if (op.kind == OpKind::kMaximum) kind = EpilogueOpKind::kMaximumVector;
  if (op.kind == OpKind::kPRelu) kind = EpilogueOpKind::kPReluVector;
  if (op.kind == OpKind::kAdd)
    kind = is_vector ? EpilogueOpKind::kAddVector : EpilogueOpKind::kAddOperand;
  if (op.kind == OpKind::kMultiply) {
    kind = is_vector ? EpilogueOpKind::kMultiplyVector : EpilogueOpKind::kMultiplyOperand;
  }
  if (op.kind == OpKind::kSubtract) {
    kind = is_vector    ? EpilogueOpKind::kSubtractVector
           : is_swapped ? EpilogueOpKind::kSubtractFromOperand
                        : EpilogueOpKind::kSubtractOperand;
  }
  if (is_vector) {
    const std::vector<float> vector = vector_of(op.other, channels_of(op.output));
    const auto begin = vector.begin() + first_channel;
    step->append(kind, std::vector<float>(begin, channels > 0 ? begin + channels : vector.end()));
  } else if (other >= 0) {
    step->append(kind, other);
  }
  step->append_activation(op.activation);
}

// The value that can lie in another's memory in place of `value`: itself, or what it lies in as a
// whole; -1 for none.
int Fuser::shareable(int value) const {
  const Value& each = shared_.values[value];
  if (each.is_input || each.is_output || each.is_reshaped) return -1;
  if (each.alias_of < 0) return each.has_zeros ? -1 : value;
  const Value& owner = shared_.values[each.alias_of];
  const bool is_whole =
      each.is_view && each.first_channel == 0 && each.shape.channels() == owner.shape.channels();
  return is_whole ? shareable(each.alias_of) : -1;
}

// A value that LiteRT does not know.
int Fuser::new_value(const Value& like) {
  Value value;
  value.type = like.type;
  value.shape = like.shape;
  shared_.values.push_back(value);
  return static_cast<int>(shared_.values.size()) - 1;
}

int Fuser::view_of(int whole, int first_channel, const Value& like) {
  const int view = new_value(like);
  shared_.values[view].alias_of = whole;
  shared_.values[view].is_view = true;
  shared_.values[view].first_channel = first_channel;
  return view;
}

EpilogueStep* Fuser::copy(int from, int to) {
  EpilogueStep* step = add_map(from);
  step->result = step->floats = to;
  return step;
}

// A value that has the numbers of `value` and lies in the channels of `whole`: itself if it can lie
// there, else a copy.
int Fuser::as_part(int value, int whole, int first_channel) {
  const int root = shareable(value);
  if (root >= 0 && root_of(whole) != root) {
    Value& shared = shared_.values[root];
    shared.alias_of = whole;
    shared.is_view = true;
    shared.first_channel = first_channel;
    return value;
  }
  const int view = view_of(whole, first_channel, shared_.values[value]);
  copy(value, view);
  return view;
}

// Lets steps whose results nobody has read yet run row by row, where all can.
void Fuser::run_together(const std::vector<PartStep>& parts) {
  for (const PartStep& part : parts) {
    if (!part.step->runs_rows() || part.step->bits >= 0 || part.step->bytes >= 0 ||
        part.step->stored >= 0) {
      return;
    }
    if (reads_overwritten(*part.step)) return;
  }
  if (parts.size() < 2) return;
  std::vector<std::unique_ptr<EpilogueStep>> taken;
  for (const PartStep& part : parts) {
    const auto found = std::find_if(steps_.begin(), steps_.end(),
                                    [&](const auto& each) { return each.get() == part.step; });
    taken.emplace_back(static_cast<EpilogueStep*>(found->release()));
    steps_.erase(found);
    epilogue_steps_.erase(std::find(epilogue_steps_.begin(), epilogue_steps_.end(), part.step));
  }
  add_plain(make_rows_together(std::move(taken)));
}

void Fuser::add_concatenation(const Op& op) {
  const int whole = value_of(op.output);
  std::vector<int> parts, channels;
  std::vector<PartStep> steps;
  int first_channel = 0;
  for (const int tensor : op.parts) {
    const int value = value_of(tensor);
    parts.push_back(as_part(value, whole, first_channel));
    EpilogueStep* step = producer_of(parts.back());
    const bool is_alone = parts.back() != value || is_only_used_once(value);
    channels.push_back(channels_of(tensor));
    if (step != nullptr && is_alone) steps.push_back({step, first_channel, channels.back()});
    first_channel += channels.back();
  }
  if (steps.size() == parts.size()) {
    joined_[whole] = steps;
    run_together(steps);
  }
  add_plain(make_join(parts, channels, whole, 0, 0));
}

void Fuser::add_split(const Op& op) {
  const int whole = value_of(op.input);
  std::vector<int> parts, channels;
  std::vector<std::pair<int, int>> copies;
  int first_channel = 0;
  for (const int tensor : op.parts) {
    const int output = value_of(tensor);
    Value& value = shared_.values[output];
    const bool is_view = !value.is_output && !value.is_reshaped;
    if (is_view) {
      value.alias_of = whole;
      value.is_view = true;
      value.first_channel = first_channel;
      parts.push_back(output);
    } else {
      parts.push_back(view_of(whole, first_channel, Value(value)));
      copies.push_back({parts.back(), output});
    }
    channels.push_back(channels_of(tensor));
    first_channel += channels.back();
  }
  add_plain(make_cut(whole, first_channel, parts, channels));
  for (const auto& [from, to] : copies) copy(from, to);
}

void Fuser::add_pad(const Op& op) {
  const int output = value_of(op.output);
  const auto readers = readers_.find(op.output);
  if (readers != readers_.end() && readers->second.size() == 1 &&
      !shared_.values[output].is_output && (*ops_)[readers->second[0]].kind == OpKind::kAdd) {
    pads_[op.output] = &op;
    if (can_add_in_place((*ops_)[readers->second[0]], readers->second[0])) return;
    pads_.erase(op.output);
  }
  make_pad(op);
}

void Fuser::make_pad(const Op& op) {
  const int output = value_of(op.output);
  const bool is_inside = !shared_.values[output].is_output && !shared_.values[output].is_reshaped;
  const int whole = is_inside ? output : new_value(Value(shared_.values[output]));
  shared_.values[whole].has_zeros = true;
  const int part = as_part(value_of(op.input), whole, op.before);
  add_plain(make_join({part}, {channels_of(op.input)}, whole, op.before, op.after));
  if (!is_inside) copy(whole, output);
}

// Whether a sum with a padded value can change the other operand where that lies: nobody reads it,
// or what shares its memory, any more.
bool Fuser::can_add_in_place(const Op& op, size_t number) {
  if (op.kind != OpKind::kAdd || op.activation != abi::kActNone || !joins_tensor(op)) return false;
  const int pad = pads_.count(op.other) != 0 ? op.other : op.input;
  const int features = pad == op.other ? op.input : op.other;
  if (pads_.count(pad) == 0 || pad == features || pads_.count(features) != 0) return false;
  const int target = value_of(features);
  if (shared_.values[value_of(op.output)].is_output ||
      shared_.values[value_of(op.output)].is_reshaped || shareable(target) < 0) {
    return false;
  }
  const Op& padding = *pads_[pad];
  const Shape sum = shape_of(context_->tensors[op.output]);
  for (const int operand : {features, pad}) {
    const Shape shape = shape_of(context_->tensors[operand]);
    if (shape.rank != 4 || !std::equal(shape.dims, shape.dims + 4, sum.dims)) return false;
  }
  if (channels_of(features) != padding.before + channels_of(padding.input) + padding.after ||
      shared_.values[value_of(padding.input)].uses != 1 ||
      producer_of(value_of(padding.input)) == nullptr ||
      root_of(value_of(padding.input)) == root_of(target)) {
    return false;
  }
  const int root = root_of(target);
  for (const auto& [tensor, value] : values_) {
    if (root_of(value) != root) continue;
    if (shared_.values[value].is_output || shared_.values[value].is_input) return false;
    for (const size_t reader : readers_[tensor]) {
      if (reader > number) return false;
    }
  }
  return true;
}

bool Fuser::add_in_place(const Op& op) {
  if (!can_add_in_place(op, now_)) return false;
  const int pad = pads_.count(op.other) != 0 ? op.other : op.input;
  const int sum_of = pad == op.other ? op.input : op.other;
  const int features = value_of(sum_of);
  const Op& padding = *pads_[pad];
  const int improvement = value_of(padding.input), output = value_of(op.output);
  EpilogueStep* step = producer_of(improvement);
  const int channels = channels_of(padding.input);
  const Value like = shared_.values[improvement];
  const int before = view_of(features, padding.before, like);
  Value& target = shared_.values[output];
  target.alias_of = features;
  target.is_view = true;
  const int after = view_of(output, padding.before, like);
  add_plain(make_cut(features, channels_of(sum_of), {before, output},
                     {channels, channels_of(op.output)}));
  // A step that reads other pixels or channels of what it changes would read its own results.
  if (reads_any(*step, root_of(features)) || !step->can_append(true) || !make_ready(step, before)) {
    step = copy(improvement, after);
  }
  step->append(EpilogueOpKind::kAddOperand, before);
  step->result = step->floats = after;
  overwritten_.insert(root_of(features));
  return true;
}

}  // namespace

bool fuse(abi::Context* context, const std::vector<Op>& ops, const abi::DelegateParams& params,
          const Constants& constants, StepContext* shared,
          std::vector<std::unique_ptr<Step>>* steps, std::string* error) {
  Fuser fuser(context, constants, shared, steps);
  if (fuser.fuse(ops, params)) return true;
  *error = fuser.error();
  return false;
}

}  // namespace bopkit
