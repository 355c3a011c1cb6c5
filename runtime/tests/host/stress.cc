// Runs a file of cases on delegates that threads share: stress FILE ROUNDS.
// Built with ThreadSanitizer, and with AddressSanitizer, which tells what was not freed.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "host.h"

using namespace bopkit::host;

namespace {

constexpr int kInterpreters = 3;

// One interpreter's life; what went wrong, or nothing.
std::string live(const Case& from, TfLiteDelegate* delegate) {
  std::string what;
  Host host(from);
  if (!host.apply(delegate)) return "refused: " + host.error();
  for (int i = 0; i < 4; ++i) {
    for (const std::vector<Values>& run : from.runs) {
      if (!host.run(run)) return "failed: " + host.error();
      if (!host.compare(run, from.tolerance, &what)) return what;
    }
  }
  return what;
}

// An interpreter that outlives its delegate.
std::string outlive(const Case& from, TfLiteDelegate* delegate) {
  std::string what;
  Host host(from);
  const bool is_applied = host.apply(delegate);
  tflite_plugin_destroy_delegate(delegate);
  if (!is_applied) return "refused: " + host.error();
  for (const std::vector<Values>& run : from.runs) {
    if (!host.run(run)) return "failed: " + host.error();
    if (!host.compare(run, from.tolerance, &what)) return what;
  }
  return what;
}

}  // namespace

int main(int count, char** words) {
  std::vector<Case> cases;
  if (count != 3 || !read_cases(words[1], &cases) || cases.empty()) return 2;
  std::atomic<int> wrong{0};
  const int rounds = std::atoi(words[2]);
  TfLiteDelegate* kept = make_delegate("auto", 3, "all");
  for (int round = 0; round < rounds; ++round) {
    TfLiteDelegate* fresh = make_delegate("auto", 1 + round % 3, round % 2 == 0 ? "all" : "binary");
    std::vector<std::thread> threads;
    for (int i = 0; i < kInterpreters; ++i) {
      threads.emplace_back([&, i] {
        for (TfLiteDelegate* delegate : {kept, fresh}) {
          const Case& from = cases[static_cast<size_t>(round + i) % cases.size()];
          const std::string what = live(from, delegate);
          if (what.empty()) continue;
          std::printf("%s: %s\n", from.name.c_str(), what.c_str());
          ++wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    wrong += outlive(cases[static_cast<size_t>(round) % cases.size()], fresh).empty() ? 0 : 1;
  }
  tflite_plugin_destroy_delegate(kept);
  std::printf("%d rounds of %d interpreters on two delegates, %d wrong\n", rounds, kInterpreters,
              wrong.load());
  return wrong == 0 ? 0 : 1;
}
