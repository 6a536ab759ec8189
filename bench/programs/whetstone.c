// SPDX-License-Identifier: MIT
// Floating point as the Whetstone benchmark mixes it (H. J. Curnow, B. A. Wichmann, "A synthetic benchmark", The
// Computer Journal 19:1, 1976): simple identifiers, array elements, an array as an argument, conditional jumps, integer
// arithmetic, trigonometric functions, procedure calls, array references, other functions; in double precision.
// Written anew after that description: its rounds are of this program, not MWIPS.
//
//   whetstone ROUNDS    ends with the values that the parts left, so that none of them can be left out
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static double e1[4], z;
static int at[3];
static const double T = 0.499975, T1 = 0.50025, T2 = 2.0;

static void __attribute__((noinline)) mix(double *e) {
    for (int i = 0; i < 6; i++) {
        e[0] = (e[0] + e[1] + e[2] - e[3]) * T;
        e[1] = (e[0] + e[1] - e[2] + e[3]) * T;
        e[2] = (e[0] - e[1] + e[2] + e[3]) * T;
        e[3] = (-e[0] + e[1] + e[2] + e[3]) / T2;
    }
}

static void __attribute__((noinline)) turn(double x, double y, double *result) {
    x = T * (x + y);
    y = T * (x + y);
    *result = (x + y) / T2;
}

static void __attribute__((noinline)) pass(void) {
    e1[at[0]] = e1[at[1]];
    e1[at[1]] = e1[at[2]];
    e1[at[2]] = e1[at[0]];
}

static double identifiers(int rounds) {
    double a = 1, b = -1, c = -1, d = -1;
    for (int i = 0; i < 12 * rounds; i++) {
        a = (a + b + c - d) * T;
        b = (a + b - c + d) * T;
        c = (a - b + c + d) * T;
        d = (-a + b + c + d) * T;
    }
    return a + b + c + d;
}

static double elements(int rounds) {
    double e[4] = {1, -1, -1, -1};
    for (int i = 0; i < 14 * rounds; i++)
        mix(e);
    return e[0] + e[1] + e[2] + e[3];
}

static int jumps(int rounds) {
    int j = 1;
    for (int i = 0; i < 345 * rounds; i++) {
        j = j == 1 ? 2 : 3;
        j = j > 2 ? 0 : 1;
        j = j < 1 ? 1 : 0;
        __asm__ volatile("" : "+r"(j));  // or the three would be known to cancel out
    }
    return j;
}

static double integers(int rounds) {
    int j = 1, k = 2, l = 3;
    double e[4] = {0};
    for (int i = 0; i < 210 * rounds; i++) {
        j = j * (k - j) * (l - k);
        k = l * k - (l - j) * k;
        l = (l - k) * (k + j);
        e[(l - 2) & 3] = j + k + l;
        e[(k - 2) & 3] = j * k * l;
        __asm__ volatile("" : "+r"(j), "+r"(k), "+r"(l));
    }
    return e[0] + e[1];
}

static double trigonometry(int rounds) {
    double x = 0.5, y = 0.5;
    for (int i = 0; i < 32 * rounds; i++) {
        x = T * atan(T2 * sin(x) * cos(x) / (cos(x + y) + cos(x - y) - 1.0));
        y = T * atan(T2 * sin(y) * cos(y) / (cos(x + y) + cos(x - y) - 1.0));
    }
    return x + y;
}

static double functions(int rounds) {
    double x = 0.75;
    for (int i = 0; i < 93 * rounds; i++)
        x = sqrt(exp(log(x) / T1));
    return x;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0;
    if (rounds <= 0) {
        fprintf(stderr, "usage: whetstone ROUNDS, a number above 0\n");
        return 2;
    }
    printf("%.9f %.9f %d %.0f %.9f ", identifiers(rounds), elements(rounds), jumps(rounds), integers(rounds),
           trigonometry(rounds));
    for (int i = 0; i < 899 * rounds; i++)
        turn(1.0, 1.0 + i % 7, &z);
    at[0] = 0, at[1] = 1, at[2] = 2;
    e1[0] = 1, e1[1] = 2, e1[2] = 3;
    for (int i = 0; i < 616 * rounds; i++)
        pass();
    printf("%.9f %.0f %.9f\n", z, e1[0] + e1[1] + e1[2], functions(rounds));
    return 0;
}
