// SPDX-License-Identifier: MIT
#include "accel/accel.h"

#include "accel/arm_cpu.h"
#include "accel/engine_parts.h"

namespace rhea::accel {

namespace {

constexpr Switch kSwitches[] = {
    {"chain", &Options::chain, "blocks jump to each other directly"},
    {"ibtc", &Options::ibtc, "indirect jumps are looked up in generated code"},
    {"pin", &Options::pin, "guest registers stay in host registers across blocks"},
    {"lazy-flags", &Options::lazy_flags, "condition flags are computed only where they are read"},
    {"group", &Options::group, "one lookup for a run of accesses (LDM, STM)"},
    {"inline-fp", &Options::inline_fp, "floating point and vectors without calls"},
    {"tables", &Options::tables, "soft tables; off: every access is translated anew"},
    {"windows", &Options::windows, "address spaces that are run a lot are mapped: accesses without a lookup"},
    {"copies", &Options::copies, "what was translated at another address is copied from there"},
    {"check-copies", &Options::check_copies,
     "it is translated, and compared with what a copy would be (for tests; off unless turned on)"},
    {"eager-windows", &Options::eager_windows,
     "windows at once and for all, earned or not (for tests; off unless turned on)"},
    {"passes", &Options::passes, "passes over the IR"},
    {"tier2", &Options::tier2, "hot paths through several blocks are compiled once more, each as one region"},
    {"eager-tier2", &Options::eager_tier2, "all that are met, hot or not (for tests; off unless turned on)"},
    {"tier2-thread", &Options::tier2_thread, "a thread compiles them, and not the CPU that met the path"},
    {"lone", &Options::lone, "exclusive stores of a machine with one CPU do without the host's LOCK"},
    {"halt-poll", &Options::halt_poll, "a CPU that is woken soon after WFI looks for interrupts before it sleeps"},
    {"perfmap", &Options::perf_map, "names of generated code for perf in /tmp/perf-PID.map (off unless turned on)"},
};

Result<std::unique_ptr<BlockRunner>> make_runner(const Options& options, const RunnerContext& context) {
  if (options.engine == "interp" || options.engine == "qtest") return make_interpreter(context);
  if (options.engine == "tcg") return make_translator(context);
  return Error("engine '{}' is unknown: there are 'tcg' (the translator) and 'interp' (the interpreter)",
               options.engine);
}

}  // namespace

std::span<const Switch> switches() { return kSwitches; }

Result<std::unique_ptr<Engine>> create_engine(const Options& options, const CpuConfig& cpus,
                                              memory::AddressSpace& memory, EventLoop& loop, Log& log) {
  EngineParts parts;
  parts.cpus = cpus.count;
  parts.make_cpu = [&](unsigned index) { return make_arm_cpu(cpus, index, log); };
  parts.make_runner = [&](const RunnerContext& context) { return make_runner(options, context); };
  return create_engine(options, parts, memory, loop, log);
}

}  // namespace rhea::accel
