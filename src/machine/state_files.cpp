// SPDX-License-Identifier: MIT
#include "machine/state_files.h"

#include <array>
#include <cstdio>

#include "util/text.h"

namespace rhea::machine {

namespace {

class FileSink final : public OutputSink {
 public:
  explicit FileSink(sys::Fd fd) : OutputSink(std::move(fd)) {}
  Result<void> finish() override {
    if (const int error = sys::sync_file(output_.fd())) return Error("{}", sys::errno_text(error));
    return {};
  }
};

class CommandSink final : public OutputSink {
 public:
  explicit CommandSink(sys::PipedCommand command)
      : OutputSink(sys::Fd()), command_(std::move(command)), pipe_(command_.fd()) {}
  Result<void> write(std::span<const u8> data) override {
    if (const int error = pipe_.write(data)) return Error("the command takes no more: {}", sys::errno_text(error));
    return {};
  }
  Result<void> finish() override {
    pipe_.close();
    return command_.finish();
  }
  void give_up_when(const std::atomic<bool>& flag) override { pipe_.give_up_when(flag); }

 private:
  sys::PipedCommand command_;
  sys::Output pipe_;
};

class CommandSource final : public StateSource {
 public:
  explicit CommandSource(sys::PipedCommand command) : command_(std::move(command)) {}
  Result<void> read(std::span<u8> data) override { return sys::read_all(command_.fd(), data); }

 private:
  sys::PipedCommand command_;
};

class DescriptorSource final : public StateSource {
 public:
  explicit DescriptorSource(sys::Fd fd) : fd_(std::move(fd)) {}
  Result<void> read(std::span<u8> data) override { return sys::read_all(fd_.get(), data); }

 private:
  sys::Fd fd_;
};

Result<sys::Fd> descriptor(const std::string& text) {
  const auto number = parse_number(text);
  if (!number || *number > 0x7fffffff || !sys::is_open(static_cast<int>(*number)))
    return Error("fd:{}: that is no open descriptor of this process, and getfd has given none that name", text);
  return sys::Fd(static_cast<int>(*number));
}

Error unknown_protocol(const std::string& uri) {
  return Error(
      "unknown migration protocol: {}: there are tcp:HOST:PORT, unix:PATH, exec:COMMAND, file:PATH and fd:NAME", uri);
}

}  // namespace

Result<void> OutputSink::write(std::span<const u8> data) {
  if (const int error = output_.write(data)) return Error("{}", sys::errno_text(error));
  return {};
}

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path) {
  auto source = std::make_unique<FileSource>();
  auto file = sys::InputFile::open(path);
  if (!file.ok()) return Error("'{}': {}", path, file.error().message());
  source->file_ = file.take();
  return source;
}

Result<void> FileSource::read(std::span<u8> data) {
  if (data.size() > file_->size() - std::min(at_, file_->size()))
    return Error("it ends after {} bytes, in the middle of something", file_->size());
  RHEA_TRY(file_->read_at(at_, data));
  at_ += data.size();
  return {};
}

Result<std::unique_ptr<OutputSink>> open_migration_sink(const std::string& uri) {
  if (uri.starts_with("file:")) {
    sys::Fd fd = RHEA_TRY(sys::open_output(uri.substr(5)));
    return std::unique_ptr<OutputSink>(std::make_unique<FileSink>(std::move(fd)));
  }
  if (uri.starts_with("exec:")) {
    sys::PipedCommand command = RHEA_TRY(sys::PipedCommand::start(uri.substr(5), true));
    return std::unique_ptr<OutputSink>(std::make_unique<CommandSink>(std::move(command)));
  }
  if (uri.starts_with("fd:")) {
    sys::Fd fd = RHEA_TRY(descriptor(uri.substr(3)));
    return std::unique_ptr<OutputSink>(std::make_unique<OutputSink>(std::move(fd)));
  }
  return unknown_protocol(uri);
}

Result<std::unique_ptr<StateSource>> open_migration_source(const std::string& uri) {
  if (uri.starts_with("file:")) {
    std::unique_ptr<FileSource> file = RHEA_TRY(FileSource::open(uri.substr(5)));
    return std::unique_ptr<StateSource>(std::move(file));
  }
  if (uri.starts_with("exec:")) {
    sys::PipedCommand command = RHEA_TRY(sys::PipedCommand::start(uri.substr(5), false));
    return std::unique_ptr<StateSource>(std::make_unique<CommandSource>(std::move(command)));
  }
  if (uri.starts_with("fd:"))
    return std::unique_ptr<StateSource>(std::make_unique<DescriptorSource>(RHEA_TRY(descriptor(uri.substr(3)))));
  return unknown_protocol(uri);
}

}  // namespace rhea::machine
