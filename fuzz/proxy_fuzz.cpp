// SPDX-License-Identifier: MIT
// What a client says to `rhea lan proxy`, in pieces as a network brings it: it is the same as in one piece, and what
// comes out is a host that can be shown, a port, and a request without what an intermediary has to keep.
#include <algorithm>
#include <optional>

#include "tool/lan_proxy.h"
#include "tool/proxy_dialogue.h"

using namespace rhea;
using rhea::tool::ProxyDialogue;

namespace {

void check(ProxyDialogue& dialogue) {
  if (dialogue.state() != ProxyDialogue::State::dial) return;
  const auto good = [](char c) { return c > 0x20 && c < 0x7f && (c < 'A' || c > 'Z'); };
  if (dialogue.host().empty() || !std::all_of(dialogue.host().begin(), dialogue.host().end(), good)) __builtin_trap();
  if (dialogue.port() == 0) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size < 1) return 0;
  const usize piece = 1 + data[0] % 64;
  const std::span<const u8> input(data + 1, size - 1);
  ProxyDialogue whole, parts;
  whole.take(input);
  usize taken = 0;
  while (taken < input.size() && parts.state() == ProxyDialogue::State::asking) {
    const usize some = std::min(piece, input.size() - taken);
    parts.take(input.subspan(taken, some));
    taken += some;
  }
  check(whole);
  check(parts);
  if (whole.state() != parts.state()) __builtin_trap();
  if (whole.state() == ProxyDialogue::State::dial) {
    if (whole.host() != parts.host() || whole.port() != parts.port()) __builtin_trap();
    const std::string rest(input.begin() + static_cast<std::ptrdiff_t>(taken), input.end());
    if (whole.for_guest() != parts.for_guest() + rest) __builtin_trap();
    whole.succeed();
    parts.fail(ProxyDialogue::Failure::refused, "why");
    if (parts.answers().empty()) __builtin_trap();
  }
  if (const std::string text(input.begin(), input.end()); const auto place = tool::read_proxy_place(text)) {
    if (place->path.empty() && place->host.empty()) __builtin_trap();
  }
  return 0;
}
