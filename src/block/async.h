// SPDX-License-Identifier: MIT
// The requests of an image that are in flight.
//
// Life of a request, under the loop's lock:
//  1. What is where is asked of the top node without waiting (Node::locate_now). Reads that the host's page cache
//     has, and zeros, end there and then. So do small overwrites with aio=threads: the page cache takes them in
//     less time than a thread takes to wake up. When one did take long (the host throttles its writers), the next
//     ones go to threads.
//  2. With io_uring, a request whose bytes are in one place goes to the kernel.
//  3. Everything else (metadata to be read, clusters to be allocated, compressed data, flushes, several places,
//     what the ring gave back half done) goes to a thread of the image's pool, which calls Image::carry_out.
//  4. What has ended in a thread is on a list; an event descriptor wakes the loop, which calls back. drain() takes
//     from the same list, so it needs no turn of the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "block/image.h"
#include "block/node.h"
#include "core/event_loop.h"
#include "sys/fd.h"
#include "sys/io_ring.h"

namespace rhea::block {

class Image::Async {
 public:
  Async(Image& image, EventLoop& loop);
  ~Async();

  std::optional<IoResult> start(Request request);
  void drain();
  unsigned in_flight() const { return in_flight_; }

 private:
  struct Job {
    Request request;
    IoResult result;
    u64 ticket = 0;  // of the pin, while the ring has it
  };

  bool read_at_hand(const Request& request);
  bool write_at_hand(const Request& request);
  bool start_in_ring(std::unique_ptr<Job>& job);
  void start_in_thread(std::unique_ptr<Job> job);
  void work();
  // Calls back for all that has ended; returns whether there was any.
  bool reap();
  bool reap_ring();
  void end(std::unique_ptr<Job> job);

  Image& image_;
  EventLoop& loop_;
  bool each_write_flushed_;
  unsigned in_flight_ = 0;
  unsigned to_threads_ = 0;  // so many of the next small writes

  std::unique_ptr<sys::IoRing> ring_;
  std::unique_ptr<FdWatch> ring_watch_;
  std::unordered_map<u64, std::unique_ptr<Job>> in_ring_;
  u64 next_cookie_ = 1;

  // Shared with the threads.
  std::mutex mutex_;
  std::condition_variable wanted_;  // there is a job, or the end has come
  std::condition_variable ended_;   // a job has ended
  std::deque<std::unique_ptr<Job>> queue_;
  std::deque<std::unique_ptr<Job>> done_;
  unsigned idle_ = 0;
  bool closing_ = false;
  std::vector<std::thread> threads_;
  sys::EventFd event_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace rhea::block
