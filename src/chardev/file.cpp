// SPDX-License-Identifier: MIT
#include "chardev/backends.h"
#include "sys/stream.h"

namespace rhea::chardev {

namespace {

// A write that fails (the disk is full) is lost; the guest goes on, as with a printer out of paper.
class File final : public Backend {
 public:
  explicit File(sys::Fd fd) : output_(std::move(fd)) {}
  void write(std::span<const u8> data) override { output_.write(data); }
  void set_frontend(Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "file"; }

 private:
  sys::Output output_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_file(const std::string& path, bool append) {
  return std::unique_ptr<Backend>(std::make_unique<File>(RHEA_TRY(sys::open_output(path, append))));
}

}  // namespace rhea::chardev
