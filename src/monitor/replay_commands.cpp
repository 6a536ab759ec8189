// SPDX-License-Identifier: MIT
// replay_break, replay_seek and what shows them.
#include "machine/replay.h"
#include "monitor/commands.h"

namespace rhea::monitor {

namespace {

// The machine's replay, or nullptr with a message.
machine::Replay* replay_of(Monitor& monitor) {
  machine::Replay* replay = monitor.context().machine.replay();
  if (!replay || replay->mode() != machine::ReplayMode::replay) {
    monitor.print("Error: setting the breakpoint is allowed only in play mode: -icount rr=replay,rrfile=FILE\n");
    return nullptr;
  }
  return replay;
}

void print_error(Monitor& monitor, const Result<void>& result) {
  if (!result.ok()) monitor.print(fmt::format("Error: {}\n", result.error().message()));
}

}  // namespace

void run_replay_break(Monitor& monitor, const Arguments& arguments) {
  if (machine::Replay* replay = replay_of(monitor))
    print_error(monitor, replay->set_break(static_cast<s64>(arguments.numbers[0])));
}

void run_replay_delete_break(Monitor& monitor, const Arguments&) {
  if (machine::Replay* replay = replay_of(monitor)) print_error(monitor, replay->clear_break());
}

// Comes back at once; the machine stands when it is there.
void run_replay_seek(Monitor& monitor, const Arguments& arguments) {
  machine::Replay* replay = replay_of(monitor);
  if (!replay) return;
  monitor.context().machine.stop();
  print_error(monitor, replay->seek(static_cast<s64>(arguments.numbers[0]), [](const DebugStop&) {}));
}

void info_replay(Monitor& monitor, const Arguments&) {
  if (machine::Replay* replay = monitor.context().machine.replay()) monitor.print(replay->info());
}

}  // namespace rhea::monitor
