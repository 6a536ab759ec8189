// SPDX-License-Identifier: MIT
#include "monitor/capture.h"

namespace rhea::monitor {

namespace {

class Capture final : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override {
    for (const u8 byte : data)
      if (byte != '\r') text += static_cast<char>(byte);
  }
  void set_frontend(chardev::Frontend*) override {}
  void accept_input() override {}
  std::string description() const override { return "captured"; }
  std::string text;
};

}  // namespace

std::string run_captured(Context& context, std::string_view line) {
  Capture capture;
  Monitor monitor(capture, context, true);
  monitor.execute(line);
  return std::move(capture.text);
}

}  // namespace rhea::monitor
