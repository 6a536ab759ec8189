// SPDX-License-Identifier: MIT
// Compiled in the guest, and run there at once: the state of a linear congruential generator after STEPS steps from 1.
#include <stdio.h>

int main(void) {
    unsigned x = 1;
    for (int i = 0; i < STEPS; i++)
        x = x * 1664525u + 1013904223u;
    printf("%u\n", x);
    return 0;
}
