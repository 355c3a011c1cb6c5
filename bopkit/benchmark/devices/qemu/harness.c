// Runs a network on the pictures of inputs.bin, writes outputs.bin, and prints what a picture takes.
//
// Macros: NETWORK_HEADER, NETWORK_INPUT_BYTES, NETWORK_OUTPUT_BYTES, and NETWORK_RUN, the function of input and output;
// with NETWORK_ARENA_BYTES the function of arena, input and output.
#include <stdint.h>

#include NETWORK_HEADER

#include "measure.h"
#include "semihosting.h"

static uint8_t input[NETWORK_INPUT_BYTES] __attribute__((aligned(16)));
static uint8_t output[NETWORK_OUTPUT_BYTES] __attribute__((aligned(16)));
#ifdef NETWORK_ARENA_BYTES
static uint8_t arena[NETWORK_ARENA_BYTES + 1]
    __attribute__((aligned(16)));  // one without bytes is an array all the same
#define ARGUMENTS arena, input, output
#else
#define ARGUMENTS input, output, 0
#endif

int main(void) {
  const measured_function run = (measured_function)(uintptr_t)NETWORK_RUN;
  const int32_t inputs = semihosting_open("inputs.bin", SEMIHOSTING_READ);
  if (inputs < 0) semihosting_fail("inputs.bin cannot be read");
  const int32_t outputs = semihosting_open("outputs.bin", SEMIHOSTING_WRITE);
  if (outputs < 0) semihosting_fail("outputs.bin cannot be written");
  uint64_t pictures = 0, first = 0, least = UINT64_MAX, most = 0;
  uint32_t stack_bytes = 0;
  for (;;) {
    const uint32_t size = semihosting_read(inputs, input, sizeof input);
    if (size == 0) break;
    if (size != sizeof input) semihosting_fail("inputs.bin ends within a picture");
    // Before the run for the stack, which may find another input where the network overwrites it.
    const uint64_t instructions = measure_instructions(run, ARGUMENTS);
    if (instructions == MEASURE_UNKNOWN)
      semihosting_fail("the counter started anew while it was read");
    if (semihosting_write(outputs, output, sizeof output) != sizeof output)
      semihosting_fail("outputs.bin: disk full");
    if (pictures == 0) {
      first = instructions;
      stack_bytes = measure_stack(run, ARGUMENTS);
    }
    if (instructions < least) least = instructions;
    if (instructions > most) most = instructions;
    pictures++;
  }
  if (pictures == 0) semihosting_fail("inputs.bin is empty");
  semihosting_close(outputs);
  semihosting_close(inputs);
  semihosting_print_line("pictures", pictures);
  semihosting_print_line("instructions", first);
  semihosting_print_line("instructions_min", least);
  semihosting_print_line("instructions_max", most);
  semihosting_print_line("stack_bytes", stack_bytes);
  return 0;
}
