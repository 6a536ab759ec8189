// SPDX-License-Identifier: MIT
// Reads or writes a disk past the page cache, in order or at random, some requests at a time; says how many there were.
//   disk DEVICE read|write seq|rand BLOCK-BYTES REQUESTS SPAN-BYTES [AT-A-TIME]
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kMostThreads = 32, kAlignment = 4096 };

struct job {
  const char* device;
  int writes, random;
  unsigned block, requests, blocks, first, step;
};

static void* work(void* given) {
  const struct job* job = given;
  const int fd = open(job->device, (job->writes ? O_WRONLY : O_RDONLY) | O_DIRECT);
  void* buffer;
  if (fd < 0 || posix_memalign(&buffer, kAlignment, job->block)) {
    perror(job->device);
    exit(1);
  }
  memset(buffer, 0x5a, job->block);
  // A linear congruence: the same places in each run, for both emulators.
  unsigned state = job->first * 2654435761u + 1;
  for (unsigned i = job->first; i < job->requests; i += job->step) {
    state = state * 1664525u + 1013904223u;
    const unsigned at = job->random ? (state >> 8) % job->blocks : i % job->blocks;
    const off_t offset = (off_t)at * job->block;
    const ssize_t done = job->writes ? pwrite(fd, buffer, job->block, offset) : pread(fd, buffer, job->block, offset);
    if (done != (ssize_t)job->block) {
      fprintf(stderr, "%s: %zd bytes at %lld: %s\n", job->device, done, (long long)offset, strerror(errno));
      exit(1);
    }
  }
  if (job->writes && fdatasync(fd)) {
    perror("fdatasync");
    exit(1);
  }
  close(fd);
  return NULL;
}

int main(int count, char** words) {
  if (count < 7) return 2;
  struct job job = {.device = words[1], .writes = words[2][0] == 'w', .random = words[3][0] == 'r'};
  job.block = (unsigned)strtoul(words[4], NULL, 0);
  job.requests = (unsigned)strtoul(words[5], NULL, 0);
  job.blocks = (unsigned)(strtoull(words[6], NULL, 0) / job.block);
  unsigned threads = count > 7 ? (unsigned)strtoul(words[7], NULL, 0) : 1;
  if (!job.block || !job.blocks || !threads || threads > kMostThreads) return 2;
  job.step = threads;
  struct job jobs[kMostThreads];
  pthread_t ids[kMostThreads];
  for (unsigned i = 0; i < threads; ++i) {
    jobs[i] = job;
    jobs[i].first = i;
    if (i && pthread_create(&ids[i], NULL, work, &jobs[i])) return 1;
  }
  work(&jobs[0]);
  for (unsigned i = 1; i < threads; ++i) pthread_join(ids[i], NULL);
  printf("%u requests of %u bytes\n", job.requests, job.block);
  return 0;
}
