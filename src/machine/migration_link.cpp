// SPDX-License-Identifier: MIT
#include "machine/migration_link.h"

#include <cerrno>

#include "chardev/spec.h"

namespace rhea::machine {

namespace {

// What came over a connection, in a file.
class SpoolSource final : public StateSource {
 public:
  SpoolSource(std::unique_ptr<sys::DiskFile> file, u64 size) : file_(std::move(file)), size_(size) {}
  Result<void> read(std::span<u8> data) override {
    if (data.size() > size_ - at_) return Error("it ends after {} bytes, in the middle of something", size_);
    const sys::DiskPiece all{data.data(), data.size()};
    RHEA_TRY(file_->read(at_, {&all, 1}));
    at_ += data.size();
    return {};
  }
  bool rewind() override { return at_ = 0, true; }

 private:
  std::unique_ptr<sys::DiskFile> file_;
  u64 size_, at_ = 0;
};

}  // namespace

bool is_socket_uri(const std::string& uri) { return uri.starts_with("tcp:") || uri.starts_with("unix:"); }

Result<sys::SocketName> parse_socket_uri(const std::string& uri) {
  const chardev::Spec spec = RHEA_TRY(chardev::parse_spec(uri));
  if (spec.kind != chardev::BackendKind::socket || spec.with_monitor)
    return Error("'{}': there are tcp:HOST:PORT and unix:PATH", uri);
  return spec.socket.name;
}

Result<std::unique_ptr<Connecting>> Connecting::start(EventLoop& loop, const sys::SocketName& name, Done done) {
  std::vector<sys::RawAddress> addresses = RHEA_TRY(sys::resolve(name, false));
  std::unique_ptr<Connecting> made(new Connecting(loop, name, std::move(addresses), std::move(done)));
  loop.post([link = made.get(), alive = made->alive_] {
    if (*alive) link->next();
  });
  return made;
}

Connecting::Connecting(EventLoop& loop, sys::SocketName name, std::vector<sys::RawAddress> addresses, Done done)
    : loop_(loop), name_(std::move(name)), addresses_(std::move(addresses)), error_(EADDRNOTAVAIL),
      done_(std::move(done)) {}

void Connecting::next() {
  while (tried_ < addresses_.size()) {
    fd_ = sys::begin_connect(addresses_[tried_++], error_);
    if (error_ == 0) return end(std::move(fd_));
    if (error_ != EINPROGRESS) continue;
    watch_ = loop_.watch(fd_.get(), kWritable, [this](u32) { decided(); });
    return;
  }
  end(Error("Failed to connect to '{}': {}", name_.text(), sys::errno_text(error_)));
}

void Connecting::decided() {
  watch_.reset();
  error_ = sys::pending_error(fd_.get());
  if (error_ == 0) return end(std::move(fd_));
  fd_.reset();
  next();
}

void Connecting::end(Result<sys::Fd> result) {
  const Done done = std::move(done_);  // which may destroy this
  if (result.ok()) sys::set_no_delay(result->get());
  done(std::move(result));
}

Result<std::unique_ptr<Arriving>> Arriving::listen(EventLoop& loop, const sys::SocketName& name, Done done) {
  std::unique_ptr<Arriving> made(new Arriving(loop, std::move(done)));
  using Family = sys::SocketName::Family;
  if (name.family == Family::descriptor) return Error("a state comes from tcp:HOST:PORT or unix:PATH");
  made->listener_ = RHEA_TRY(sys::listen_stream(name));
  made->name_ = sys::bound_name(made->listener_.get(), name);
  made->made_file_ = name.family == Family::unix_path && !name.abstract;
  made->file_ = RHEA_TRY(sys::DiskFile::open_temporary(""));
  made->watch_ = loop.watch(made->listener_.get(), kReadable, [link = made.get()](u32) { link->accept(); });
  return made;
}

Arriving::~Arriving() {
  watch_.reset();
  if (made_file_) sys::remove_socket_file(name_.path);
}

// One sender: the place is given up when it is there.
void Arriving::accept() {
  sys::Fd client = sys::accept_stream(listener_.get());
  if (!client) return;
  watch_.reset();
  listener_.reset();
  fd_ = std::move(client);
  watch_ = loop_.watch(fd_.get(), kReadable, [this](u32) { receive(); });
}

// A few pieces in each turn of the loop, which others want too.
void Arriving::receive() {
  constexpr usize kPiece = usize{256} << 10;
  constexpr int kTurn = 8;
  std::vector<u8> bytes(kPiece);
  for (int i = 0; i < kTurn; ++i) {
    const sys::ReadSome got = sys::receive_now(fd_.get(), bytes);
    if (got.outcome == sys::ReadOutcome::would_wait) return;
    if (got.outcome == sys::ReadOutcome::failed) return end(Error("{}", sys::errno_text(got.error)));
    if (got.outcome == sys::ReadOutcome::end) {
      auto source = std::make_unique<SpoolSource>(std::move(file_), size_);
      return end(std::unique_ptr<StateSource>(std::move(source)));
    }
    const sys::DiskPiece piece{bytes.data(), got.count};
    Result<void> kept = file_->write(size_, {&piece, 1});
    if (!kept.ok()) return end(std::move(kept.error()).in("keeping what comes"));
    size_ += got.count;
  }
}

void Arriving::end(Result<std::unique_ptr<StateSource>> result) {
  watch_.reset();
  fd_.reset();
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace rhea::machine
