// Instructions by SysTick, whose clock the emulator advances by 1 ns an instruction.
//
// It counts down at the reference clock of the board, 1, 20 or 32 MHz: a tick is 1000, 50 or 31.25 instructions, and the
// 24 bits last for 16 thousand, 800 or 500 million, after which an interrupt counts. A sum of 1000 readings, 7
// instructions apart, knows the time to the instruction: 7 has no common divisor with 1000, so the readings meet all
// phases of a tick equally often (Hermite's identity: the sum over k of floor((t + 7 k) / 1000) is t and a constant). It
// grows by 1, 20 or 32 an instruction.
#include "measure.h"

#define READINGS 1000u
#define PERIOD (1u << 24)
#define TICK_INSTRUCTIONS 5u

uint32_t
    measure_ticks;  // set by measure_raw: interrupts during the call, all bits if there was one in the readings

uint64_t measure_raw(measured_function function, void *first, void *second, void *third);
void measure_one_instruction(void *first, void *second, void *third);
void measure_two_instructions(void *first, void *second, void *third);

__asm__(
    ".syntax unified\n"
    ".thumb\n"
    ".text\n"
    ".balign 4\n"
    ".macro sum_readings low, high\n"
    "  movs \\low, #0\n"
    "  movs \\high, #0\n"
    "  mov r2, #1000\n"
    "1: ldr r1, [r0, #8]\n"
    "  adds \\low, \\low, r1\n"
    "  adc \\high, \\high, #0\n"
    "  nop\n"
    "  nop\n"
    "  subs r2, r2, #1\n"
    "  bne 1b\n"
    ".endm\n"

    ".global measure_raw\n"
    ".type measure_raw, %function\n"
    ".thumb_func\n"
    "measure_raw:\n"
    "  push {r4-r11, ip, lr}\n"
    "  mov r8, r0\n"
    "  mov r9, r1\n"
    "  mov r10, r2\n"
    "  mov r11, r3\n"
    "  ldr r0, =measure_ticks\n"
    "  movs r1, #0\n"
    "  str r1, [r0]\n"
    "  ldr r0, =0xE000E010\n"  // SysTick: control, reload value, current value
    "  mvn r1, #0xFF000000\n"
    "  str r1, [r0, #4]\n"
    "  str r1, [r0, #8]\n"  // any value sets it to 0
    "  movs r1, #3\n"       // enabled, with interrupt, by the reference clock
    "  str r1, [r0]\n"
    "2: ldr r1, [r0, #8]\n"
    "  cmp r1, #0\n"
    "  beq 2b\n"
    "  sum_readings r4, r5\n"
    "  mov r0, r9\n"
    "  mov r1, r10\n"
    "  mov r2, r11\n"
    "  blx r8\n"
    "  ldr r0, =measure_ticks\n"
    "  ldr r8, [r0]\n"
    "  ldr r0, =0xE000E010\n"
    "  sum_readings r6, r7\n"
    "  movs r1, #0\n"
    "  str r1, [r0]\n"
    "  ldr r0, =measure_ticks\n"
    "  ldr r1, [r0]\n"
    "  cmp r1, r8\n"
    "  it ne\n"
    "  movne r1, #-1\n"
    "  str r1, [r0]\n"
    "  subs r0, r4, r6\n"
    "  sbc r1, r5, r7\n"
    "  pop {r4-r11, ip, pc}\n"
    ".ltorg\n"

    // TICK_INSTRUCTIONS of them.
    ".global measure_tick\n"
    ".type measure_tick, %function\n"
    ".thumb_func\n"
    "measure_tick:\n"
    "  ldr r0, =measure_ticks\n"
    "  ldr r1, [r0]\n"
    "  adds r1, r1, #1\n"
    "  str r1, [r0]\n"
    "  bx lr\n"
    ".ltorg\n"

    ".global measure_two_instructions\n"
    ".type measure_two_instructions, %function\n"
    ".thumb_func\n"
    "measure_two_instructions:\n"
    "  nop\n"
    ".global measure_one_instruction\n"
    ".type measure_one_instruction, %function\n"
    ".thumb_func\n"
    "measure_one_instruction:\n"
    "  bx lr\n"

    ".balign 4\n"
    ".global measure_stack\n"
    ".type measure_stack, %function\n"
    ".thumb_func\n"
    "measure_stack:\n"
    "  push {r4-r8, lr}\n"
    "  ldr r4, =stack_bottom\n"
    "  ldr r5, =0xB0BCA7E5\n"
    "  mov r6, r4\n"
    "  mov r7, sp\n"
    "3: cmp r6, r7\n"
    "  bhs 4f\n"
    "  str r5, [r6], #4\n"
    "  b 3b\n"
    "4: mov r6, r0\n"
    "  mov r0, r1\n"
    "  mov r1, r2\n"
    "  mov r2, r3\n"
    "  blx r6\n"
    "5: cmp r4, r7\n"
    "  bhs 6f\n"
    "  ldr r0, [r4]\n"
    "  cmp r0, r5\n"
    "  bne 6f\n"
    "  adds r4, r4, #4\n"
    "  b 5b\n"
    "6: subs r0, r7, r4\n"
    "  pop {r4-r8, pc}\n"
    ".ltorg\n");

uint64_t measure_instructions(measured_function function, void *first, void *second, void *third) {
  static uint64_t one, two;
  if (two == 0) {
    one = measure_raw(measure_one_instruction, 0, 0, 0);
    two = measure_raw(measure_two_instructions, 0, 0, 0);
  }
  const uint64_t sum = measure_raw(function, first, second, third);
  const uint64_t ticks = measure_ticks;
  if (ticks == UINT32_MAX) return MEASURE_UNKNOWN;
  return 1 + (sum + ticks * READINGS * PERIOD - one) / (two - one) - ticks * TICK_INSTRUCTIONS;
}
