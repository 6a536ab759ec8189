// SPDX-License-Identifier: MIT
#include "accel/translator/region_queue.h"

#include "sys/thread.h"

namespace rhea::accel {

RegionQueue::RegionQueue() {
  for (RegionRequest& request : requests_) free_.push_back(&request);
}

void RegionQueue::start(Work work) {
  thread_ = std::thread([this, work = std::move(work)] { run(work); });
}

RegionRequest* RegionQueue::take() {
  std::lock_guard lock(mutex_);
  if (free_.empty()) return nullptr;
  RegionRequest* const request = free_.back();
  free_.pop_back();
  return request;
}

void RegionQueue::put_back(RegionRequest& request) {
  std::lock_guard lock(mutex_);
  free_.push_back(&request);
}

void RegionQueue::queue(RegionRequest& request) {
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(&request);
  }
  changed_.notify_one();
}

void RegionQueue::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

usize RegionQueue::waiting() const {
  std::lock_guard lock(mutex_);
  return queue_.size();
}

// Waits for a request; nullptr: the thread is to end.
RegionRequest* RegionQueue::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  if (stopping_) return nullptr;
  RegionRequest* const request = queue_.front();
  queue_.pop_front();
  return request;
}

void RegionQueue::run(const Work& work) {
  sys::name_current_thread("regions");
  sys::run_in_background();
  while (RegionRequest* const request = next()) {
    {
      std::lock_guard lock(working_);
      work(*request);
    }
    put_back(*request);
  }
}

}  // namespace rhea::accel
