// From reset to main(), on every Cortex-M board; a fault ends the program with a line that says which.
#include <stdint.h>

#include "semihosting.h"

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[], handler_stack_top[];
extern int main(void);

void reset_handler(void);
void fault_entry(void);

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
    "  isb\n"
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

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    handler_stack_top,   (const void *)reset_handler, (const void *)fault_entry, (const void *)fault_entry,
    (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry,
    (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry,
    (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry, (const void *)fault_entry,
};

static void print_hexadecimal(uint32_t number) {
  char text[11] = "0x";
  for (int digit = 0; digit < 8; digit++) text[2 + digit] = "0123456789abcdef"[(number >> (28 - 4 * digit)) & 15];
  text[10] = 0;
  semihosting_print(text);
}

__attribute__((used, noreturn)) void fault(uint32_t exception, uint32_t stack_pointer) {
  const uint32_t status = *(volatile uint32_t *)0xE000ED28u;  // CFSR
  extern uint32_t stack_bottom[];
  semihosting_print("error: exception ");
  semihosting_print_number(exception & 0x1ff);
  semihosting_print(", fault status ");
  print_hexadecimal(status);
  if (stack_pointer < (uint32_t)stack_bottom) {
    semihosting_print(", the stack is full");
  } else {
    semihosting_print(", at ");
    print_hexadecimal(((const uint32_t *)stack_pointer)[6]);
  }
  semihosting_print("\n");
  semihosting_exit(1);
}

__attribute__((used, noreturn)) void start(void) {
  const uint32_t *from = data_load;
  for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
  semihosting_exit((uint32_t)main());
}
