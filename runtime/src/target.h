// Functions between BOPKIT_TARGET(...) and BOPKIT_TARGET_END are compiled for other instructions
// than the rest of the file. Headers of the standard library must be included before it: their
// functions are shared with code for older processors.
#pragma once

#define BOPKIT_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define BOPKIT_TARGET(features) \
  BOPKIT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define BOPKIT_TARGET_END _Pragma("clang attribute pop")
#else
#define BOPKIT_TARGET(features) _Pragma("GCC push_options") BOPKIT_PRAGMA(GCC target(features))
#define BOPKIT_TARGET_END _Pragma("GCC pop_options")
#endif
