// SPDX-License-Identifier: MIT
// How it works: bytes become packets (packet.h); a packet is looked up in a table by its first characters and answered
// at once, but for those that let the machine run: their answer is the stop reply, sent when the machine stands again.
// Packets that come while it runs stop it, and are answered behind the stop reply. Queries are in queries.cpp.
#include "gdbstub/stub.h"

#include <algorithm>

namespace rhea::gdbstub {

namespace {

constexpr usize kMaxWaiting = 16;
constexpr std::string_view kOk = "OK";
// Numbers of <errno.h> as gdb shows them; the meaning is ours.
constexpr std::string_view kBadAddress = "E14";
constexpr std::string_view kBadArgument = "E22";

}  // namespace

std::span<const Stub::Row> Stub::packets() {
  // Longer names first where one begins another.
  // clang-format off
  static constexpr Row kRows[] = {
      {"vCont?", &Stub::on_resume_forms}, {"vCont", &Stub::on_resume}, {"vKill", &Stub::on_kill_named},
      {"bs", &Stub::on_back_step},        {"bc", &Stub::on_back_continue},
      {"!", &Stub::on_extended},          {"?", &Stub::on_reason},     {"c", &Stub::on_continue},
      {"C", &Stub::on_continue},          {"D", &Stub::on_detach},     {"g", &Stub::on_read_all},
      {"G", &Stub::on_write_all},         {"H", &Stub::on_thread},     {"k", &Stub::on_kill},
      {"m", &Stub::on_read_memory},       {"M", &Stub::on_write_memory}, {"p", &Stub::on_read_one},
      {"P", &Stub::on_write_one},         {"q", &Stub::on_query},      {"Q", &Stub::on_query},
      {"R", &Stub::on_restart},           {"s", &Stub::on_step},       {"S", &Stub::on_step},
      {"T", &Stub::on_alive},             {"X", &Stub::on_write_binary}, {"z", &Stub::on_remove},
      {"Z", &Stub::on_insert},
  };
  // clang-format on
  return kRows;
}

Stub::Stub(chardev::Backend& backend, DebugTarget& target) : backend_(backend), target_(target) {
  backend_.set_frontend(this);
}

Stub::~Stub() {
  backend_.set_frontend(nullptr);
  detach();
}

void Stub::attach() {
  if (attached_) return;
  attached_ = true;
  running_ = false;
  acks_ = acks_after_ = true;
  described_ = physical_ = false;
  general_ = control_ = 0;
  stop_ = {.why = DebugStop::Why::interrupted};
  target_.attach(this);
}

// Breakpoints go; whether the machine runs is left as it is.
void Stub::detach() {
  if (!attached_) return;
  attached_ = running_ = false;
  waiting_.clear();
  target_.attach(nullptr);
}

void Stub::event(chardev::Event event) {
  if (event == chardev::Event::opened) {
    reader_ = {};
    attach();
  } else if (event == chardev::Event::closed) {
    detach();
  }
}

void Stub::receive(std::span<const u8> data) {
  for (const u8 byte : data) {
    switch (reader_.take(byte)) {
      case PacketReader::Event::none: break;
      case PacketReader::Event::ack: last_.clear(); break;
      case PacketReader::Event::nack:
        if (!last_.empty()) backend_.write({reinterpret_cast<const u8*>(last_.data()), last_.size()});
        break;
      case PacketReader::Event::bad:
        if (acks_) backend_.write(std::array<u8, 1>{'-'});
        break;
      case PacketReader::Event::interrupt:
        attach();
        target_.interrupt();
        break;
      case PacketReader::Event::packet: {
        if (acks_) backend_.write(std::array<u8, 1>{'+'});
        attach();
        if (!running_) {
          handle(reader_.payload());
        } else if (waiting_.size() < kMaxWaiting) {
          waiting_.push_back(reader_.payload());
          target_.interrupt();
        }
        break;
      }
    }
  }
}

void Stub::send(std::string_view payload) {
  last_ = make_packet(payload);
  backend_.write({reinterpret_cast<const u8*>(last_.data()), last_.size()});
  if (!acks_) last_.clear();
}

void Stub::handle(const std::string& payload) {
  for (const Row& row : packets()) {
    if (!payload.starts_with(row.name)) continue;
    // q and Q: the name is a part of what is looked up further on.
    const bool query = row.handler == &Stub::on_query;
    const std::string answer =
        (this->*row.handler)(Scanner(std::string_view(payload).substr(query ? 0 : row.name.size())));
    if (!attached_ && row.name != "D") return;
    if (!running_ && row.name != "k") send(answer);
    acks_ = acks_after_;
    return;
  }
  send("");  // not known: gdb does without it
}

// ---- stopping and going ---------------------------------------------------------------------------------------------
std::string Stub::stop_reply() const {
  constexpr unsigned kSigint = 2, kSigtrap = 5;
  const unsigned signal = stop_.why == DebugStop::Why::interrupted ? kSigint : kSigtrap;
  std::string text = fmt::format("T{:02x}thread:{:x};", signal, stop_.cpu + 1);
  if (stop_.why == DebugStop::Why::watchpoint) {
    const std::string_view kind = stop_.watch == WatchKind::write  ? "watch"
                                  : stop_.watch == WatchKind::read ? "rwatch"
                                                                   : "awatch";
    text += fmt::format("{}:{:x};", kind, stop_.address);
  }
  if (stop_.why == DebugStop::Why::history_start) text += "replaylog:begin;";
  if (stop_.why == DebugStop::Why::history_end) text += "replaylog:end;";
  return text;
}

void Stub::stopped(const DebugStop& stop) {
  stop_ = stop;
  if (stop_.why == DebugStop::Why::interrupted) stop_.cpu = control_;
  general_ = control_ = stop_.cpu;
  if (!running_) return;
  running_ = false;
  if (!in_command_) send(stop_reply());
  while (!running_ && attached_ && !waiting_.empty()) {
    const std::string next = std::move(waiting_.front());
    waiting_.pop_front();
    handle(next);
  }
}

void Stub::ended(int status) {
  if (!attached_) return;
  send(fmt::format("W{:02x}", static_cast<u8>(status)));
  attached_ = running_ = false;
}

std::vector<CpuAction> Stub::all(CpuAction one, CpuAction others) {
  std::vector<CpuAction> actions(target_.cpus(), others);
  if (control_ < actions.size()) actions[control_] = one;
  return actions;
}

// The answer is the stop reply.
std::string Stub::run(std::span<const CpuAction> actions) {
  running_ = true;
  if (target_.resume(actions)) return {};
  running_ = false;
  return fmt::format("W00");
}

std::string Stub::on_continue(Scanner arguments) {
  // "c ADDR", "C SIGNAL[;ADDR]": there are no signals to deliver, and gdb sets the pc itself.
  return run(all(CpuAction::go, CpuAction::go));
}

std::string Stub::on_step(Scanner) { return run(all(CpuAction::step, CpuAction::stay)); }

std::optional<unsigned> Stub::thread(Scanner& text, unsigned any) {
  if (text.skip("-1")) return any;
  const auto number = text.number();
  if (!number) return std::nullopt;
  if (*number == 0) return any;
  if (*number > target_.cpus()) return std::nullopt;
  return static_cast<unsigned>(*number - 1);
}

// vCont;ACTION[:THREAD]...: for each thread the leftmost action that names it.
std::string Stub::on_resume(Scanner arguments) {
  std::vector<std::optional<CpuAction>> wanted(target_.cpus());
  while (arguments.skip(';')) {
    Scanner one(arguments.rest().substr(0, arguments.rest().find(';')));
    arguments = Scanner(arguments.rest().substr(one.rest().size()));
    CpuAction action;
    if (one.skip('c')) action = CpuAction::go;
    else if (one.skip('s')) action = CpuAction::step;
    else if (one.skip('t')) action = CpuAction::stay;
    else if (one.skip('C') && one.number()) action = CpuAction::go;
    else if (one.skip('S') && one.number()) action = CpuAction::step;
    else return std::string(kBadArgument);
    constexpr unsigned kAll = ~0u;
    unsigned which = kAll;
    if (one.skip(':')) {
      const auto number = thread(one, kAll);
      if (!number) return std::string(kBadArgument);
      which = *number;
    }
    if (!one.done()) return std::string(kBadArgument);
    for (unsigned i = 0; i < wanted.size(); ++i)
      if ((which == kAll || which == i) && !wanted[i]) wanted[i] = action;
  }
  if (!arguments.done()) return std::string(kBadArgument);
  std::vector<CpuAction> actions;
  for (const auto& action : wanted) actions.push_back(action.value_or(CpuAction::stay));
  if (std::all_of(actions.begin(), actions.end(), [](CpuAction action) { return action == CpuAction::stay; }))
    return std::string(kBadArgument);
  for (unsigned i = 0; i < actions.size(); ++i)
    if (actions[i] == CpuAction::step) control_ = i;
  return run(actions);
}

std::string Stub::go_back(bool step) {
  running_ = true;
  const Result<void> went = target_.reverse(step, control_);
  if (went.ok()) return {};
  running_ = false;
  return std::string(kBadAddress);
}

// ---- threads and registers ------------------------------------------------------------------------------------------
std::string Stub::on_thread(Scanner arguments) {
  const bool general = arguments.skip('g');
  if (!general && !arguments.skip('c')) return std::string(kBadArgument);
  const auto number = thread(arguments, general ? general_ : control_);
  if (!number) return std::string(kBadArgument);
  (general ? general_ : control_) = *number;
  return std::string(kOk);
}

std::string Stub::on_alive(Scanner arguments) {
  return std::string(thread(arguments, 0) && arguments.done() ? kOk : kBadArgument);
}

// With a description: r0..r15 and what is numbered next. Without one gdb takes the old layout for granted, in which
// eight registers of 12 bytes and one of 4 stand before cpsr.
std::string Stub::on_read_all(Scanner) {
  constexpr unsigned kCore = 16, kCpsr = 25, kOldBytes = 8 * 12 + 4;
  std::string text;
  std::vector<u8> bytes;
  Cpu& cpu = target_.cpu(general_);
  for (unsigned number = 0; number < kCore; ++number) {
    if (!cpu.read_register(number, bytes)) return std::string(kBadAddress);
    text += to_hex(bytes);
  }
  if (!described_) text += std::string(kOldBytes * 2, '0');
  if (cpu.read_register(kCpsr, bytes)) text += to_hex(bytes);
  return text;
}

std::string Stub::on_write_all(Scanner arguments) {
  constexpr unsigned kCore = 16, kCpsr = 25, kOldBytes = 8 * 12 + 4;
  const auto bytes = from_hex(arguments.rest());
  const usize whole = (kCore + 1) * 4 + (described_ ? 0 : kOldBytes);
  if (!bytes || bytes->size() < kCore * 4) return std::string(kBadArgument);
  Cpu& cpu = target_.cpu(general_);
  const std::span<const u8> data(*bytes);
  if (data.size() >= whole) cpu.write_register(kCpsr, data.subspan(whole - 4, 4));
  for (unsigned number = 0; number < kCore; ++number) cpu.write_register(number, data.subspan(number * 4, 4));
  return std::string(kOk);
}

std::string Stub::on_read_one(Scanner arguments) {
  const auto number = arguments.number();
  std::vector<u8> bytes;
  if (!number || *number > UINT16_MAX) return std::string(kBadArgument);
  if (!target_.cpu(general_).read_register(static_cast<unsigned>(*number), bytes)) return std::string(kBadAddress);
  return to_hex(bytes);
}

std::string Stub::on_write_one(Scanner arguments) {
  const auto number = arguments.number();
  if (!number || *number > UINT16_MAX || !arguments.skip('=')) return std::string(kBadArgument);
  const auto bytes = from_hex(arguments.rest());
  if (!bytes) return std::string(kBadArgument);
  return std::string(target_.cpu(general_).write_register(static_cast<unsigned>(*number), *bytes) ? kOk : kBadAddress);
}

// ---- memory --------------------------------------------------------------------------------------------------------
std::string Stub::on_read_memory(Scanner arguments) {
  const auto address = arguments.number();
  if (!address || !arguments.skip(',')) return std::string(kBadArgument);
  const auto length = arguments.number();
  if (!length || *length > kMaxPacket / 2) return std::string(kBadArgument);
  std::vector<u8> data(static_cast<usize>(*length));
  const auto read = [&](std::span<u8> part) {
    return physical_ ? target_.read_physical(*address, part) : target_.cpu(general_).read_virtual(*address, part);
  };
  // What can be read of it: up to a page that is not there.
  constexpr u64 kPage = 4096;
  while (!data.empty() && !read(data)) {
    const u64 end = *address + data.size();
    const u64 shorter = (end - 1) / kPage * kPage;
    data.resize(shorter > *address ? static_cast<usize>(shorter - *address) : 0);
  }
  if (data.empty() && *length) return std::string(kBadAddress);
  return to_hex(data);
}

std::string Stub::write_memory(u64 address, std::span<const u8> data) {
  const bool done = data.empty() || (physical_ ? target_.write_physical(address, data)
                                               : target_.cpu(general_).write_virtual(address, data));
  return std::string(done ? kOk : kBadAddress);
}

std::string Stub::on_write_memory(Scanner arguments) {
  const auto address = arguments.number();
  if (!address || !arguments.skip(',')) return std::string(kBadArgument);
  const auto length = arguments.number();
  if (!length || !arguments.skip(':')) return std::string(kBadArgument);
  const auto data = from_hex(arguments.rest());
  if (!data || data->size() != *length) return std::string(kBadArgument);
  return write_memory(*address, *data);
}

std::string Stub::on_write_binary(Scanner arguments) {
  const auto address = arguments.number();
  if (!address || !arguments.skip(',')) return std::string(kBadArgument);
  const auto length = arguments.number();
  if (!length || !arguments.skip(':')) return std::string(kBadArgument);
  const std::string_view data = arguments.rest();
  if (data.size() != *length) return std::string(kBadArgument);
  return write_memory(*address, {reinterpret_cast<const u8*>(data.data()), data.size()});
}

// Z and z TYPE,ADDRESS,KIND: for a breakpoint KIND is the instruction's length, for a watchpoint the bytes watched.
std::string Stub::change_point(Scanner arguments, bool insert) {
  const auto type = arguments.number();
  if (!type || !arguments.skip(',')) return std::string(kBadArgument);
  const auto address = arguments.number();
  if (!address || !arguments.skip(',')) return std::string(kBadArgument);
  const auto kind = arguments.number();
  if (!kind) return std::string(kBadArgument);
  if (*type <= 1) {
    if (insert) target_.set_breakpoint(*address);
    else target_.clear_breakpoint(*address);
    return std::string(kOk);
  }
  constexpr WatchKind kKinds[] = {WatchKind::write, WatchKind::read, WatchKind::access};
  if (*type > 4) return {};
  const WatchKind watch = kKinds[*type - 2];
  if (insert) return std::string(target_.set_watchpoint(watch, *address, *kind).ok() ? kOk : kBadArgument);
  target_.clear_watchpoint(watch, *address, *kind);
  return std::string(kOk);
}

// ---- ends ----------------------------------------------------------------------------------------------------------
std::string Stub::on_detach(Scanner) {
  detach();
  target_.resume({});
  return std::string(kOk);
}

std::string Stub::on_kill(Scanner) {
  target_.kill();
  return {};
}

std::string Stub::on_kill_named(Scanner) {
  target_.kill();
  return std::string(kOk);
}

std::string Stub::on_extended(Scanner) { return std::string(kOk); }

// "R XX" has no answer; the machine stands at its start.
std::string Stub::on_restart(Scanner) {
  target_.restart();
  return std::string(kOk);
}

}  // namespace rhea::gdbstub
