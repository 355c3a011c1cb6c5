// Memory for the values of a partition, the sizes of its outputs, and one inference.
#include "partition.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "denormals.h"
#include "fuse.h"

namespace bopkit {

Partition::Partition(const Kernels& kernels, ThreadPool& pool, Profile profile)
    : shared_{kernels, pool.threads()}, pool_(pool), profile_(profile) {}

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

int Partition::owner_of(int index) const {
  const int owner = shared_.value(index).alias_of;
  return owner < 0 ? index : owner_of(owner);
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

// Strides of a value, and of what it shares memory with: first of the one that has the memory.
bool Partition::lay_out(size_t index, std::vector<char>* is_laid_out) {
  if ((*is_laid_out)[index]) return true;
  (*is_laid_out)[index] = 1;
  Value& value = shared_.values[index];
  if (!value.is_view) {
    return value.lay_out() <= kMaxBytes || fail("no memory for its tensors");
  }
  if (!lay_out(static_cast<size_t>(value.alias_of), is_laid_out)) return false;
  const Value& owner = shared_.values[value.alias_of];
  value.lay_out_as_view(owner);
  const bool fits = value.n == owner.n && value.h == owner.h && value.w == owner.w &&
                    value.first_channel + value.c <= owner.c;
  return fits || fail("channels do not fit into the tensor that they are of");
}

void Partition::place_alias(size_t index) {
  Value& value = shared_.values[index];
  if (value.alias_of < 0) return;
  place_alias(static_cast<size_t>(value.alias_of));
  value.first = shared_.values[value.alias_of].first +
                static_cast<int64_t>(value.first_channel) * value.element_bytes();
}

// The value in whose place step `number` can write another, because nobody reads it any more; -1
// for none. A map and what is added to it so take one map's room in the cache.
int Partition::overwritable(int written, size_t number, const std::vector<int>& last_used) const {
  const Step& step = *steps_[number];
  const Value& value = shared_.value(written);
  const std::vector<int> reads = step.reads(), writes = step.writes();
  for (const int read : reads) {
    const Value& other = shared_.value(read);
    const auto lies_there = [&](int each) { return each != read && owner_of(each) == read; };
    const bool is_alike = other.alias_of < 0 && other.type == value.type && other.n == value.n &&
                          other.h == value.h && other.w == value.w && other.c == value.c;
    if (is_alike && last_used[read] == static_cast<int>(number) &&
        step.can_overwrite(read, written) && std::none_of(reads.begin(), reads.end(), lies_there) &&
        std::none_of(writes.begin(), writes.end(), lies_there)) {
      return read;
    }
  }
  return -1;
}

// Gives each value inside the partition memory: its own where some of it must stay zero; else
// memory that other values use before it is written and after it was read last, best that of a value
// which the same step reads last. What shares the memory of a value counts as the value.
bool Partition::place_values() {
  const size_t count = shared_.values.size();
  std::vector<int> last_used(count, -1);
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int read : steps_[i]->reads()) last_used[owner_of(read)] = static_cast<int>(i);
    for (const int written : steps_[i]->writes())
      last_used[owner_of(written)] = static_cast<int>(i);
  }
  std::vector<char> is_laid_out(count, 0);
  for (size_t i = 0; i < count; ++i) {
    if (shared_.values[i].shape.rank > 0 && !lay_out(i, &is_laid_out)) return false;
  }
  struct Slot {
    int64_t bytes;
    int free_from;  // the step from which on it may be written again
  };
  std::vector<Slot> slots;
  std::vector<int> slot_of(count, -1);
  std::vector<char> is_placed(count, 0);
  bordered_.clear();
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (const int each : steps_[i]->writes()) {
      const int index = owner_of(each);
      Value& value = shared_.values[index];
      if (value.is_output || value.is_input || is_placed[index]) continue;
      is_placed[index] = 1;
      const int64_t bytes = value.image_stride * value.n * value.element_bytes();
      if (!value.border.is_none() || value.has_zeros) {
        bordered_.emplace_back();
        if (!bordered_.back().allocate(bytes)) return fail("no memory for its tensors");
        value.fill_border(bordered_.back().as<char>(), bytes);
        value.place(bordered_.back().as<char>());
        continue;
      }
      const int until = last_used[index] + 1;
      const int replaced = overwritable(index, i, last_used);
      int best = replaced < 0 ? -1 : slot_of[replaced];
      const bool is_replacing = best >= 0;
      for (size_t s = 0; !is_replacing && s < slots.size(); ++s) {
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
  for (size_t i = 0; i < count; ++i) {
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
  for (size_t i = 0; i < shared_.values.size(); ++i) place_alias(i);
  const DenormalsAreZero mode;
  ThreadPool::Session session(pool_);
  for (const auto& step : steps_) {
    if (profile_ == Profile::kNone) {
      step->run(shared_, session);
      continue;
    }
    if (profile_ == Profile::kUnits) {
      step->unit_times.begin_run();
      session.measure(&step->unit_times);
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
            ", \"float_macs\": " + std::to_string(step.float_macs()) +
            ", \"int8_macs\": " + std::to_string(step.int8_macs());
    if (profile_ == Profile::kUnits) text += ", \"unit_ns\": " + step.unit_times.text();
    text += "}";
  }
  return text + "]}";
}

}  // namespace bopkit
