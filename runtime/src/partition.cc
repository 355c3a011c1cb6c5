// Memory for the values of a partition, the sizes of its outputs, and one inference.
#include "partition.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "denormals.h"
#include "fuse.h"

namespace bopkit {

Partition::Partition(const Kernels& kernels, ThreadPool& pool, bool is_profiled)
    : shared_{kernels, pool.threads()}, pool_(pool), is_profiled_(is_profiled) {}

Partition::~Partition() = default;

bool Partition::fail(const std::string& what) {
  error_ = what;
  return false;
}

bool Partition::build(abi::Context* context, const std::vector<Op>& ops,
                      const abi::DelegateParams& params, const Constants& constants) {
  nodes_ = static_cast<int>(ops.size());
  return fuse(context, ops, params, constants, &shared_, &steps_, &error_);
}

Value& Partition::owner_of(Value& value) {
  return value.alias_of < 0 ? value : owner_of(shared_.values[value.alias_of]);
}

bool Partition::prepare(abi::Context* context) {
  for (Value& value : shared_.values) {
    value.border = {};
    if (value.is_input && !value.set_shape(shape_of(context->tensors[value.tensor]))) {
      return fail("an input has no size, or is too large");
    }
  }
  for (const auto& step : steps_) {
    if (!step->shape(shared_)) return fail(step->name() + " " + step->error());
  }
  if (!place_values() || !resize_outputs(context)) return false;
  for (const auto& step : steps_) {
    if (!step->prepare(shared_)) return fail(step->name() + " " + step->error());
  }
  return true;
}

// Gives each value inside the partition memory: its own where it has a border, which must stay
// zero; else memory that other values use before it is written and after it was read last.
bool Partition::place_values() {
  std::vector<int> last_read(shared_.values.size(), -1);
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int read : steps_[i]->reads()) {
      int value = read;
      last_read[value] = static_cast<int>(i);
      while (shared_.values[value].alias_of >= 0) {
        value = shared_.values[value].alias_of;
        last_read[value] = static_cast<int>(i);
      }
    }
  }
  struct Slot {
    int64_t bytes;
    int free_from;  // the step from which on it may be written again
  };
  std::vector<Slot> slots;
  std::vector<int> slot_of(shared_.values.size(), -1);
  bordered_.clear();
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int index : steps_[i]->writes()) {
      Value& value = shared_.values[index];
      const int64_t bytes = value.lay_out();
      if (value.is_output || value.alias_of >= 0) continue;
      if (!value.border.is_none()) {
        bordered_.emplace_back();
        if (!bordered_.back().allocate(bytes)) return fail("no memory for its tensors");
        value.place(bordered_.back().as<char>());
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
  reused_.clear();
  for (const Slot& slot : slots) {
    reused_.emplace_back();
    if (!reused_.back().allocate(slot.bytes)) return fail("no memory for its tensors");
  }
  for (size_t i = 0; i < shared_.values.size(); ++i) {
    if (shared_.values[i].is_input) shared_.values[i].lay_out();
    if (slot_of[i] >= 0) shared_.values[i].place(reused_[slot_of[i]].as<char>());
  }
  return true;
}

bool Partition::resize_outputs(abi::Context* context) {
  for (const Value& value : shared_.values) {
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
  for (Value& value : shared_.values) {
    if (!value.is_input && !value.is_output) continue;
    const abi::Tensor& tensor = context->tensors[value.tensor];
    if (tensor.data == nullptr ||
        tensor.bytes < static_cast<size_t>(value.image_stride * value.n * value.element_bytes())) {
      return fail("an input or output has no memory, or another size than when it was prepared");
    }
    value.place(static_cast<char*>(tensor.data));
  }
  for (Value& value : shared_.values) {
    if (value.alias_of >= 0) value.first = owner_of(value).first;
  }
  const DenormalsAreZero mode;
  ThreadPool::Session session(pool_);
  for (const auto& step : steps_) {
    if (!is_profiled_) {
      step->run(shared_, session);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    step->run(shared_, session);
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
