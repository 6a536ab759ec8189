// SPDX-License-Identifier: MIT
#include "sys/poller.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace rhea::sys {

namespace {

u32 to_epoll(u32 events) { return (events & kPollIn ? u32{EPOLLIN} : 0) | (events & kPollOut ? u32{EPOLLOUT} : 0); }

s64 read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return s64{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

Poller::Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

bool Poller::add(int fd, u64 id, u32 events) {
  epoll_event event{.events = to_epoll(events), .data = {.u64 = id}};
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Poller::change(int fd, u64 id, u32 events) {
  epoll_event event{.events = to_epoll(events), .data = {.u64 = id}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Poller::remove(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void Poller::wait(s64 nanoseconds, std::vector<Ready>& ready) {
  epoll_event events[64];
  timespec limit{.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
  int count = ::epoll_pwait2(epoll_.get(), events, 64, nanoseconds < 0 ? nullptr : &limit, nullptr);
  ready.clear();
  for (int i = 0; i < count; ++i) {
    u32 seen = 0;
    if (events[i].events & EPOLLIN) seen |= kPollIn;
    if (events[i].events & EPOLLOUT) seen |= kPollOut;
    if (events[i].events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) seen |= kPollHangup;
    ready.push_back({events[i].data.u64, seen});
  }
}

s64 monotonic_now() { return read_clock(CLOCK_MONOTONIC); }
s64 wall_now() { return read_clock(CLOCK_REALTIME); }

void name_thread(const std::string& name) { ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str()); }

int thread_id() { return static_cast<int>(::syscall(SYS_gettid)); }

}  // namespace rhea::sys
