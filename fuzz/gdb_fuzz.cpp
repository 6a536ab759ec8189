// SPDX-License-Identifier: MIT
// What comes over the debugger's line: raw bytes, and each line of the input as the payload of a good packet.
#include "gdbstub/fake_target.h"
#include "gdbstub/stub.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  using namespace rhea;
  constexpr usize kMost = 4096;
  if (size > kMost) return 0;
  gdbstub::FakeLine line;
  gdbstub::FakeTarget target;
  target.has_past = size % 2;
  gdbstub::Stub stub(line, target);
  stub.receive({data, size});
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (usize at = 0; at < text.size();) {
    const usize end = std::min(text.find('\n', at), text.size());
    const std::string packet = gdbstub::make_packet(text.substr(at, end - at));
    stub.receive({reinterpret_cast<const u8*>(packet.data()), packet.size()});
    if (target.is_running) target.stop({.why = DebugStop::Why::stepped, .cpu = static_cast<unsigned>(at % 3)});
    at = end + 1;
  }
  return 0;
}
