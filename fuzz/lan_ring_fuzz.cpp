// SPDX-License-Identifier: MIT
// Rings whose other side writes anything anywhere, at any time. The input is a list of steps: what is written where in
// the shared memory, and reads and writes between. The reader must only ever hand out frames that are whole.
#include "net/lan/ring.h"

#include <memory>

using namespace rhea;
using namespace rhea::net;
using namespace rhea::net::lan;

namespace {

struct World {
  World() : memory(kPairBytes), reader(memory.data(), 0), writer(memory.data(), 1), frame(kMaxGsoFrame) {}
  void read() {
    usize size = 0;
    Offload offload;
    if (reader.read(frame, size, offload) != RingResult::done) return;
    if (size < kEthernetHeader || size > kMaxGsoFrame) __builtin_trap();
    if (offload.needs_checksum && usize{offload.checksum_start} + offload.checksum_offset + 2 > size) __builtin_trap();
  }
  // Aligned as the controls are.
  struct alignas(64) Block {
    u8 bytes[64];
  };
  struct Memory {
    explicit Memory(usize size) : blocks(size / sizeof(Block)) {}
    u8* data() { return blocks[0].bytes; }
    std::vector<Block> blocks;
  } memory;
  RingReader reader;
  RingWriter writer;
  std::vector<u8> frame;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  const auto world = std::make_unique<World>();
  const u8* const end = data + size;
  while (end - data >= 4) {
    const u8 step = data[0];
    const usize place = data[1] | usize{data[2]} << 8;
    const u8 count = data[3];
    data += 4;
    switch (step % 6) {
      case 0: {  // into the controls
        const usize part = std::min<usize>({count, static_cast<usize>(end - data), 512 - place % 512});
        std::copy_n(data, part, world->memory.data() + place % 512);
        data += part;
        break;
      }
      case 1: {  // into the reader's ring
        const usize at = kRingPage + place * 16 % kRingBytes;
        const usize part = std::min<usize>({count, static_cast<usize>(end - data), kPairBytes - at});
        std::copy_n(data, part, world->memory.data() + at);
        data += part;
        break;
      }
      case 2: world->read(); break;
      case 3: {
        const Piece piece{world->frame.data(), place};
        world->writer.write(Frame{{&piece, 1}, {}});
        break;
      }
      case 4: world->writer.take_bell(); break;
      default: world->reader.take_bell(); break;
    }
  }
  return 0;
}
