// SPDX-License-Identifier: MIT
// What a hostile member of a LAN says: a message is none, or comes out again as it went in; a rule of a forward; a
// frame that may be a gateway's.
#include "net/lan/forwards.h"
#include "net/lan/guard.h"
#include "net/lan/message.h"

using namespace rhea;
using namespace rhea::net::lan;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  const std::span<const u8> input(data, size);
  if (const auto message = decode(input)) {
    const std::vector<u8> again = encode(*message);
    if (!std::equal(again.begin(), again.end(), input.begin(), input.end())) __builtin_trap();
  }
  const IpAddress own[] = {IpAddress::v4(0x0a000202)};
  is_forgery(input, own);
  const std::string text(input.begin(), input.end());
  if (const auto forward = split_forward(text); forward && !rhea::net::user::parse_forward(forward->rule).ok())
    __builtin_trap();
  if (const std::string label = label_of(text); !label.empty() && !is_label(label)) __builtin_trap();
  return 0;
}
