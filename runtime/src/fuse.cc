// One operator after the other becomes a step, or joins one that is there.
#include "fuse.h"

#include <algorithm>
#include <map>
#include <set>

#include "dequantize.h"
#include "steps.h"

namespace bopkit {
namespace {

bool is_arithmetic(OpKind kind) {
  return kind == OpKind::kAdd || kind == OpKind::kSubtract || kind == OpKind::kMultiply ||
         kind == OpKind::kRelu;
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
  bool add_arithmetic(const Op& op);
  void add_bit_pack(const Op& op);
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
    if (known.count(op.input) == 0 || (joins_tensor(op) && known.count(op.other) == 0)) {
      return false;
    }
    if (!known.insert(op.output).second) return false;
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
  if (step->bits >= 0) return nullptr;  // somebody else reads those
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
  for (const Op& op : ops) {
    if (op.kind == OpKind::kConstant) continue;
    ++shared_.values[value_of(op.input)].uses;
    value_of(op.output);
    if (joins_tensor(op)) ++shared_.values[value_of(op.other)].uses;
  }
  mark(params.input_tensors, &Value::is_input);
  mark(params.output_tensors, &Value::is_output);
  for (const Op& op : ops) {
    if (op.kind != OpKind::kConstant && !add(op)) return false;
  }
  return true;
}

bool Fuser::add(const Op& op) {
  const int input = value_of(op.input), output = value_of(op.output);
  const abi::Tensor& from = context_->tensors[op.input];
  const abi::Tensor& to = context_->tensors[op.output];
  switch (op.kind) {
    case OpKind::kBitPack:
      if (from.type == abi::kFloat32) {
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
    case OpKind::kFloatConv:
      return add_epilogue_step(make_float_conv(op, input, *context_, shared_.kernels,
                                               floats_of(op.filter), floats_of(op.bias)),
                               output);
    case OpKind::kMaxPool:
    case OpKind::kAveragePool:
      return add_epilogue_step(make_pool(op, input, take_source(input)), output);
    case OpKind::kMean:
      add_plain(make_mean(op, input, output));
      return true;
    case OpKind::kAdd:
    case OpKind::kSubtract:
    case OpKind::kMultiply:
    case OpKind::kRelu:
      return add_arithmetic(op);
    case OpKind::kReshape: {
      const abi::Tensor& shape = context_->tensors[op.other];
      const auto* sizes = static_cast<const int32_t*>(shape.data);
      Value &source = shared_.values[input], &target = shared_.values[output];
      const bool is_alias = !target.is_output;
      source.is_reshaped = target.is_reshaped = true;
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

bool Fuser::add_epilogue_step(std::unique_ptr<EpilogueStep> step, int output) {
  if (step == nullptr) return fail("found no memory for the weights");
  const abi::Type type = shared_.values[output].type;
  if (type == abi::kFloat32) {
    step->result = step->floats = output;
  } else {
    (type == abi::kInt32 ? step->bits : step->bytes) = output;
  }
  epilogue_steps_.push_back(step.get());
  steps_.push_back(std::move(step));
  return true;
}

// A value is bit-packed where it is computed, while it is still in registers.
void Fuser::add_bit_pack(const Op& op) {
  const int input = value_of(op.input), output = value_of(op.output);
  EpilogueStep* step = producer_of(input);
  if (step == nullptr || step->bits >= 0) {
    auto made = make_elementwise(input);
    step = made.get();
    epilogue_steps_.push_back(step);
    steps_.push_back(std::move(made));
  } else {
    // Nothing else reads it: it need not be stored.
    if (is_only_used_once(input)) step->floats = -1;
    --shared_.values[input].uses;
  }
  step->bits = output;
}

// Arithmetic joins the step of its later operand, if nothing else reads that, and becomes a step of
// its own otherwise.
bool Fuser::add_arithmetic(const Op& op) {
  const int output = value_of(op.output);
  const bool is_unary = op.kind == OpKind::kRelu;
  const bool is_vector = !is_unary && values_.count(op.other) == 0;
  int input = value_of(op.input), other = is_unary || is_vector ? -1 : value_of(op.other);
  bool is_swapped = false;
  if (other >= 0) {
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
  // The other operand must be there when the step runs: computed by an earlier one, or from
  // outside.
  const bool is_ready = other < 0 || shared_.values[other].is_input ||
                        (producer_of(other) != nullptr && producer_of(other) != step);
  if (step == nullptr || !is_only_used_once(input) || !is_ready || !step->can_append(other >= 0)) {
    auto made = make_elementwise(input);
    step = made.get();
    epilogue_steps_.push_back(step);
    steps_.push_back(std::move(made));
  } else {
    --shared_.values[input].uses;
  }
  EpilogueOpKind kind = EpilogueOpKind::kRelu;
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
    step->append(
        kind,
        vector_of(
            op.other,
            context_->tensors[op.output].dims->data[context_->tensors[op.output].dims->size - 1]));
  } else if (other >= 0) {
    step->append(kind, other);
  }
  step->append_activation(op.activation);
  step->result = step->floats = output;
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
