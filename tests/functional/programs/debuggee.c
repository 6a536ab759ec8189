/* SPDX-License-Identifier: MIT
 * What the debugger's tests look at: a program for the bare vexpress-a9, with symbols. It counts for ever; every
 * pass goes through outer() and inner(), and each 64th one writes `rare`.
 */
#define UART0 ((volatile unsigned *)0x10009000)

volatile unsigned counter, rare, last;
unsigned table[16];
double ratio;

__attribute__((naked, section(".text.start"))) void _start(void) {
  __asm__ volatile(
      "mrc p15, 0, r0, c0, c0, 5\n"
      "and r0, r0, #3\n"
      "mrc p15, 0, r1, c1, c0, 2\n" /* CPACR: VFP and NEON on */
      "orr r1, r1, #0xf00000\n"
      "mcr p15, 0, r1, c1, c0, 2\n"
      "mov r1, #0x40000000\n"
      "vmsr fpexc, r1\n"
      "ldr sp, =stacks\n"
      "add r1, r0, #1\n"
      "add sp, sp, r1, lsl #12\n"
      "bl main\n"
      "b .\n");
}

unsigned char stacks[4 * 4096] __attribute__((aligned(8)));

__attribute__((noinline)) unsigned inner(unsigned value) {
  table[value & 15] = value;
  last = value;
  return value * 3;
}

__attribute__((noinline)) unsigned outer(unsigned value) {
  unsigned result = inner(value + 1);
  ratio = (double)result / 2;
  return result + 1;
}

int main(int cpu) {
  UART0[0] = 'S';
  for (;;) {
    counter++;
    outer(counter);
    if ((counter & 63) == 0) rare = counter;
  }
  return cpu;
}
