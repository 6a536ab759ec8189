// SPDX-License-Identifier: MIT
#include "chardev/backends.h"

namespace rhea::chardev {

namespace {

class Null final : public Backend {
 public:
  void write(std::span<const u8>) override {}
  void set_frontend(Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "null"; }
};

}  // namespace

std::unique_ptr<Backend> make_null() { return std::make_unique<Null>(); }

}  // namespace rhea::chardev
