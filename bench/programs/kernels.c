// SPDX-License-Identifier: MIT
// Loops of a handful of operations each, the same source for the guest and for the host: what one kind of work costs.
//
//   kernels [NAME]   a line for each kernel (or that one): its name and ns of one round of it
//
// Each is run for a while to find out how many rounds take a tenth of a second, and then three times that long; the
// best time counts. An empty asm statement keeps the compiler from computing what is asked of the processor.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef float Floats __attribute__((vector_size(16)));
typedef int32_t Words __attribute__((vector_size(16)));

#define OPAQUE(value) __asm__ volatile("" : "+r"(value))
#if defined(__arm__)
#define OPAQUE_DOUBLE(value) __asm__ volatile("" : "+w"(value))
#define OPAQUE_VECTOR(value) __asm__ volatile("" : "+w"(value))
// The compiler does floats one by one: NEON flushes denormals.
#define ADD_FLOATS(a, b) __asm__ volatile("vadd.f32 %q0, %q0, %q1" : "+w"(a) : "w"(b))
#define MULTIPLY_FLOATS(a, b) __asm__ volatile("vmul.f32 %q0, %q0, %q1" : "+w"(a) : "w"(b))
#else
#define OPAQUE_DOUBLE(value) __asm__ volatile("" : "+x"(value))
#define OPAQUE_VECTOR(value) __asm__ volatile("" : "+x"(value))
#define ADD_FLOATS(a, b) __asm__ volatile("addps %1, %0" : "+x"(a) : "x"(b))
#define MULTIPLY_FLOATS(a, b) __asm__ volatile("mulps %1, %0" : "+x"(a) : "x"(b))
#endif

enum { SMALL = 1024, LARGE = 512 * 1024 / sizeof(void *) };

static volatile uint32_t words[SMALL];
static void *small_ring[SMALL], *large_ring[LARGE];
static uint32_t sink;

static void alu(long rounds) {
    uint32_t a = 1, b = 2;
    for (; rounds; rounds--) {
        a += b, b ^= a >> 3, a -= 7, b |= 1, a = a << 1 | a >> 31, b += a, a ^= b, b -= a >> 5;
        OPAQUE(a);
    }
    sink = a + b;
}

static void flags(long rounds) {
    uint64_t sum = 0;
    uint32_t a = 1, most = 0;
    for (; rounds; rounds--) {
        sum += (uint64_t)a << 13;
        a = a * 5 + 1;
        most = a > most ? a : most - 1;
        OPAQUE(a);
    }
    sink = (uint32_t)sum + most;
}

static void branches(long rounds) {
    uint32_t a = 0, odd = 0, third = 0, both = 0;
    for (; rounds; rounds--) {
        a++;
        if (a & 1) { odd++; OPAQUE(odd); }
        if ((a & 3) == 2) { third++; OPAQUE(third); }
        if ((a & 5) == 5) { both++; OPAQUE(both); }
    }
    sink = odd + third + both;
}

static void loads(long rounds) {
    uint32_t sum = 0, at = 0;
    for (; rounds; rounds--) {
        volatile uint32_t *p = words + at;
        sum += p[0] + p[1] + p[2] + p[3] + p[4] + p[5] + p[6] + p[7];
        at = (at + 8) & (SMALL - 8);
    }
    sink = sum;
}

static void load_modify_store(long rounds) {
    uint32_t at = 0;
    for (; rounds; rounds--) {
        words[at] += 3;
        at = (at + 1) & (SMALL - 1);
    }
}

static void chase(void **ring, long rounds) {
    void **at = ring;
    for (; rounds; rounds--) {
        at = (void **)*at;
        OPAQUE(at);
    }
    sink = (uint32_t)(uintptr_t)at;
}
static void chase_small(long rounds) { chase(small_ring, rounds); }
static void chase_large(long rounds) { chase(large_ring, rounds); }

static __attribute__((noinline)) uint32_t callee(uint32_t value) {
    OPAQUE(value);
    return value + 1;
}
static __attribute__((noinline)) uint32_t other(uint32_t value) {
    OPAQUE(value);
    return value + 2;
}

static void call(long rounds) {
    uint32_t value = 0;
    for (; rounds; rounds--) value = callee(value);
    sink = value;
}

static void indirect_call(long rounds) {
    uint32_t (*volatile functions[2])(uint32_t) = {callee, other};
    uint32_t value = 0;
    for (; rounds; rounds--) value = functions[rounds & 1](value);
    sink = value;
}

static __attribute__((noinline)) uint32_t deep(uint32_t depth) {
    uint32_t kept = depth * 3;
    OPAQUE(kept);
    if (!depth) return 0;
    uint32_t below = deep(depth - 1);
    OPAQUE(below);  // or the compiler makes a loop of it
    return below + kept;
}
static void recursion(long rounds) {
    for (; rounds; rounds--) sink += deep(10);
}

static uint32_t counter;

static void atomic_add(long rounds) {
    for (; rounds; rounds--) __atomic_fetch_add(&counter, 3, __ATOMIC_RELAXED);
}

static void compare_exchange(long rounds) {
    uint32_t seen = counter;
    for (; rounds; rounds--) {
        __atomic_compare_exchange_n(&counter, &seen, seen + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
        seen++;
    }
}

static void add_double(long rounds) {
    double a = 1, b = 0.5;
    for (; rounds; rounds--) {
        a += b;
        OPAQUE_DOUBLE(a);
    }
    sink = (uint32_t)a;
}

static void multiply_add_double(long rounds) {
    double a = 1, b = 0.999, c = 0.25;
    for (; rounds; rounds--) {
        a = a * b;
        OPAQUE_DOUBLE(a);
        a = a + c;
        OPAQUE_DOUBLE(a);
    }
    sink = (uint32_t)a;
}

static void compare_double(long rounds) {
    double a = 0, b = 10;
    uint32_t less = 0;
    for (; rounds; rounds--) {
        OPAQUE_DOUBLE(a);
        if (a < b) less++;
        OPAQUE(less);
    }
    sink = less;
}

static void packed_floats(long rounds) {
    Floats a = {1, 2, 3, 4}, b = {0.5f, 0.25f, 0.125f, 1}, c = {0.999f, 0.999f, 0.999f, 0.999f};
    for (; rounds; rounds--) {
        ADD_FLOATS(a, b);
        MULTIPLY_FLOATS(a, c);
    }
    sink = (uint32_t)a[0];
}

static void packed_words(long rounds) {
    Words a = {1, 2, 3, 4}, b = {5, 6, 7, 8};
    for (; rounds; rounds--) {
        a = a + b;
        OPAQUE_VECTOR(a);
        b = b ^ a;
        OPAQUE_VECTOR(b);
    }
    sink = (uint32_t)a[0];
}

static const struct {
    const char *name;
    void (*run)(long rounds);
} KERNELS[] = {
    {"arithmetic, 8 operations", alu}, {"flags and conditions", flags}, {"three short branches", branches},
    {"8 independent loads", loads}, {"load, modify, store", load_modify_store},
    {"pointer chase, 4 KiB", chase_small}, {"pointer chase, 512 KiB", chase_large}, {"call and return", call},
    {"indirect call and return", indirect_call}, {"recursion, 10 deep", recursion}, {"atomic add", atomic_add},
    {"compare and exchange", compare_exchange}, {"double add", add_double},
    {"double multiply, add", multiply_add_double}, {"double compare", compare_double},
    {"4 floats add, multiply", packed_floats}, {"4 words add, xor", packed_words},
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

// A ring through all places in an order that no prefetcher foresees.
static void make_ring(void **ring, uint32_t count) {
    uint32_t *order = malloc(count * sizeof *order), random = 1;
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        random = random * 1664525 + 1013904223;
        const uint32_t k = (uint32_t)((uint64_t)random * (i + 1) >> 32), kept = order[i];
        order[i] = order[k], order[k] = kept;
    }
    for (uint32_t i = 0; i < count; i++) ring[order[i]] = &ring[order[(i + 1) % count]];
    free(order);
}

int main(int count, char **arguments) {
    make_ring(small_ring, 4096 / sizeof(void *));
    make_ring(large_ring, LARGE);
    for (unsigned i = 0; i < sizeof KERNELS / sizeof KERNELS[0]; i++) {
        if (count > 1 && strcmp(arguments[1], KERNELS[i].name)) continue;
        long rounds = 1000;
        double took;
        for (;; rounds *= 2) {
            const double begin = now();
            KERNELS[i].run(rounds);
            took = now() - begin;
            if (took > 1e8) break;
        }
        double best = took;
        for (int again = 0; again < 3; again++) {
            const double begin = now();
            KERNELS[i].run(rounds);
            took = now() - begin;
            if (took < best) best = took;
        }
        printf("%s: %.3f\n", KERNELS[i].name, best / (double)rounds);
        fflush(stdout);
    }
    return 0;
}
