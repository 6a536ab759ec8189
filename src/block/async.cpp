// SPDX-License-Identifier: MIT
#include "block/async.h"

#include "sys/thread.h"

namespace rhea::block {

namespace {

constexpr unsigned kRingEntries = 128;
constexpr usize kMaxThreads = 8;
constexpr unsigned kMaxPlaces = 16;  // of a request whose parts are looked up one by one
constexpr u64 kSmallWrite = 128 << 10;
constexpr s64 kLongWrite = 2 * kMillisecond;
constexpr unsigned kThreadsAfterLong = 256;

}  // namespace

Image::Async::Async(Image& image, EventLoop& loop)
    : image_(image), loop_(loop),
      each_write_flushed_(image.spec_.cache == CacheMode::writethrough || image.spec_.cache == CacheMode::directsync) {
  watch_ = loop.watch(event_.fd(), kReadable, [this](u32) {
    event_.clear();
    reap();
  });
  if (image.spec_.aio == AioMode::threads) return;
  auto ring = sys::IoRing::create(kRingEntries);
  if (!ring) {
    image.add_warning(
        fmt::format("warning: io_uring is not to be had here ({}); threads do its work", ring.error().message()));
    return;
  }
  ring_ = ring.take();
  ring_watch_ = loop.watch(ring_->event_fd(), kReadable, [this](u32) {
    ring_->clear_event();
    reap();
  });
}

Image::Async::~Async() {
  drain();
  {
    std::lock_guard lock(mutex_);
    closing_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::optional<IoResult> Image::Async::start(Request request) {
  if (request.op == Op::read && read_at_hand(request)) return IoResult{};
  if (request.op == Op::write && !ring_ && write_at_hand(request)) return IoResult{};
  auto job = std::make_unique<Job>();
  job->request = std::move(request);
  ++in_flight_;
  if (ring_ && start_in_ring(job)) return std::nullopt;
  start_in_thread(std::move(job));
  return std::nullopt;
}

bool Image::Async::read_at_hand(const Request& request) {
  Node& node = *image_.top_;
  const u64 ticket = node.pin();
  u64 done = 0;
  for (unsigned i = 0; i < kMaxPlaces && done < request.size; ++i) {
    const Place place = node.locate_now(request.offset + done, request.size - done, false);
    if (place.kind == Place::Kind::unknown || !place.size) break;
    if (place.kind == Place::Kind::zeros) {
      fill_zero(slice(request.segments, done, place.size));
    } else if (place.size == request.size) {
      if (!place.file->read_cached(place.offset, request.segments)) break;
    } else if (!place.file->read_cached(place.offset, slice(request.segments, done, place.size))) {
      break;
    }
    done += place.size;
  }
  node.unpin(ticket);
  return done == request.size;
}

// Whether it was written. If it was in part, a thread writes all of it again.
bool Image::Async::write_at_hand(const Request& request) {
  if (request.size > kSmallWrite || request.fua || each_write_flushed_ ||
      image_.spec_.detect_zeroes != DetectZeroes::off)
    return false;
  if (to_threads_) {
    --to_threads_;
    return false;
  }
  const s64 began = loop_.real_clock().now();
  Node& node = *image_.top_;
  const u64 ticket = node.pin();
  u64 done = 0;
  for (unsigned i = 0; i < kMaxPlaces && done < request.size; ++i) {
    const Place place = node.locate_now(request.offset + done, request.size - done, true);
    if (place.kind != Place::Kind::file || !place.size || place.file->alignment() != 1) break;
    const bool whole = place.size == request.size;
    if (!(whole ? place.file->write(place.offset, request.segments)
                : place.file->write(place.offset, slice(request.segments, done, place.size)))
             .ok())
      break;
    done += place.size;
  }
  node.unpin(ticket);
  if (loop_.real_clock().now() - began > kLongWrite) to_threads_ = kThreadsAfterLong;
  return done == request.size;
}

bool Image::Async::start_in_ring(std::unique_ptr<Job>& job) {
  const Request& request = job->request;
  const bool write = request.op == Op::write;
  if (request.op != Op::read && !write) return false;
  if (write && (request.fua || each_write_flushed_ || image_.spec_.detect_zeroes != DetectZeroes::off)) return false;
  const u64 ticket = image_.top_->pin();
  const Place place = image_.top_->locate_now(request.offset, request.size, write);
  if (place.kind == Place::Kind::file && place.size == request.size &&
      place.file->aligned(place.offset, request.segments)) {
    job->ticket = ticket;
    const u64 cookie = next_cookie_++;
    if (ring_->start(write, place.file->fd(), place.offset, request.segments, cookie)) {
      in_ring_.emplace(cookie, std::move(job));
      return true;
    }
  }
  image_.top_->unpin(ticket);
  return false;
}

void Image::Async::start_in_thread(std::unique_ptr<Job> job) {
  std::lock_guard lock(mutex_);
  queue_.push_back(std::move(job));
  if (idle_ < queue_.size() && threads_.size() < kMaxThreads) {
    threads_.emplace_back([this] { work(); });
  }
  wanted_.notify_one();
}

void Image::Async::work() {
  sys::name_current_thread("block");
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wanted_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    --idle_;
    if (queue_.empty()) return;
    auto job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    job->result = image_.carry_out(job->request);
    lock.lock();
    done_.push_back(std::move(job));
    if (done_.size() == 1) event_.signal();
    ended_.notify_one();
  }
}

bool Image::Async::reap_ring() {
  bool any = false;
  sys::IoRing::Done done{};
  while (ring_ && ring_->pop(done)) {
    any = true;
    const auto found = in_ring_.find(done.cookie);
    if (found == in_ring_.end()) continue;
    auto job = std::move(found->second);
    in_ring_.erase(found);
    image_.top_->unpin(job->ticket);
    // Half done, at the file's end, or an error: a thread does it again, and says what is wrong.
    if (done.result == static_cast<s64>(job->request.size)) end(std::move(job));
    else start_in_thread(std::move(job));
  }
  return any;
}

bool Image::Async::reap() {
  bool any = reap_ring();
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::lock_guard lock(mutex_);
      if (done_.empty()) return any;
      job = std::move(done_.front());
      done_.pop_front();
    }
    any = true;
    end(std::move(job));
  }
}

void Image::Async::end(std::unique_ptr<Job> job) {
  --in_flight_;
  if (job->request.done) job->request.done(std::move(job->result));
}

void Image::Async::drain() {
  while (in_flight_) {
    if (reap()) continue;
    // A callback may have started something new; else the ring's are waited for first, then the threads'.
    if (!in_ring_.empty()) {
      ring_->wait();
      continue;
    }
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return !done_.empty(); });
  }
}

}  // namespace rhea::block
