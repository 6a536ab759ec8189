/* SPDX-License-Identifier: MIT
 * A program for the bare vexpress-a9 that talks to the host by semihosting alone (Semihosting for AArch32 and AArch64,
 * release 2.0): it tries each call and says where one did not do what it should. Its command line is
 * "PROGRAM FOLDER WHAT"; it ends with status 42 when all went well.
 */
typedef unsigned u32;

enum {
  SYS_OPEN = 0x01, SYS_CLOSE, SYS_WRITEC, SYS_WRITE0, SYS_WRITE, SYS_READ, SYS_READC, SYS_ISERROR, SYS_ISTTY, SYS_SEEK,
  SYS_FLEN = 0x0c, SYS_TMPNAM, SYS_REMOVE, SYS_RENAME, SYS_CLOCK, SYS_TIME, SYS_SYSTEM, SYS_ERRNO,
  SYS_GET_CMDLINE = 0x15, SYS_HEAPINFO, SYS_EXIT = 0x18, SYS_EXIT_EXTENDED = 0x20, SYS_ELAPSED = 0x30, SYS_TICKFREQ
};
enum { APPLICATION_EXIT = 0x20026, RUN_TIME_ERROR = 0x20023 };

unsigned char stack[16384] __attribute__((aligned(8)));

__attribute__((naked, section(".text.start"))) void _start(void) {
  __asm__ volatile("ldr sp, =stack + 16384\nbl main\nb .\n");
}

#ifdef __thumb__
#define CALL "svc 0xab\n"
#else
#define CALL "svc 0x123456\n"
#endif

static u32 ask(u32 operation, const void *parameter) {
  register u32 r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = parameter;
  __asm__ volatile(CALL : "+r"(r0) : "r"(r1) : "memory", "lr");
  return r0;
}

/* The two other instructions that the specification has. */
static u32 ask_by_hlt(u32 operation, const void *parameter) {
  register u32 r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = parameter;
#ifdef __thumb__
  __asm__ volatile(".inst.n 0xbabc\n" : "+r"(r0) : "r"(r1) : "memory");
#else
  __asm__ volatile(".inst 0xe10f0070\n" : "+r"(r0) : "r"(r1) : "memory");
#endif
  return r0;
}

static u32 ask3(u32 operation, u32 a, u32 b, u32 c) {
  const u32 block[3] = {a, b, c};
  return ask(operation, block);
}

static u32 length(const char *text) {
  u32 n = 0;
  while (text[n]) n++;
  return n;
}
static void say(const char *text) { ask(SYS_WRITE0, text); }

static void finish(u32 reason, u32 status) {
  const u32 block[2] = {reason, status};
  ask(SYS_EXIT_EXTENDED, block);
  say("still here behind SYS_EXIT_EXTENDED\n");
}

static void check(int good, const char *what) {
  if (good) return;
  say("failed: ");
  say(what);
  say("\n");
  finish(APPLICATION_EXIT, 1);
}

static u32 open_file(const char *name, u32 mode) { return ask3(SYS_OPEN, (u32)name, mode, length(name)); }

char line[512], name[512], other[512], buffer[256];

static void append(char *to, const char *text) {
  to += length(to);
  while ((*to++ = *text++)) {
  }
}

static void files(void) {
  u32 file = open_file(name, 4 + 1); /* wb */
  check(file != ~0u, "opening a new file");
  check(ask3(SYS_WRITE, file, (u32) "hello, host", 11) == 0, "writing");
  check(ask(SYS_FLEN, &file) == 11, "the length of what was written");
  check(ask(SYS_ISTTY, &file) == 0, "a file is no terminal");
  check(ask(SYS_CLOSE, &file) == 0, "closing");
  check(ask(SYS_CLOSE, &file) == ~0u, "closing twice");
  file = open_file(name, 0);
  check(ask3(SYS_SEEK, file, 7, 0) == 0, "seeking");
  check(ask3(SYS_READ, file, (u32)buffer, 100) == 96, "reading the rest");
  check(buffer[0] == 'h' && buffer[3] == 't', "what was read");
  check(ask3(SYS_READ, file, (u32)buffer, 100) == 100, "reading at the end");
  ask(SYS_CLOSE, &file);
  const u32 names[4] = {(u32)name, length(name), (u32)other, length(other)};
  check(ask(SYS_RENAME, names) == 0, "renaming");
  check(open_file(name, 0) == ~0u, "the old name is gone");
  check(ask(SYS_ERRNO, 0) == 2, "ENOENT");
  file = open_file(other, 8); /* a */
  check(ask3(SYS_WRITE, file, (u32) "!", 1) == 0, "appending");
  check(ask(SYS_FLEN, &file) == 12, "the length of both");
  ask(SYS_CLOSE, &file);
}

/* What no program should do is answered with an error. */
static void nonsense(void) {
  const u32 nowhere = 0xffffff00, far = 0x90000000;
  for (u32 operation = 0; operation < 0x40; operation++) {
    if (operation == SYS_READC || operation == SYS_EXIT || operation == SYS_EXIT_EXTENDED) continue;
    ask(operation, (const void *)nowhere);
    ask3(operation, far, nowhere, nowhere);
    ask3(operation, 1, far, 0xffffffff);
  }
  check(ask3(SYS_OPEN, (u32)name, 99, length(name)) == ~0u, "a mode that is none");
  check(ask3(SYS_OPEN, far, 0, 10) == ~0u, "a name that is nowhere");
  check(ask3(SYS_WRITE, 0x1234, (u32)name, 4) == ~0u, "a handle that is none");
  check(open_file("/dev/tty", 0) == ~0u, "a device");
}

static int equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

int main(void) {
  u32 block[4] = {(u32)line, sizeof line, 0, 0};
  check(ask(SYS_GET_CMDLINE, block) == 0, "the command line");
  check(block[1] == length(line), "its length");
  char *folder = line;
  while (*folder && *folder != ' ') folder++;
  check(*folder == ' ', "a command line with arguments");
  char *what = ++folder;
  while (*what && *what != ' ') what++;
  if (*what) *what++ = 0;
  if (equal(what, "exit")) ask(SYS_EXIT, (const void *)APPLICATION_EXIT);
  if (equal(what, "error")) ask(SYS_EXIT, (const void *)RUN_TIME_ERROR);
  if (equal(what, "echo")) {
    for (;;) {
      char byte = (char)ask(SYS_READC, 0);
      if (byte == '.') break;
      if (byte >= 'a' && byte <= 'z') byte -= 32;
      ask(SYS_WRITEC, &byte);
    }
    finish(APPLICATION_EXIT, 7);
  }
  append(name, folder);
  append(name, "/file");
  append(other, folder);
  append(other, "/other");
  files();
  u32 out = open_file(":tt", 4), in = open_file(":tt", 0);
  check(out != ~0u && in != ~0u && ask(SYS_ISTTY, &out) == 1, "the console");
  check(ask3(SYS_WRITE, out, (u32) "to the console\n", 15) == 0, "writing to the console");
  block[0] = (u32)buffer;
  check(ask(SYS_HEAPINFO, block) == 0 && ((u32 *)buffer)[0] < ((u32 *)buffer)[1], "the heap");
  check(ask3(SYS_TMPNAM, (u32)buffer, 3, 200) == 0 && buffer[0] == '/', "a name for a temporary file");
  check(ask(SYS_TIME, 0) > 1700000000, "the time");
  check((int)ask(SYS_CLOCK, 0) >= 0, "the clock");
  check(ask(SYS_ELAPSED, buffer) == 0 && ask(SYS_TICKFREQ, 0) != ~0u, "ticks");
  check(ask(SYS_SYSTEM, block) == ~0u, "a command");
  u32 features = open_file(":semihosting-features", 0);
  check(ask3(SYS_READ, features, (u32)buffer, 5) == 0 && buffer[0] == 'S' && buffer[4] == 3, "the features");
  check(ask_by_hlt(SYS_TICKFREQ, 0) == ask(SYS_TICKFREQ, 0), "the same by HLT");
  nonsense();
  say("all is well\n");
  finish(APPLICATION_EXIT, 42);
  for (;;) {
  }
}
