// SPDX-License-Identifier: MIT
// random_streams [--engine E] [--model M] [--tests N] [--seed S] [--rows TEXT] [--max N] [--long] --harness FILE
//   [--sweep N]   instead, floating point over edge values: every N-th test of all (1: all)
//   [--code T32|A32,HEX,...]   this code instead, with random inputs     [--log MASK]   log items of Rhea's engine
// Exit status: 0 no unexplained difference, 1 differences, 77 cannot be run here.
#include "random_streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "util/text.h"

namespace rhea::streams {

namespace {

constexpr usize kBatchTests = 8000;

struct Arguments {
  std::string peer = "qemu-arm-static", harness, engine = "interp", model = "cortex-a9";
  u64 tests = 24000, seed = 1;
  Scope scope;
  unsigned shown = 12;
  bool coverage = false;
  std::string code;
  unsigned sweep = 0;  // every so many tests of the sweep; 0: random streams
  u32 log_mask = 0;
};

bool is_abort(u32 marker) { return marker == 7 || marker == 11; }

std::string show_inputs(const Stream& stream) {
  std::string text = fmt::format("    fpscr {:#x}; d:", stream.test.fpscr);
  for (u64 d : stream.test.d) text += fmt::format(" {:x}", d);
  return text + "\n";
}

}  // namespace

std::string describe(const Stream& stream) {
  std::string text = stream.thumb ? "T32" : "A32";
  for (const Instruction& insn : stream.instructions) {
    text += fmt::format("  {:0{}x} {}", insn.bits, insn.size * 2, insn.row ? insn.row->name : "?");
  }
  return text;
}

std::string difference(const Stream& stream, const Outcome& peer, const Outcome& rhea) {
  std::string text;
  const auto compare = [&](std::string_view name, u64 a, u64 b, u64 before) {
    if (a != b) text += fmt::format("    {}: peer {:#x}, rhea {:#x} (was {:#x})\n", name, a, b, before);
  };
  for (usize i = 0; i < 15; i++) compare(fmt::format("r{}", i), peer.r[i], rhea.r[i], stream.test.r[i]);
  // At a fault condition flags that are written again before they are read may be old ones (decision 0001).
  const u32 cpsr_mask = rhea.marker ? 0x080f0000 : 0xf80f0000;
  compare("cpsr", peer.cpsr & cpsr_mask, rhea.cpsr & cpsr_mask, stream.test.cpsr);
  compare("fpscr", peer.fpscr, rhea.fpscr, stream.test.fpscr);
  if (!(is_abort(peer.marker) && is_abort(rhea.marker))) compare("signal", peer.marker, rhea.marker, 0);
  compare("fault pc", peer.fault_pc, rhea.fault_pc, stream.test.entry);
  for (usize i = 0; i < 32; i++) compare(fmt::format("d{}", i), peer.d[i], rhea.d[i], stream.test.d[i]);
  for (usize i = 0; i < 256; i++)
    compare(fmt::format("window[{}]", static_cast<int>(i) - 128), peer.window[i], rhea.window[i],
            stream.test.window[i]);
  return text;
}

namespace {

class Run {
 public:
  explicit Run(Arguments arguments) : a_(std::move(arguments)), generator_(a_.seed, a_.scope) {}

  int run() {
    const bool ran = a_.sweep ? sweep() : random();
    if (!ran) return 1;
    report();
    return differences_ ? 1 : 0;
  }

 private:
  bool random() {
    for (u64 done = 0; done < a_.tests;) {
      const usize count = std::min<u64>(kBatchTests, a_.tests - done);
      std::vector<Stream> streams;
      for (usize i = 0; i < count; i++)
        streams.push_back(a_.code.empty() ? generator_.next(i) : generator_.given(a_.code, i));
      if (!works(streams)) return false;
      done += count;
    }
    return true;
  }

  bool sweep() {
    Sweep sweep(a_.scope, a_.sweep);
    a_.tests = 0;
    for (bool more = true; more;) {
      std::vector<Stream> streams;
      Stream stream;
      while (streams.size() < kBatchTests && (more = sweep.next(stream, streams.size()))) streams.push_back(stream);
      if (!streams.empty() && !works(streams)) return false;
      a_.tests += streams.size();
    }
    fmt::print("sweep over {} operations\n", sweep.operations());
    return sweep.operations() != 0;
  }

  bool works(std::span<const Stream> streams) {
    const Result<void> result = batch(streams);
    if (!result) fmt::print("error: {}\n", result.error().message());
    return result.ok();
  }

  Result<void> batch(std::span<const Stream> streams) {
    const auto peer = RHEA_TRY(run_peer(a_.peer, a_.harness, a_.model, streams));
    const auto rhea = RHEA_TRY(run_rhea(a_.harness, a_.engine, a_.model, a_.log_mask, streams));
    std::vector<Stream> shorter;
    for (usize i = 0; i < streams.size(); i++) {
      if (peer[i].marker == 4) undefined_++;
      if (is_abort(peer[i].marker)) aborts_++;
      const std::string text = difference(streams[i], peer[i], rhea[i]);
      if (text.empty()) continue;
      if (const std::string reason = known_deviation(streams[i], peer[i], rhea[i]); !reason.empty()) {
        known_[reason]++;
        continue;
      }
      differences_++;
      if (differences_ <= a_.shown)
        whole_.push_back(fmt::format("{} at {:#x}\n{}", describe(streams[i]), streams[i].test.entry, text));
      if (shorter.size() >= 2000) continue;
      for (usize n = 1; n <= streams[i].instructions.size(); n++) {
        if (!streams[i].instructions[n - 1].may_end) continue;
        shorter.push_back(Generator::prefix(streams[i], n, shorter.size()));
      }
    }
    return shorter.empty() ? Result<void>{} : explain(shorter);
  }

  // Shows each difference at the shortest prefix that has it.
  Result<void> explain(std::span<const Stream> streams) {
    const auto peer = RHEA_TRY(run_peer(a_.peer, a_.harness, a_.model, streams));
    const auto rhea = RHEA_TRY(run_rhea(a_.harness, a_.engine, a_.model, a_.log_mask, streams));
    for (usize i = 0; i < streams.size(); i++) {
      const std::string text = difference(streams[i], peer[i], rhea[i]);
      if (text.empty() || !known_deviation(streams[i], peer[i], rhea[i]).empty()) continue;
      const Instruction& last = streams[i].instructions.back();
      if (culprits_[last.row]++ < 2 && shown_++ < a_.shown)
        fmt::print("difference: {}\n{}{}", describe(streams[i]), show_inputs(streams[i]), text);
      // The longer prefixes say no more.
      const usize full = streams[i].instructions.size();
      while (i + 1 < streams.size() && streams[i + 1].instructions.size() > full &&
             streams[i + 1].instructions[0].bits == streams[i].instructions[0].bits)
        i++;
    }
    return {};
  }

  void report() {
    for (const auto& [row, count] : culprits_) fmt::print("  {:5} x {} ({})\n", count, row->name, row->pattern);
    // Alone they do not differ: it depends on the address or on what ran before.
    if (culprits_.empty())
      for (const std::string& text : whole_) fmt::print("difference within the batch: {}", text);
    fmt::print("{} tests on {}: {} with an undefined instruction, {} with an abort; {} differ\n", a_.tests, a_.engine,
               undefined_, aborts_, differences_);
    const auto missed = generator_.missed();
    if (!a_.sweep)
      fmt::print("decode rows hit: {} of {} testable\n", generator_.testable_rows() - missed.size(),
                 generator_.testable_rows());
    for (const auto* row : missed)
      if (a_.coverage && !a_.sweep) fmt::print("  not hit: {} ({})\n", row->name, row->pattern);
    for (const auto& [reason, count] : known_) fmt::print("known deviation, {} x: {}\n", count, reason);
  }

  Arguments a_;
  Generator generator_;
  u64 differences_ = 0, undefined_ = 0, aborts_ = 0;
  unsigned shown_ = 0;
  std::map<const arm::Row*, unsigned> culprits_;
  std::vector<std::string> whole_;
  std::map<std::string, u64> known_;
};

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  for (const std::string& folder : split(path ? path : "", ':')) {
    const std::string candidate = folder + "/" + name;
    if (std::FILE* file = std::fopen(candidate.c_str(), "rb")) {
      std::fclose(file);
      return candidate;
    }
  }
  return {};
}

int main_function(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; i++) {
    const std::string_view option = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string(); };
    const auto number = [&] { return parse_number(value()).value_or(0); };
    if (option == "--engine") a.engine = value();
    else if (option == "--model") a.model = value();
    else if (option == "--harness") a.harness = value();
    else if (option == "--peer") a.peer = value();
    else if (option == "--tests") a.tests = number();
    else if (option == "--seed") a.seed = number();
    else if (option == "--rows") a.scope.rows = value();
    else if (option == "--max") a.scope.max_instructions = static_cast<unsigned>(number());
    else if (option == "--shown") a.shown = static_cast<unsigned>(number());
    else if (option == "--code") a.code = value();
    else if (option == "--log") a.log_mask = static_cast<u32>(number());
    else if (option == "--sweep") a.sweep = static_cast<unsigned>(number());
    else if (option == "--coverage") a.coverage = true;
    else if (option == "--long") a.tests = 1'000'000;
    else {
      fmt::print(stderr, "random_streams: unknown option {}\n", option);
      return 2;
    }
  }
  const std::string peer = find_program(a.peer);
  if (peer.empty() || a.harness.empty()) {
    fmt::print("skipped: {} is not installed\n", peer.empty() ? a.peer : "a cross compiler for arm-linux-gnueabihf");
    return 77;
  }
  a.peer = peer;
  a.scope.fused = a.model == "cortex-a7";
  return Run(std::move(a)).run();
}

}  // namespace

}  // namespace rhea::streams

int main(int argc, char** argv) { return rhea::streams::main_function(argc, argv); }
