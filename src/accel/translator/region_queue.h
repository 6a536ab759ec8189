// SPDX-License-Identifier: MIT
// Regions on their way from the CPU that met the path to the thread that compiles them (decision 0060).
//
// A CPU takes a request before it follows a path, fills it, and queues it; there are few, so that neither memory nor
// the thread's work grows with what the guest does. Without a thread the CPU that filled it does the work itself.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "accel/code_reader.h"
#include "accel/translator/regions.h"
#include "ir/ir.h"

namespace rhea::accel {

struct RegionRequest {
  RegionParts parts;                 // under the translator's lock while they are awaited
  ir::Block block;                   // the joined blocks, before any pass
  PageReader reader;                 // of the head's page
  bool windowed = false;             // plain accesses go through the window
  std::atomic<s64>* owes = nullptr;  // where the thread adds the ns that it took: those of the CPU that asked
};

class RegionQueue {
 public:
  static constexpr usize kRequests = 8;
  using Work = std::function<void(RegionRequest&)>;

  RegionQueue();
  ~RegionQueue() { stop(); }
  RegionQueue(const RegionQueue&) = delete;
  RegionQueue& operator=(const RegionQueue&) = delete;

  // Starts the thread, which does `work` for each request that is queued. Once.
  void start(Work work);
  bool has_thread() const { return thread_.joinable(); }
  // A request for the caller alone; nullptr: all are in use.
  RegionRequest* take();
  // Of a request that came to nothing, or was worked on by who took it.
  void put_back(RegionRequest& request);
  // The thread works on it some time and puts it back. Only while there is one.
  void queue(RegionRequest& request);
  // The thread works on none while this is held. Not from within the work.
  std::unique_lock<std::mutex> hold() { return std::unique_lock(working_); }
  // Ends the thread, after the request that it is at; those that wait are left. Any number of times.
  void stop();
  usize waiting() const;

 private:
  void run(const Work& work);
  RegionRequest* next();

  std::array<RegionRequest, kRequests> requests_;
  mutable std::mutex mutex_;  // all below
  std::condition_variable changed_;
  std::vector<RegionRequest*> free_;
  std::deque<RegionRequest*> queue_;
  bool stopping_ = false;
  std::mutex working_;
  std::thread thread_;
};

}  // namespace rhea::accel
