// Files and the end of the program through semihosting: the emulator does what the program asks of it.
#ifndef BOPKIT_SEMIHOSTING_H
#define BOPKIT_SEMIHOSTING_H

#include <stdint.h>

enum { SEMIHOSTING_READ = 1, SEMIHOSTING_WRITE = 5 };  // modes of fopen: "rb" and "wb"

static inline int32_t semihosting_call(uint32_t operation, const void *argument) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return (int32_t)r0;
}

static inline void semihosting_print(const char *text) { semihosting_call(0x04, text); }

// A file's handle; negative where it cannot be opened.
static inline int32_t semihosting_open(const char *name, uint32_t mode) {
  uint32_t length = 0;
  while (name[length] != 0) length++;
  const uint32_t arguments[3] = {(uint32_t)name, mode, length};
  return semihosting_call(0x01, arguments);
}

static inline void semihosting_close(int32_t file) { semihosting_call(0x02, &file); }

// How many bytes of `size` were read.
static inline uint32_t semihosting_read(int32_t file, void *data, uint32_t size) {
  const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)data, size};
  const int32_t missing = semihosting_call(0x06, arguments);
  return missing < 0 || (uint32_t)missing > size ? 0 : size - (uint32_t)missing;
}

// How many bytes of `size` were written.
static inline uint32_t semihosting_write(int32_t file, const void *data, uint32_t size) {
  const uint32_t arguments[3] = {(uint32_t)file, (uint32_t)data, size};
  const int32_t missing = semihosting_call(0x05, arguments);
  return missing < 0 || (uint32_t)missing > size ? 0 : size - (uint32_t)missing;
}

static inline __attribute__((noreturn)) void semihosting_exit(uint32_t code) {
  const uint32_t arguments[2] = {0x20026, code};  // ADP_Stopped_ApplicationExit
  for (;;) semihosting_call(0x20, arguments);
}

static inline void semihosting_print_number(uint64_t number) {
  char text[21];
  char *first = text + sizeof text - 1;
  *first = 0;
  do {
    *--first = (char)('0' + number % 10);
    number /= 10;
  } while (number != 0);
  semihosting_print(first);
}

// A line of a name and a number.
static inline void semihosting_print_line(const char *name, uint64_t number) {
  semihosting_print(name);
  semihosting_print(" ");
  semihosting_print_number(number);
  semihosting_print("\n");
}

// Ends the program; `run.py` shows the text.
static inline __attribute__((noreturn)) void semihosting_fail(const char *text) {
  semihosting_print("error: ");
  semihosting_print(text);
  semihosting_print("\n");
  semihosting_exit(1);
}

#endif
