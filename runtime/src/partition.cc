#include "partition.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include "denormals.h"
#include "steps.h"

namespace bopkit {
namespace {

Shape shape_of(const abi::Tensor& tensor) {
  Shape shape;
  if (tensor.dims == nullptr || tensor.dims->size > kMaxRank) return shape;
  shape.rank = tensor.dims->size;
  std::copy(tensor.dims->data, tensor.dims->data + shape.rank, shape.dims);
  return shape;
}

float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float magnitude = exponent == 31 ? (fraction != 0 ? std::nanf("") : INFINITY)
                          : exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -24)
                              : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

// The real values of a constant of float16 or int8.
std::vector<float> dequantize(const abi::Tensor& tensor) {
  const int64_t count = count_elements(tensor);
  std::vector<float> values(static_cast<size_t>(count));
  if (tensor.type == abi::kFloat16) {
    const auto* halves = static_cast<const uint16_t*>(tensor.data);
    std::transform(halves, halves + count, values.begin(), from_half);
    return values;
  }
  const auto* bytes = static_cast<const int8_t*>(tensor.data);
  const auto* affine = static_cast<const abi::AffineQuantization*>(tensor.quantization);
  const bool is_per_channel =
      affine != nullptr && affine->scale != nullptr && affine->scale->size > 1;
  if (!is_per_channel) {
    for (int64_t i = 0; i < count; ++i) {
      values[i] = static_cast<float>(bytes[i] - tensor.zero_point) * tensor.scale;
    }
    return values;
  }
  const int axis = affine->quantized_dimension;
  int64_t inner = 1;
  for (int i = axis + 1; i < tensor.dims->size; ++i) inner *= tensor.dims->data[i];
  const int channels = affine->scale->size;
  for (int64_t i = 0; i < count; ++i) {
    const int channel = static_cast<int>(i / inner % channels);
    const bool has_zeros = affine->zero_point != nullptr && affine->zero_point->size == channels;
    values[i] = static_cast<float>(bytes[i] - (has_zeros ? affine->zero_point->data[channel] : 0)) *
                affine->scale->data[channel];
  }
  return values;
}

bool is_arithmetic(OpKind kind) {
  return kind == OpKind::kAdd || kind == OpKind::kSubtract || kind == OpKind::kMultiply ||
         kind == OpKind::kRelu;
}

}  // namespace

// Turns operators into steps.
class Builder {
 public:
  Builder(Partition& partition, abi::Context* context, const Constants& constants)
      : partition_(partition), context_(context), constants_(constants) {}

  bool build(const std::vector<Op>& ops, const abi::DelegateParams& params);

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
  void add_plain(std::unique_ptr<Step> step) { partition_.steps_.push_back(std::move(step)); }
  bool is_only_used_once(int value) const {
    return partition_.values_[value].uses == 1 && !partition_.values_[value].is_output;
  }
  EpilogueStep* producer_of(int value);
  std::unique_ptr<EpilogueStep> take_source(int value);

  Partition& partition_;
  abi::Context* context_;
  const Constants& constants_;
  std::map<int, int> values_;                  // by tensor
  std::vector<EpilogueStep*> epilogue_steps_;  // in the order of their steps
};

int Builder::value_of(int tensor) {
  const auto [found, is_new] = values_.emplace(tensor, static_cast<int>(partition_.values_.size()));
  if (is_new) {
    Value value;
    value.tensor = tensor;
    value.type = context_->tensors[tensor].type;
    value.shape = shape_of(context_->tensors[tensor]);
    partition_.values_.push_back(value);
  }
  return found->second;
}

const float* Builder::floats_of(int tensor) {
  if (tensor < 0) return nullptr;
  const auto found = constants_.find(tensor);
  if (found == constants_.end()) return static_cast<const float*>(context_->tensors[tensor].data);
  std::vector<float>& values = partition_.dequantized_[tensor];
  if (values.empty()) values = dequantize(context_->tensors[found->second]);
  return values.data();
}

// Whether an arithmetic operator's other operand is no constant.
bool Builder::joins_tensor(const Op& op) const {
  return is_arithmetic(op.kind) && op.other >= 0 && !is_constant(context_->tensors[op.other]) &&
         constants_.count(op.other) == 0;
}

// Whether all tensors are written once, and before they are read: steps share memory by it.
bool Builder::is_in_order(const std::vector<Op>& ops, const abi::DelegateParams& params) {
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
std::vector<float> Builder::vector_of(int tensor, int channels) {
  const abi::Tensor& constant = context_->tensors[tensor];
  const float* values = floats_of(tensor);
  const bool is_scalar = constant.dims->size == 0 || count_elements(constant) == 1;
  return is_scalar ? std::vector<float>(static_cast<size_t>(channels), values[0])
                   : std::vector<float>(values, values + channels);
}

EpilogueStep* Builder::producer_of(int value) {
  for (EpilogueStep* step : epilogue_steps_) {
    if (step->result == value) return step;
  }
  return nullptr;
}

// The step that makes a value, taken out of the partition for the pool that is the only one to read
// it: where the value is too large for the second-level cache, it is better never written as a
// whole.
std::unique_ptr<EpilogueStep> Builder::take_source(int value) {
  constexpr int64_t kLargeBytes = 512 << 10;
  EpilogueStep* step = producer_of(value);
  const int64_t bytes = 4 * count_elements(context_->tensors[partition_.values_[value].tensor]);
  if (step == nullptr || !step->makes_rows() || !is_only_used_once(value) || bytes < kLargeBytes) {
    return nullptr;
  }
  if (step->bits >= 0) return nullptr;  // somebody else reads those
  epilogue_steps_.erase(std::find(epilogue_steps_.begin(), epilogue_steps_.end(), step));
  auto& steps = partition_.steps_;
  const auto found = std::find_if(steps.begin(), steps.end(),
                                  [step](const auto& each) { return each.get() == step; });
  std::unique_ptr<EpilogueStep> source(static_cast<EpilogueStep*>(found->release()));
  steps.erase(found);
  return source;
}

bool Builder::build(const std::vector<Op>& ops, const abi::DelegateParams& params) {
  const auto mark = [&](const abi::IntArray* tensors, bool Value::*role) {
    for (int i = 0; tensors != nullptr && i < tensors->size; ++i) {
      const int tensor = tensors->data[i];
      if (tensor >= 0 && values_.count(tensor) != 0) {
        partition_.values_[values_[tensor]].*role = true;
      }
    }
  };
  if (!is_in_order(ops, params)) {
    return partition_.fail("a tensor is read before it is written, or written twice");
  }
  for (const Op& op : ops) {
    if (op.kind == OpKind::kConstant) continue;
    ++partition_.values_[value_of(op.input)].uses;
    value_of(op.output);
    if (joins_tensor(op)) ++partition_.values_[value_of(op.other)].uses;
  }
  mark(params.input_tensors, &Value::is_input);
  mark(params.output_tensors, &Value::is_output);
  for (const Op& op : ops) {
    if (op.kind != OpKind::kConstant && !add(op)) return false;
  }
  return true;
}

bool Builder::add(const Op& op) {
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
      return add_epilogue_step(make_binary_conv(op, input, context_, partition_,
                                                floats_of(op.multiplier), floats_of(op.bias)),
                               output);
    case OpKind::kBitPackedMaxPool:
      add_plain(make_bit_packed_max_pool(op, input, output));
      return true;
    case OpKind::kFloatConv:
      return add_epilogue_step(make_float_conv(op, input, context_, partition_,
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
      Value &source = partition_.values_[input], &target = partition_.values_[output];
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

bool Builder::add_epilogue_step(std::unique_ptr<EpilogueStep> step, int output) {
  if (step == nullptr) return partition_.fail("found no memory for the weights");
  const abi::Type type = partition_.values_[output].type;
  if (type == abi::kFloat32) {
    step->result = step->floats = output;
  } else {
    (type == abi::kInt32 ? step->bits : step->bytes) = output;
  }
  epilogue_steps_.push_back(step.get());
  partition_.steps_.push_back(std::move(step));
  return true;
}

// Signs of a value are taken where it is computed, while it is still in registers.
void Builder::add_bit_pack(const Op& op) {
  const int input = value_of(op.input), output = value_of(op.output);
  EpilogueStep* step = producer_of(input);
  if (step == nullptr || step->bits >= 0) {
    auto made = make_elementwise(input);
    step = made.get();
    epilogue_steps_.push_back(step);
    partition_.steps_.push_back(std::move(made));
  } else {
    // Nothing else reads it: it need not be stored.
    if (is_only_used_once(input)) step->floats = -1;
    --partition_.values_[input].uses;
  }
  step->bits = output;
}

// Arithmetic joins the step of its later operand, if nothing else reads that, and becomes a step of
// its own otherwise.
bool Builder::add_arithmetic(const Op& op) {
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
  const bool is_ready = other < 0 || partition_.values_[other].is_input ||
                        (producer_of(other) != nullptr && producer_of(other) != step);
  if (step == nullptr || !is_only_used_once(input) || !is_ready || !step->can_append(other >= 0)) {
    auto made = make_elementwise(input);
    step = made.get();
    epilogue_steps_.push_back(step);
    partition_.steps_.push_back(std::move(made));
  } else {
    --partition_.values_[input].uses;
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

Partition::Partition(const Kernels& kernels, ThreadPool& pool, bool is_profiled)
    : kernels_(kernels), pool_(pool), is_profiled_(is_profiled) {}

Partition::~Partition() = default;

bool Partition::fail(const std::string& what) {
  error_ = what;
  return false;
}

bool Partition::build(abi::Context* context, const std::vector<Op>& ops,
                      const abi::DelegateParams& params, const Constants& constants) {
  nodes_ = static_cast<int>(ops.size());
  return Builder(*this, context, constants).build(ops, params);
}

Value& Partition::owner_of(Value& value) {
  return value.alias_of < 0 ? value : owner_of(values_[value.alias_of]);
}

bool Partition::prepare(abi::Context* context) {
  for (Value& value : values_) {
    value.border = {};
    if (value.is_input && !value.set_shape(shape_of(context->tensors[value.tensor]))) {
      return fail("an input has no size, or is too large");
    }
  }
  for (const auto& step : steps_) {
    if (!step->shape(*this)) return fail(step->name() + " " + step->error());
  }
  if (!place_values(context) || !resize_outputs(context)) return false;
  for (const auto& step : steps_) {
    if (!step->prepare(*this)) return fail(step->name() + " " + step->error());
  }
  return true;
}

// Gives each value inside the partition memory: its own where it has a border, which must stay
// zero; else memory that other values use before it is written and after it was read last.
bool Partition::place_values(abi::Context*) {
  std::vector<int> last_read(values_.size(), -1);
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int read : steps_[i]->reads()) {
      int value = read;
      last_read[value] = static_cast<int>(i);
      while (values_[value].alias_of >= 0) {
        value = values_[value].alias_of;
        last_read[value] = static_cast<int>(i);
      }
    }
  }
  struct Slot {
    int64_t bytes;
    int free_from;  // the step from which on it may be written again
  };
  std::vector<Slot> slots;
  std::vector<int> slot_of(values_.size(), -1);
  own_.clear();
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int index : steps_[i]->writes()) {
      Value& value = values_[index];
      const int64_t bytes = value.lay_out();
      if (value.is_output || value.alias_of >= 0) continue;
      if (!value.border.is_none()) {
        own_.emplace_back();
        if (!own_.back().allocate(bytes)) return fail("no memory for its tensors");
        value.place(own_.back().as<char>());
        continue;
      }
      const int until = std::max(last_read[index], static_cast<int>(i)) + 1;
      int best = -1;
      for (size_t s = 0; s < slots.size(); ++s) {
        const bool is_free = slots[s].free_from <= static_cast<int>(i);
        if (is_free && (best < 0 || std::llabs(slots[s].bytes - bytes) <
                                        std::llabs(slots[best].bytes - bytes))) {
          best = static_cast<int>(s);
        }
      }
      if (best < 0) {
        best = static_cast<int>(slots.size());
        slots.push_back({0, 0});
      }
      slots[best] = {std::max(slots[best].bytes, bytes), until};
      slot_of[index] = best;
    }
  }
  shared_.clear();
  for (const Slot& slot : slots) {
    shared_.emplace_back();
    if (!shared_.back().allocate(slot.bytes)) return fail("no memory for its tensors");
  }
  for (size_t i = 0; i < values_.size(); ++i) {
    if (values_[i].is_input) values_[i].lay_out();
    if (slot_of[i] >= 0) values_[i].place(shared_[slot_of[i]].as<char>());
  }
  return true;
}

bool Partition::resize_outputs(abi::Context* context) {
  for (const Value& value : values_) {
    if (!value.is_output) continue;
    abi::Tensor& tensor = context->tensors[value.tensor];
    const Shape& shape = value.shape;
    const bool is_same = tensor.dims != nullptr && tensor.dims->size == shape.rank &&
                         std::memcmp(tensor.dims->data, shape.dims,
                                     sizeof(int) * static_cast<size_t>(shape.rank)) == 0;
    if (is_same) continue;
    // LiteRT frees it.
    auto* size = static_cast<abi::IntArray*>(
        std::malloc(sizeof(int) * (1 + static_cast<size_t>(shape.rank))));
    if (size == nullptr) return fail("no memory for a shape");
    size->size = shape.rank;
    std::copy(shape.dims, shape.dims + shape.rank, size->data);
    if (context->ResizeTensor(context, &tensor, size) != abi::kOk) {
      return fail("an output cannot be resized");
    }
  }
  return true;
}

bool Partition::run(abi::Context* context) {
  for (Value& value : values_) {
    if (!value.is_input && !value.is_output) continue;
    const abi::Tensor& tensor = context->tensors[value.tensor];
    if (tensor.data == nullptr ||
        tensor.bytes < static_cast<size_t>(value.image_stride * value.n * value.element_bytes())) {
      return fail("an input or output has no memory, or another size than when it was prepared");
    }
    value.place(static_cast<char*>(tensor.data));
  }
  for (Value& value : values_) {
    if (value.alias_of >= 0) value.first = owner_of(value).first;
  }
  const DenormalsAreZero mode;
  ThreadPool::Session session(pool_);
  for (const auto& step : steps_) {
    if (!is_profiled_) {
      step->run(*this, session);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    step->run(*this, session);
    const int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                           std::chrono::steady_clock::now() - start)
                           .count();
    step->least_ns = step->runs == 0 ? ns : std::min(step->least_ns, ns);
    step->total_ns += ns;
    ++step->runs;
  }
  return true;
}

std::string Partition::describe() const {
  std::string text = "{\"nodes\": " + std::to_string(nodes_) + ", \"steps\": [";
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = *steps_[i];
    text += i == 0 ? "" : ", ";
    text += "{\"name\": \"" + step.name() + "\", \"runs\": " + std::to_string(step.runs) +
            ", \"total_ns\": " + std::to_string(step.total_ns) +
            ", \"least_ns\": " + std::to_string(step.least_ns);
    text += ", \"binary_macs\": " + std::to_string(step.binary_macs()) +
            ", \"float_macs\": " + std::to_string(step.float_macs()) + "}";
  }
  return text + "]}";
}

}  // namespace bopkit
