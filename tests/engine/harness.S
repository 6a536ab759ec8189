@ SPDX-License-Identifier: MIT
@ Runs a batch of tests: loads each one's registers, jumps to its code, stores what became of them. One program for
@ two worlds: `_start` is a Linux process (batch on standard input, results on standard output), `bare_start` a CPU
@ at reset (batch already in memory; DONE is set at the end). Everything is at the same addresses in both.
@ Layouts: random_streams.h (Test, Result).
        .syntax unified
        .arm
        .fpu    neon
        .arch   armv7-a

        .equ    BATCH,   0x01000000     @ u32 count, pad to 16, then tests
        .equ    RESULTS, 0x03000000
        .equ    WINDOW,  0x05008000     @ middle of the memory that tests use
        .equ    DONE,    0x05020000     @ bare: not zero when finished
        .equ    TEST_SIZE, 768
        .equ    RESULT_SIZE, 592
        .equ    BATCH_BYTES, 0x01000000

        .section .code, "awx"
        .global _start
_start: b       user_start
        b       bare_start              @ at _start + 4
        b       finish                  @ at _start + 8: where tests end
user_start:
        ldr     r8, =BATCH
        mov     r9, #BATCH_BYTES
1:      mov     r0, #0                  @ read(0, ...) until the end
        mov     r1, r8
        mov     r2, r9
        mov     r7, #3
        svc     0
        cmp     r0, #0
        addgt   r8, r8, r0
        subgt   r9, r9, r0
        bgt     1b
        ldr     r0, =altstack_info      @ sigaltstack
        mov     r1, #0
        mov     r7, #186
        svc     0
        mov     r6, #0
2:      ldr     r4, =signals            @ rt_sigaction(SIGILL, SIGBUS, SIGSEGV)
        ldrb    r0, [r4, r6]
        ldr     r1, =action
        mov     r2, #0
        mov     r3, #8
        mov     r7, #174
        svc     0
        add     r6, r6, #1
        cmp     r6, #3
        bne     2b
        mov     r0, #0
        str     r0, bare
        b       run_batch

signal_handler:                         @ r0 signal, r2 ucontext
        str     r0, marker
        ldr     r3, [r2, #92]
        str     r3, fault_pc
        ldr     r3, =finish
        str     r3, [r2, #92]
        ldr     r3, [r2, #96]
        ldr     r1, =0x0600fc20         @ T and IT
        bic     r3, r3, r1
        str     r3, [r2, #96]
        bx      lr
signal_return:
        mov     r7, #173
        svc     0

@ ---- bare ----
bare_start:
        ldr     r0, =vectors
        mcr     p15, 0, r0, c12, c0, 0  @ VBAR
        ldr     r0, =0x00f00000
        mcr     p15, 0, r0, c1, c0, 2   @ CPACR: coprocessors 10 and 11
        isb
        mov     r0, #0x40000000
        vmsr    fpexc, r0
        ldr     r1, =table              @ flat map of sections, normal memory, full access
        ldr     r2, =0x00001c0e | 1 << 16
        mov     r3, #0
3:      orr     r4, r2, r3, lsl #20
        str     r4, [r1, r3, lsl #2]
        add     r3, r3, #1
        cmp     r3, #4096
        bne     3b
        mcr     p15, 0, r1, c2, c0, 0   @ TTBR0
        mov     r0, #0
        mcr     p15, 0, r0, c2, c0, 2   @ TTBCR
        mov     r0, #1
        mcr     p15, 0, r0, c3, c0, 0   @ DACR: client
        dsb
        mov     r0, #0
        mcr     p15, 0, r0, c8, c7, 0
        mrc     p15, 0, r0, c1, c0, 0
        ldr     r1, =0x1805             @ MMU, caches, branch prediction
        orr     r0, r0, r1
        bic     r0, r0, #2
        mcr     p15, 0, r0, c1, c0, 0
        isb
        mov     r0, #1
        str     r0, bare
        cps     #0x10
        b       run_batch

        .balign 32
vectors:
        b       .
        b       on_undefined
        b       on_svc
        b       on_prefetch_abort
        b       on_data_abort
        b       .
        b       .
        b       .
        .macro  exception number
        ldr     sp, =fault_pc
        str     lr, [sp]
        mov     lr, #\number
        str     lr, [sp, #4]
        mrs     sp, spsr
        bic     sp, sp, #0x20
        bic     sp, sp, #0xfc00
        bic     sp, sp, #0x06000000
        msr     spsr_cxsf, sp
        ldr     lr, =finish
        movs    pc, lr
        .endm
on_undefined:      exception 4
on_prefetch_abort: exception 11
on_data_abort:     exception 7
on_svc:
        ldr     r0, =DONE
        mov     r1, #1
        str     r1, [r0]
4:      wfi
        b       4b
        .ltorg

@ ---- the batch ----
run_batch:
        ldr     r0, =BATCH
        ldr     r1, [r0], #16
        str     r1, remaining
        str     r0, test
        ldr     r0, =RESULTS
        str     r0, result
next:
        ldr     r1, remaining
        subs    r1, r1, #1
        blt     batch_done
        str     r1, remaining
        ldr     r0, =WINDOW - 6144      @ nothing is left of what earlier tests stored around the window
        add     r1, r0, #12288
        mov     r2, #0
        mov     r3, #0
        mov     r4, #0
        mov     r5, #0
        mov     r6, #0
        mov     r7, #0
        mov     r8, #0
        mov     r9, #0
9:      stm     r0!, {r2-r9}
        cmp     r0, r1
        bne     9b
        ldr     r0, test
        add     r2, r0, #336            @ memory window
        ldr     r3, =WINDOW - 128
        add     r4, r3, #256
5:      ldr     r5, [r2], #4
        str     r5, [r3], #4
        cmp     r3, r4
        bne     5b
        mov     r1, #0
        str     r1, marker
        str     r1, fault_pc
        clrex
        ldr     r1, [r0, #68]
        str     r1, entry
        add     r1, r0, #80
        vldm    r1!, {d0-d15}
        vldm    r1, {d16-d31}
        ldr     r1, [r0, #64]
        vmsr    fpscr, r1
        ldr     r1, [r0, #60]
        msr     apsr_nzcvqg, r1
        ldr     sp, [r0, #52]
        ldr     lr, [r0, #56]
        ldm     r0, {r0-r12}
        ldr     pc, entry

finish:
        setend  le
        str     r0, saved_r0
        ldr     r0, result
        str     r1, [r0, #4]
        add     r0, r0, #8
        stm     r0, {r2-r12}
        sub     r0, r0, #8
        str     sp, [r0, #52]
        str     lr, [r0, #56]
        ldr     r1, saved_r0
        str     r1, [r0]
        mrs     r1, cpsr
        str     r1, [r0, #60]
        vmrs    r1, fpscr
        str     r1, [r0, #64]
        ldr     r1, marker
        str     r1, [r0, #68]
        ldr     r1, fault_pc
        str     r1, [r0, #72]
        add     r1, r0, #80
        vstm    r1!, {d0-d15}
        vstm    r1!, {d16-d31}
        ldr     r3, =WINDOW - 128
        add     r4, r3, #256
6:      ldr     r5, [r3], #4
        str     r5, [r1], #4
        cmp     r3, r4
        bne     6b
        ldr     r0, result
        add     r0, r0, #RESULT_SIZE
        str     r0, result
        ldr     r0, test
        add     r0, r0, #TEST_SIZE
        str     r0, test
        b       next

batch_done:
        ldr     r0, bare
        cmp     r0, #0
        svcne   0
        ldr     r8, =RESULTS
        ldr     r9, result
7:      mov     r0, #1                  @ write(1, ...)
        mov     r1, r8
        subs    r2, r9, r8
        ble     8f
        mov     r7, #4
        svc     0
        cmp     r0, #0
        addgt   r8, r8, r0
        bgt     7b
8:      mov     r0, #0
        mov     r7, #248
        svc     0

        .ltorg
        .balign 4096                    @ a page without code, but near enough to be addressed from it
entry:     .word 0
remaining: .word 0
test:      .word 0
result:    .word 0
saved_r0:  .word 0
fault_pc:  .word 0
marker:    .word 0                      @ behind fault_pc
bare:      .word 0
signals:   .byte 4, 7, 11, 0
action:    .word signal_handler, 0x0c000004 | 0x40000000, signal_return, 0, 0   @ SA_ONSTACK, SA_RESTORER, SA_SIGINFO, SA_NODEFER
altstack_info: .word altstack, 0, 16384

        .bss
        .balign 16384
table:     .space 16384
altstack:  .space 16384

        .section .batch, "awx", %nobits
        .space  BATCH_BYTES
        .section .results, "aw", %nobits
        .space  0x01000000
        .section .window, "awx", %nobits
        .space  0x00040000
