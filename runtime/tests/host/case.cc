#include "case.h"

#include <cstdio>
#include <cstring>

namespace bopkit::host {
namespace {

constexpr uint32_t kMagic = 0x43504f42;  // "BOPC"

// Reads what `Writer` writes; each function turns `is_fine` false where the bytes end.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : at_(data), left_(size) {}

  bool is_fine = true;
  bool is_at_end() const { return left_ == 0; }

  template <typename Word>
  void word(Word* to) {
    static_assert(sizeof(Word) == 4, "a field is a word");
    if (left_ < 4) {
      is_fine = false;
      return;
    }
    std::memcpy(to, at_, 4);
    skip(4);
  }

  template <typename Word>
  void words(std::vector<Word>* to) {
    const uint32_t count = length(4);
    to->resize(count);
    for (Word& each : *to) word(&each);
  }

  void bytes(Bytes* to) {
    const uint32_t count = length(1);
    to->assign(at_, at_ + count);
    const size_t whole = (static_cast<size_t>(count) + 3) / 4 * 4;
    skip(whole < left_ ? whole : left_);
  }

  template <typename Item, typename Function>
  void list(std::vector<Item>* to, const Function& read) {
    const uint32_t count = length(4);
    for (uint32_t i = 0; i < count && is_fine; ++i) {
      to->emplace_back();
      read(&to->back());
    }
  }

 private:
  uint32_t length(size_t item) {
    uint32_t count = 0;
    word(&count);
    if (is_fine && count <= left_ / item) return count;
    is_fine = false;
    return 0;
  }

  void skip(size_t count) {
    at_ += count;
    left_ -= count;
  }

  const uint8_t* at_;
  size_t left_;
};

class Writer {
 public:
  Bytes bytes_;

  template <typename Word>
  void word(const Word* from) {
    static_assert(sizeof(Word) == 4, "a field is a word");
    const auto* begin = reinterpret_cast<const uint8_t*>(from);
    bytes_.insert(bytes_.end(), begin, begin + 4);
  }

  template <typename Word>
  void words(const std::vector<Word>* from) {
    length(from->size());
    for (const Word& each : *from) word(&each);
  }

  void bytes(const Bytes* from) {
    length(from->size());
    bytes_.insert(bytes_.end(), from->begin(), from->end());
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
  }

  template <typename Item, typename Function>
  void list(const std::vector<Item>* from, const Function& write) {
    length(from->size());
    for (const Item& each : *from) write(&each);
  }

 private:
  void length(size_t count) {
    const auto word32 = static_cast<uint32_t>(count);
    word(&word32);
  }
};

// Both directions: `stream` is a Reader and `of` a Case, or a Writer and a const Case.
template <typename Stream, typename AnyCase>
void stream_case(Stream& stream, AnyCase* of) {
  stream.word(&of->isa);
  stream.word(&of->threads);
  stream.word(&of->claim);
  stream.word(&of->tolerance);
  stream.list(&of->tensors, [&](auto* tensor) {
    stream.word(&tensor->type);
    stream.word(&tensor->allocation);
    stream.words(&tensor->dims);
    stream.word(&tensor->scale);
    stream.word(&tensor->zero_point);
    stream.words(&tensor->scales);
    stream.words(&tensor->zero_points);
    stream.word(&tensor->quantized_dimension);
    stream.bytes(&tensor->data);
  });
  stream.list(&of->nodes, [&](auto* node) {
    stream.word(&node->code);
    stream.bytes(&node->name);
    stream.bytes(&node->options);
    stream.words(&node->parameters);
    stream.words(&node->inputs);
    stream.words(&node->outputs);
  });
  stream.words(&of->inputs);
  stream.words(&of->outputs);
  stream.list(&of->runs, [&](auto* run) {
    stream.list(run, [&](auto* values) {
      stream.word(&values->tensor);
      stream.words(&values->dims);
      stream.bytes(&values->data);
    });
  });
}

}  // namespace

bool read_case(const uint8_t* data, size_t size, Case* to) {
  Reader reader(data, size);
  uint32_t magic = 0;
  reader.word(&magic);
  if (!reader.is_fine || magic != kMagic) return false;
  stream_case(reader, to);
  return reader.is_fine;
}

Bytes write_case(const Case& from) {
  Writer writer;
  writer.word(&kMagic);
  stream_case(writer, &from);
  return writer.bytes_;
}

bool read_cases(const char* path, std::vector<Case>* to) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return false;
  Bytes all;
  uint8_t block[1 << 16];
  for (size_t got; (got = std::fread(block, 1, sizeof block, file)) > 0;) {
    all.insert(all.end(), block, block + got);
  }
  std::fclose(file);
  Reader reader(all.data(), all.size());
  while (!reader.is_at_end()) {
    Bytes name, body;
    reader.bytes(&name);
    reader.bytes(&body);
    to->emplace_back();
    if (!reader.is_fine || !read_case(body.data(), body.size(), &to->back())) return false;
    to->back().name.assign(name.begin(), name.end());
  }
  return true;
}

}  // namespace bopkit::host
