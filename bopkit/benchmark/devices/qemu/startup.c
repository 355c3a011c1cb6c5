// From reset to main(), on every Cortex-M board; a fault ends the program with a line that says which.
#include <stdint.h>

#include "semihosting.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], stack_bottom[],
    handler_stack_top[];
extern int main(void);

void reset_handler(void);
void fault_entry(void);
void measure_tick(void);

// Some boards take writes below the RAM and forget them. Armv8-M has a limit for the stack; on Armv7-M the memory protection
// forbids the 16 MiB below.
#if __ARM_ARCH >= 8
#define GUARD_STACK           \
  "  ldr r0, =stack_bottom\n" \
  "  msr psplim, r0\n"
#else
#define GUARD_STACK                                                                 \
  "  ldr r0, =0xE000ED94\n" /* MPU: control, region, its address, its attributes */ \
  "  movs r1, #0\n"                                                                 \
  "  str r1, [r0, #4]\n"                                                            \
  "  ldr r1, =stack_bottom - 0x1000000\n"                                           \
  "  str r1, [r0, #8]\n"                                                            \
  "  ldr r1, =0x1000002F\n" /* no code, no access, 2 to the 24 bytes, enabled */    \
  "  str r1, [r0, #12]\n"                                                           \
  "  movs r1, #5\n" /* enabled, and all else as without */                          \
  "  str r1, [r0]\n"                                                                \
  "  dsb\n"                                                                         \
  "  isb\n"
#endif

// The FPU and Helium come first: compilers vectorise even the copying of .data. main() gets a stack of its own, so that
// faults can still be told when it has overflowed.
__asm__(
    ".syntax unified\n"
    ".thumb\n"
    ".section .text.entry, \"ax\", %progbits\n"
    ".balign 4\n"
    ".global reset_handler\n"
    ".type reset_handler, %function\n"
    ".thumb_func\n"
    "reset_handler:\n"
    "  ldr r0, =0xE000ED88\n"  // CPACR
    "  ldr r1, [r0]\n"
    "  orr r1, r1, #0xF00000\n"
    "  str r1, [r0]\n"
    "  dsb\n"
    "  isb\n" GUARD_STACK
    "  ldr r0, =stack_top\n"
    "  msr psp, r0\n"
    "  movs r0, #2\n"
    "  msr control, r0\n"
    "  isb\n"
    "  ldr r0, =start\n"
    "  bx r0\n"
    ".ltorg\n"
    ".global fault_entry\n"
    ".type fault_entry, %function\n"
    ".thumb_func\n"
    "fault_entry:\n"
    "  mrs r0, ipsr\n"
    "  mrs r1, psp\n"
    "  ldr r2, =fault\n"
    "  bx r2\n"
    ".ltorg\n"
    ".text\n");

// After the two first come 13 faults and interrupts that nobody asked for, and SysTick.
#define FAULT (const void *)fault_entry
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    handler_stack_top,
    (const void *)reset_handler,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    (const void *)measure_tick,
};

static void print_hexadecimal(uint32_t number) {
  char text[11] = "0x";
  for (int digit = 0; digit < 8; digit++)
    text[2 + digit] = "0123456789abcdef"[(number >> (28 - 4 * digit)) & 15];
  text[10] = 0;
  semihosting_print(text);
}

// What the bits of the configurable fault status mean.
#define STACK_FAULTS ((1u << 20) | (1u << 12) | (1u << 4))
#define ADDRESS_IS_KNOWN (1u << 15)
static const struct {
  uint32_t bit;
  const char *text;
} causes[] = {
    {1u << 25, "division by zero"},
    {1u << 24, "unaligned access"},
    {1u << 19, "no such coprocessor"},
    {1u << 18, "bad return"},
    {1u << 17, "not Thumb code"},
    {1u << 16, "undefined instruction"},
    {ADDRESS_IS_KNOWN, "no memory at this address"},
    {1u << 8, "no code at this address"},
    {1u << 1, "no access to this address"},
};

__attribute__((used, noreturn)) void fault(uint32_t exception, uint32_t stack_pointer) {
  const uint32_t status = *(volatile uint32_t *)0xE000ED28u;
  semihosting_print("error: ");
  if (stack_pointer < (uint32_t)stack_bottom || (status & STACK_FAULTS)) {
    semihosting_print("the stack is full");
  } else {
    const char *text = "a fault";
    for (uint32_t cause = 0; cause < sizeof causes / sizeof causes[0]; cause++) {
      if (status & causes[cause].bit) text = causes[cause].text;
    }
    semihosting_print(text);
    semihosting_print(", at ");
    print_hexadecimal(((const uint32_t *)stack_pointer)[6]);
    if (status & ADDRESS_IS_KNOWN) {
      semihosting_print(", address ");
      print_hexadecimal(*(volatile uint32_t *)0xE000ED38u);
    }
  }
  semihosting_print(" (exception ");
  semihosting_print_number(exception & 0x1ff);
  semihosting_print(", status ");
  print_hexadecimal(status);
  semihosting_print(")\n");
  semihosting_exit(1);
}

__attribute__((used, noreturn)) void start(void) {
  const uint32_t *from = data_load;
  for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  semihosting_exit((uint32_t)main());
}
