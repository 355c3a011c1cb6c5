// How long the units of a step take that threads share.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace bopkit {

// The least time of each unit, in the order in which they are handed out: one list for each time that
// a step hands units out in one run.
class UnitTimes {
 public:
  void begin_run() { lists_seen_ = 0; }

  void add(const std::vector<int64_t>& ns) {
    if (lists_seen_ == lists_.size()) lists_.emplace_back();
    std::vector<int64_t>& least = lists_[lists_seen_++];
    if (least.size() != ns.size()) least = ns;  // the first run of this shape
    for (size_t i = 0; i < ns.size(); ++i) least[i] = std::min(least[i], ns[i]);
  }

  // As JSON.
  std::string text() const {
    std::string text;
    for (const std::vector<int64_t>& list : lists_) {
      text += text.empty() ? "[" : ", [";
      for (size_t i = 0; i < list.size(); ++i)
        text += (i == 0 ? "" : ", ") + std::to_string(list[i]);
      text += "]";
    }
    return "[" + text + "]";
  }

 private:
  std::vector<std::vector<int64_t>> lists_;
  size_t lists_seen_ = 0;
};

}  // namespace bopkit
