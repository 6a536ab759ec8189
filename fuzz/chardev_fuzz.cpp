// SPDX-License-Identifier: MIT
// What stands behind -serial and -chardev, and what peers of telnet and websocket connections send. The first
// byte chooses.
#include <string>

#include "chardev/codec.h"
#include "chardev/spec.h"

namespace {

// Never more data than came in, and the same data whether it comes in one piece or in many.
void run_codec(std::unique_ptr<rhea::chardev::Codec> whole, std::unique_ptr<rhea::chardev::Codec> pieces,
               std::span<const rhea::u8> data) {
  rhea::chardev::Codec::Decoded one, many;
  whole->decode(data, one);
  for (rhea::usize i = 0; i < data.size() && !many.close; ++i) pieces->decode(data.subspan(i, 1), many);
  if (one.data != many.data || one.reply != many.reply || one.close != many.close) __builtin_trap();
  if (one.data.size() > data.size()) __builtin_trap();
  std::vector<rhea::u8> out;
  whole->encode(data, out);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::span<const rhea::u8> bytes(data + 1, size - 1);
  using namespace rhea::chardev;
  switch (data[0] % 5) {
    case 0:
      if (const auto spec = parse_spec(text); spec.ok() && !check_spec(*spec).ok()) __builtin_trap();
      break;
    case 1:
      if (const auto spec = parse_chardev(text); spec.ok() && spec->id.empty()) __builtin_trap();
      break;
    case 2: run_codec(make_telnet_codec(true), make_telnet_codec(true), bytes); break;
    case 3: run_codec(make_telnet_codec(false), make_telnet_codec(false), bytes); break;
    default: run_codec(make_websocket_codec(), make_websocket_codec(), bytes); break;
  }
  return 0;
}
