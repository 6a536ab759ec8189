// SPDX-License-Identifier: MIT
// -qtest: a test program drives the machine line by line: memory, virtual time, interrupt lines. It is a
// device's test bench, made for a machine whose CPUs stand still (-accel qtest).
//
//   readb|readw|readl|readq ADDRESS            OK 0x0000000000000012
//   writeb|writew|writel|writeq ADDRESS VALUE  OK
//   read ADDRESS SIZE, b64read ADDRESS SIZE    OK 0x1234..., OK EjQ=
//   write ADDRESS SIZE 0xDATA, b64write ADDRESS SIZE DATA, memset ADDRESS SIZE VALUE
//   clock_step [NS], clock_set NS              OK NOW
//   irq_intercept_in PATH, irq_intercept_out PATH [NAME]; then: IRQ raise N, IRQ lower N
//   set_irq_in PATH NAME N LEVEL
//   endianness                                 OK little
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "machine/object_tree.h"
#include "monitor/monitor.h"

namespace rhea::monitor {

class Qtest final : public chardev::Frontend {
 public:
  static constexpr usize kMostLine = usize{4} << 20;
  static constexpr u64 kMostBytes = usize{1} << 20;  // of one read

  // `log` may be nullptr; it is not closed.
  Qtest(chardev::Backend& backend, Context& context, std::FILE* log);
  ~Qtest() override;
  Qtest(const Qtest&) = delete;

  usize can_receive() override { return 65536; }
  void receive(std::span<const u8> data) override;

 private:
  using Words = std::vector<std::string>;
  std::string answer(const std::string& line);
  Result<std::string> run(const Words& words);
  Result<std::string> read_value(const Words& words, unsigned size);
  Result<std::string> write_value(const Words& words, unsigned size);
  Result<std::string> read_block(const Words& words);
  Result<std::string> write_block(const Words& words);
  Result<std::string> set_memory(const Words& words);
  Result<std::string> step(const Words& words);
  Result<std::string> intercept(const Words& words);
  Result<std::string> set_line(const Words& words);
  Result<const machine::DeviceNode*> device_at(const std::string& path);
  void on_line(const machine::LineChange& change);
  void send(const std::string& text);
  void note(char direction, const std::string& text);

  chardev::Backend& backend_;
  Context& context_;
  std::FILE* log_;
  s64 started_;
  std::string line_;
  bool too_long_ = false;
  const machine::DeviceNode* intercepted_ = nullptr;
  bool intercept_inputs_ = false;
};

}  // namespace rhea::monitor
