// SPDX-License-Identifier: MIT
// Memory-model litmus tests: small programs of two to four threads whose result tells in which order the others saw
// their accesses (names as in "A Tutorial Introduction to the ARM and POWER Relaxed Memory Models", L. Maranget,
// S. Sarkar, P. Sewell, 2012). Each runs many times, over many instances of its variables.
//
//   litmus TRIALS    a line for each test: its name, how often the result in question came, of how many trials
//
// All threads walk through the instances in the same order. Before each one they wait for one another a while, and then
// for a random handful of instructions, so that they meet at every distance.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { INSTANCES = 1024, LINE = 16, THREADS = 4, PATIENCE = 300 };

typedef volatile int *Place;
typedef void (*Body)(Place x, Place y, int *r);

#define DMB __asm__ volatile("dmb ish" ::: "memory")
#define DSB __asm__ volatile("dsb ish" ::: "memory")
#define NOTHING __asm__ volatile("" ::: "memory")

// The address (or value) that depends on what was read, and is the same whatever that was.
static inline int depends(int read) {
    int zero;
    __asm__ volatile("eor %0, %1, %1" : "=r"(zero) : "r"(read));
    return zero;
}

#define BODY(name) static void name(Place x, Place y, int *r)
#define UNUSED (void)x, (void)y, (void)r

#define STORE_THEN_LOAD(name, fence) \
    BODY(name##_0) { *x = 1; fence; r[0] = *y; } \
    BODY(name##_1) { *y = 1; fence; r[1] = *x; }
STORE_THEN_LOAD(sb, NOTHING)
STORE_THEN_LOAD(sb_dmb, DMB)
STORE_THEN_LOAD(sb_dsb, DSB)

#define PASS(name, first, second) \
    BODY(name##_0) { UNUSED; *x = 1; first; *y = 1; } \
    BODY(name##_1) { r[0] = *y; second; r[1] = *x; }
PASS(mp, NOTHING, NOTHING)
PASS(mp_dmb, DMB, DMB)
BODY(mp_address_1) { r[0] = *y; r[1] = x[depends(r[0])]; }

#define LOAD_THEN_STORE(name, fence) \
    BODY(name##_0) { r[0] = *x; fence; *y = 1; } \
    BODY(name##_1) { r[1] = *y; fence; *x = 1; }
LOAD_THEN_STORE(lb, NOTHING)
LOAD_THEN_STORE(lb_dmb, DMB)
BODY(lb_data_0) { r[0] = *x; *y = 1 + depends(r[0]); }
BODY(lb_data_1) { r[1] = *y; *x = 1 + depends(r[1]); }

#define TEST_S(name, fence) \
    BODY(name##_0) { UNUSED; *x = 2; fence; *y = 1; } \
    BODY(name##_1) { r[0] = *y; fence; *x = 1; }
TEST_S(s, NOTHING)
TEST_S(s_dmb, DMB)

#define TEST_R(name, fence) \
    BODY(name##_0) { UNUSED; *x = 1; fence; *y = 1; } \
    BODY(name##_1) { *y = 2; fence; r[0] = *x; }
TEST_R(r, NOTHING)
TEST_R(r_dmb, DMB)

#define TWO_WRITES(name, fence) \
    BODY(name##_0) { UNUSED; *x = 1; fence; *y = 2; } \
    BODY(name##_1) { UNUSED; *y = 1; fence; *x = 2; }
TWO_WRITES(w, NOTHING)
TWO_WRITES(w_dmb, DMB)

BODY(write_x) { UNUSED; *x = 1; }
BODY(write_y) { UNUSED; *y = 1; }
#define CAUSE(name, fence) \
    BODY(name##_1) { r[0] = *x; fence; *y = 1; } \
    BODY(name##_2) { r[1] = *y; fence; r[2] = *x; }
CAUSE(wrc, NOTHING)
CAUSE(wrc_dmb, DMB)

#define READERS(name, fence) \
    BODY(name##_2) { r[0] = *x; fence; r[1] = *y; } \
    BODY(name##_3) { r[2] = *y; fence; r[3] = *x; }
READERS(iriw, NOTHING)
READERS(iriw_dmb, DMB)

BODY(corr_1) { UNUSED; r[0] = *x; r[1] = *x; }

// Two threads add to the same word with LDREX and STREX, barriers as a lock has them: none is lost.
BODY(add) {
    (void)y, (void)r;
    int value, failed;
    do {
        __asm__ volatile("ldrex %0, [%2]\n\tadd %0, %0, #1\n\tstrex %1, %0, [%2]"
                         : "=&r"(value), "=&r"(failed) : "r"(x) : "memory");
    } while (failed);
}

// What the registers and the variables held at the end.
typedef int (*Result)(int x, int y, const int *r);
static int both_zero(int x, int y, const int *r) { return (void)x, (void)y, !r[0] && !r[1]; }
static int flag_without_data(int x, int y, const int *r) { return (void)x, (void)y, r[0] == 1 && r[1] == 0; }
static int both_one(int x, int y, const int *r) { return (void)x, (void)y, r[0] == 1 && r[1] == 1; }
static int s_result(int x, int y, const int *r) { return (void)y, r[0] == 1 && x == 2; }
static int r_result(int x, int y, const int *r) { return (void)x, y == 2 && r[0] == 0; }
static int first_writes_last(int x, int y, const int *r) { return (void)r, x == 1 && y == 1; }
static int effect_without_cause(int x, int y, const int *r) { return (void)x, (void)y, r[0] && r[1] && !r[2]; }
static int two_orders(int x, int y, const int *r) { return (void)x, (void)y, r[0] && !r[1] && r[2] && !r[3]; }
static int lost(int x, int y, const int *r) { return (void)y, (void)r, x != THREADS; }

static const struct Test {
    const char *name;
    Result result;
    int threads;
    Body bodies[THREADS];
} TESTS[] = {
    {"SB", both_zero, 2, {sb_0, sb_1}},
    {"SB+dmb+po", both_zero, 2, {sb_dmb_0, sb_1}},
    {"SB+dmbs", both_zero, 2, {sb_dmb_0, sb_dmb_1}},
    {"SB+dsbs", both_zero, 2, {sb_dsb_0, sb_dsb_1}},
    {"MP", flag_without_data, 2, {mp_0, mp_1}},
    {"MP+dmbs", flag_without_data, 2, {mp_dmb_0, mp_dmb_1}},
    {"MP+dmb+addr", flag_without_data, 2, {mp_dmb_0, mp_address_1}},
    {"LB", both_one, 2, {lb_0, lb_1}},
    {"LB+dmbs", both_one, 2, {lb_dmb_0, lb_dmb_1}},
    {"LB+datas", both_one, 2, {lb_data_0, lb_data_1}},
    {"S", s_result, 2, {s_0, s_1}},
    {"S+dmbs", s_result, 2, {s_dmb_0, s_dmb_1}},
    {"R", r_result, 2, {r_0, r_1}},
    {"R+dmbs", r_result, 2, {r_dmb_0, r_dmb_1}},
    {"2+2W", first_writes_last, 2, {w_0, w_1}},
    {"2+2W+dmbs", first_writes_last, 2, {w_dmb_0, w_dmb_1}},
    {"WRC", effect_without_cause, 3, {write_x, wrc_1, wrc_2}},
    {"WRC+dmbs", effect_without_cause, 3, {write_x, wrc_dmb_1, wrc_dmb_2}},
    {"IRIW", two_orders, 4, {write_x, write_y, iriw_2, iriw_3}},
    {"IRIW+dmbs", two_orders, 4, {write_x, write_y, iriw_dmb_2, iriw_dmb_3}},
    {"CoRR", flag_without_data, 2, {write_x, corr_1}},
    {"LDREX+STREX", lost, 4, {add, add, add, add}},
};

static int variables[2][INSTANCES * LINE] __attribute__((aligned(64)));
static int registers[INSTANCES][LINE] __attribute__((aligned(64)));
static volatile int progress[THREADS][LINE] __attribute__((aligned(64)));
static pthread_barrier_t begin, end;
static const struct Test *test;
static volatile int over;

// How far the others are decides; who does not come is not waited for long.
static void meet(int self, int at, unsigned delay) {
    progress[self][0] = at;
    for (int other = 0; other < test->threads; other++)
        for (int i = 0; i < PATIENCE && progress[other][0] < at; i++) {}
    for (volatile unsigned i = 0; i < delay; i++) {}
}

static void *run(void *number) {
    const int self = (int)(long)number;
    unsigned random = 12345u + 7919u * (unsigned)self;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(self, &set);
    sched_setaffinity(0, sizeof set, &set);
    for (;;) {
        pthread_barrier_wait(&begin);
        if (over) return NULL;
        if (self < test->threads) {
            const Body body = test->bodies[self];
            for (int i = 0; i < INSTANCES; i++) {
                random = random * 1664525u + 1013904223u;
                meet(self, i + 1, random >> 29);
                body(&variables[0][i * LINE], &variables[1][i * LINE], registers[i]);
            }
        }
        pthread_barrier_wait(&end);
    }
}

int main(int count, char **arguments) {
    const long trials = count > 1 ? atol(arguments[1]) : 100000;
    pthread_t threads[THREADS];
    pthread_barrier_init(&begin, NULL, THREADS + 1);
    pthread_barrier_init(&end, NULL, THREADS + 1);
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, run, (void *)i);
    for (unsigned number = 0; number < sizeof TESTS / sizeof TESTS[0]; number++) {
        test = &TESTS[number];
        long seen = 0, done = 0;
        for (; done < trials; done += INSTANCES) {
            for (int i = 0; i < INSTANCES; i++) {
                variables[0][i * LINE] = variables[1][i * LINE] = 0;
                for (int k = 0; k < 4; k++) registers[i][k] = -1;
            }
            for (int i = 0; i < THREADS; i++) progress[i][0] = 0;
            pthread_barrier_wait(&begin);
            pthread_barrier_wait(&end);
            for (int i = 0; i < INSTANCES; i++)
                seen += test->result(variables[0][i * LINE], variables[1][i * LINE], registers[i]);
        }
        printf("%s %ld of %ld\n", test->name, seen, done);
        fflush(stdout);
    }
    over = 1;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}
