// SPDX-License-Identifier: MIT
// A server of gdb's remote protocol on a character device ("Debugging with GDB", appendix E). CPUs are threads: CPU n
// is thread n+1. All-stop mode. The first packet (or the connection) stops the machine.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "chardev/backend.h"
#include "core/debug_target.h"
#include "gdbstub/packet.h"

namespace rhea::gdbstub {

class Stub final : public chardev::Frontend, private DebugClient {
 public:
  Stub(chardev::Backend& backend, DebugTarget& target);
  ~Stub() override;
  Stub(const Stub&) = delete;

  usize can_receive() override { return kMaxPacket; }
  void receive(std::span<const u8> data) override;
  void event(chardev::Event event) override;

 private:
  // One row for each kind of packet; the handler gets what is behind the name and returns the answer.
  struct Row {
    std::string_view name;
    std::string (Stub::*handler)(Scanner arguments);
  };
  static std::span<const Row> packets();  // by first characters
  static std::span<const Row> queries();  // q, Q

  void stopped(const DebugStop& stop) override;
  void ended(int status) override;

  void attach();
  void detach();
  void send(std::string_view payload);
  void handle(const std::string& payload);
  std::string stop_reply() const;
  std::string run(std::span<const CpuAction> actions);
  std::string go_back(bool step);
  std::vector<CpuAction> all(CpuAction one, CpuAction others);
  // A CPU by its thread's number; nullopt: none. -1 and 0 give `any`.
  std::optional<unsigned> thread(Scanner& text, unsigned any);

  std::string on_query(Scanner arguments);
  std::string on_reason(Scanner) { return stop_reply(); }
  std::string on_continue(Scanner arguments);
  std::string on_step(Scanner arguments);
  std::string on_resume(Scanner arguments);
  std::string on_resume_forms(Scanner) { return "vCont;c;C;s;S;t"; }
  std::string on_back_step(Scanner) { return go_back(true); }
  std::string on_back_continue(Scanner) { return go_back(false); }
  std::string on_thread(Scanner arguments);
  std::string on_alive(Scanner arguments);
  std::string on_read_all(Scanner);
  std::string on_write_all(Scanner arguments);
  std::string on_read_one(Scanner arguments);
  std::string on_write_one(Scanner arguments);
  std::string on_read_memory(Scanner arguments);
  std::string on_write_memory(Scanner arguments);
  std::string on_write_binary(Scanner arguments);
  std::string on_insert(Scanner arguments) { return change_point(arguments, true); }
  std::string on_remove(Scanner arguments) { return change_point(arguments, false); }
  std::string change_point(Scanner arguments, bool insert);
  std::string on_detach(Scanner);
  std::string on_kill(Scanner);
  std::string on_kill_named(Scanner);
  std::string on_extended(Scanner);
  std::string on_restart(Scanner);
  std::string write_memory(u64 address, std::span<const u8> data);

  std::string on_supported(Scanner arguments);
  std::string on_no_ack(Scanner);
  std::string on_non_stop(Scanner arguments);
  std::string on_first_threads(Scanner);
  std::string on_more_threads(Scanner) { return "l"; }
  std::string on_current(Scanner);
  std::string on_extra_info(Scanner arguments);
  std::string on_attached(Scanner) { return "1"; }
  std::string on_features(Scanner arguments);
  std::string on_threads_document(Scanner arguments);
  std::string on_monitor(Scanner arguments);
  std::string on_step_bits(Scanner) { return "ENABLE=1,NOIRQ=2,NOTIMER=4"; }
  std::string on_step_mode(Scanner);
  std::string on_set_step_mode(Scanner arguments);
  std::string on_physical_mode(Scanner) { return physical_ ? "1" : "0"; }
  std::string on_set_physical_mode(Scanner arguments);
  std::string on_own_supported(Scanner) { return "sstepbits;sstep;PhyMemMode"; }
  static std::string part_of(const std::string& document, Scanner range);

  chardev::Backend& backend_;
  DebugTarget& target_;
  PacketReader reader_;
  bool attached_ = false;
  bool acks_ = true;
  bool acks_after_ = true;  // QStartNoAckMode counts from its answer on
  bool running_ = false;    // gdb waits for a stop reply
  bool described_ = false;  // gdb has read the target description
  bool physical_ = false;
  bool in_command_ = false;  // a monitor command runs: a stop that it makes is not told
  unsigned general_ = 0;     // the CPU of g, p, m ...
  unsigned control_ = 0;     // of c and s
  DebugStop stop_{.why = DebugStop::Why::interrupted};
  std::string last_;                 // for a nack
  std::deque<std::string> waiting_;  // packets that came while the machine ran
};

}  // namespace rhea::gdbstub
