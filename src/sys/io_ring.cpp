// SPDX-License-Identifier: MIT
#include "sys/io_ring.h"

#include <liburing.h>

#include <climits>

namespace rhea::sys {

struct IoRing::Ring {
  io_uring ring{};
  unsigned entries = 0;
  unsigned in_flight = 0;
  bool made = false;
  ~Ring() {
    if (made) io_uring_queue_exit(&ring);
  }
};

IoRing::IoRing() : ring_(std::make_unique<Ring>()) {}
IoRing::~IoRing() = default;

Result<std::unique_ptr<IoRing>> IoRing::create(unsigned entries) {
  std::unique_ptr<IoRing> self(new IoRing);
  if (const int error = io_uring_queue_init(entries, &self->ring_->ring, IORING_SETUP_CLAMP); error < 0) {
    return Error("{}", errno_text(-error));
  }
  self->ring_->made = true;
  self->ring_->entries = entries;
  if (const int error = io_uring_register_eventfd(&self->ring_->ring, self->event_.fd()); error < 0) {
    return Error("{}", errno_text(-error));
  }
  return self;
}

bool IoRing::start(bool write, int fd, u64 offset, DiskPieces pieces, u64 cookie) {
  if (ring_->in_flight >= ring_->entries || pieces.size() > IOV_MAX) return false;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_->ring);
  if (!entry) return false;
  const auto* list = reinterpret_cast<const iovec*>(pieces.data());
  if (write) io_uring_prep_writev(entry, fd, list, static_cast<unsigned>(pieces.size()), offset);
  else io_uring_prep_readv(entry, fd, list, static_cast<unsigned>(pieces.size()), offset);
  io_uring_sqe_set_data64(entry, cookie);
  ++ring_->in_flight;
  // What the kernel does not take now (EAGAIN, EBUSY) stays queued and goes with the next one or with wait().
  io_uring_submit(&ring_->ring);
  return true;
}

bool IoRing::pop(Done& done) {
  io_uring_cqe* entry = nullptr;
  if (io_uring_sq_ready(&ring_->ring)) io_uring_submit(&ring_->ring);
  if (io_uring_peek_cqe(&ring_->ring, &entry) != 0 || !entry) return false;
  done = {io_uring_cqe_get_data64(entry), entry->res};
  io_uring_cqe_seen(&ring_->ring, entry);
  --ring_->in_flight;
  return true;
}

void IoRing::wait() {
  io_uring_cqe* entry = nullptr;
  io_uring_submit(&ring_->ring);
  (void)io_uring_wait_cqe(&ring_->ring, &entry);
}

}  // namespace rhea::sys
