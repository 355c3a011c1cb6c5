// Runs files of cases: host [--isa NAME] [--threads N] [--claim all|binary] [--repeat N] [--compare
// yes|no] FILE... Prints each case that differs, and at last the number of cases and the
// instruction set that ran them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "host.h"

namespace {

using namespace bopkit::host;

struct Arguments {
  std::string isa = "auto", claim = "all";
  int threads = 1, repeat = 1;
  bool compares = true;
  std::vector<const char*> files;
};

bool read_arguments(int count, char** words, Arguments* to) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word.compare(0, 2, "--") != 0) {
      to->files.push_back(words[i]);
      continue;
    }
    if (++i == count) return false;
    if (word == "--isa") {
      to->isa = words[i];
    } else if (word == "--claim") {
      to->claim = words[i];
    } else if (word == "--threads") {
      to->threads = std::atoi(words[i]);
    } else if (word == "--compare") {
      to->compares = std::string(words[i]) == "yes";
    } else if (word == "--repeat") {
      to->repeat = std::atoi(words[i]);
    } else {
      return false;
    }
  }
  return !to->files.empty();
}

// The instruction set that a delegate describes.
std::string isa_of(const TfLiteDelegate* delegate) {
  char text[256];
  bopkit_runtime_describe(delegate, text, sizeof text);
  const char* name = std::strstr(text, "\"isa\": \"");
  return name == nullptr ? "none" : std::string(name + 8, std::strchr(name + 8, '"'));
}

bool run_case(const Case& from, TfLiteDelegate* delegate, const Arguments& arguments, int* claimed,
              std::string* what) {
  Host host(from);
  if (!host.apply(delegate)) {
    *what = "refused: " + host.error();
    return false;
  }
  *claimed += host.delegated_nodes() > 0 ? 1 : 0;
  for (int i = 0; i < arguments.repeat; ++i) {
    for (const std::vector<Values>& run : from.runs) {
      if (!host.run(run)) {
        *what = "failed: " + host.error();
        return false;
      }
      if (arguments.compares && !host.compare(run, from.tolerance, what)) return false;
    }
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  Arguments arguments;
  if (!read_arguments(count, words, &arguments)) {
    std::fprintf(stderr,
                 "usage: host [--isa NAME] [--threads N] [--claim all|binary] [--repeat N] "
                 "[--compare yes|no] FILE...\n");
    return 2;
  }
  TfLiteDelegate* delegate = make_delegate(arguments.isa, arguments.threads, arguments.claim);
  if (delegate == nullptr) return 2;
  int cases = 0, claimed = 0, wrong = 0;
  for (const char* file : arguments.files) {
    std::vector<Case> all;
    if (!read_cases(file, &all)) {
      std::fprintf(stderr, "%s is no file of cases\n", file);
      return 2;
    }
    for (const Case& each : all) {
      std::string what;
      ++cases;
      if (run_case(each, delegate, arguments, &claimed, &what)) continue;
      ++wrong;
      std::printf("%s: %s\n", each.name.c_str(), what.c_str());
    }
  }
  // A graph without an operator of LCE is left to LiteRT as a whole.
  std::printf("%d cases, %d claimed, %d wrong, isa %s of %s, threads %d\n", cases, claimed, wrong,
              isa_of(delegate).c_str(), bopkit_runtime_isas(), arguments.threads);
  tflite_plugin_destroy_delegate(delegate);
  return wrong == 0 && cases > 0 ? 0 : 1;
}
