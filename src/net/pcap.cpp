// SPDX-License-Identifier: MIT
#include "net/pcap.h"

#include <cerrno>
#include <cstring>
#include <vector>

namespace rhea::net {

namespace {

constexpr usize kBuffer = 256 * 1024;

struct FileHeader {
  u32 magic = 0xa1b2c3d4;
  u16 major = 2, minor = 4;
  s32 zone = 0;
  u32 accuracy = 0;
  u32 snap_length;
  u32 link_type = 1;  // LINKTYPE_ETHERNET
};
static_assert(sizeof(FileHeader) == 24);

struct RecordHeader {
  u32 seconds, microseconds, captured, length;
};

// pcapng: blocks of 32-bit words, their length before and behind.
struct SectionBlock {
  u32 type = 0x0a0d0d0a, length = 28, magic = 0x1a2b3c4d;
  u16 major = 1, minor = 0;
  u32 section_low = ~u32{0}, section_high = ~u32{0};  // its length is not known
  u32 length_again = 28;
};
static_assert(sizeof(SectionBlock) == 28);
struct PacketBlock {
  u32 type = 6, length, interface = 0, time_high, time_low, captured, original;
};
struct PacketEnd {
  u16 flags_code = 2, flags_size = 4;
  u32 flags;         // 1: towards the guest, 2: from it
  u32 end = 0;       // of the options
  u32 length_again;  // of the block
};
constexpr u16 kInterfaceName = 2, kTimeResolution = 9;

usize padded(usize size) { return (size + 3) & ~usize{3}; }

}  // namespace

Result<PcapWriter> PcapWriter::create(const std::string& path, u32 snap_length, Format format,
                                      const std::string& link) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (!file) return Error("cannot write the capture '{}': {}", path, std::strerror(errno));
  std::setvbuf(file, nullptr, _IOFBF, kBuffer);
  PcapWriter writer(file, snap_length, format);
  if (!writer.write_headers(link) || !writer.flush())
    return Error("cannot write the capture '{}': {}", path, std::strerror(errno));
  return writer;
}

bool PcapWriter::write_headers(const std::string& link) {
  if (format_ == Format::pcap) {
    const FileHeader header{.snap_length = snap_length_};
    return put(&header, sizeof header);
  }
  const SectionBlock section;
  if (!put(&section, sizeof section)) return false;
  // The one interface: Ethernet, its name, times in nanoseconds.
  std::vector<u8> block(16);
  const auto add = [&](u16 code, const void* data, usize size) {
    const usize at = block.size();
    block.resize(at + 4 + padded(size));
    const u16 length = static_cast<u16>(size);
    std::memcpy(&block[at], &code, 2);
    std::memcpy(&block[at + 2], &length, 2);
    std::memcpy(&block[at + 4], data, size);
  };
  const u8 nanoseconds = 9;
  add(kInterfaceName, link.data(), std::min<usize>(link.size(), 255));
  add(kTimeResolution, &nanoseconds, 1);
  block.resize(block.size() + 8);  // the end of the options, and the length again
  const u32 fields[] = {1, static_cast<u32>(block.size()), 1, snap_length_};
  std::memcpy(block.data(), fields, sizeof fields);
  std::memcpy(&block[block.size() - 4], &fields[1], 4);
  return put(block.data(), block.size());
}

bool PcapWriter::give_up() {
  file_.reset();
  return false;
}

bool PcapWriter::write(s64 time, const Frame& frame, bool from_guest) {
  if (!file_) return false;
  const usize size = frame.size();
  const usize kept = std::min<usize>(size, snap_length_);
  const bool next = format_ == Format::pcapng;
  const u32 length = static_cast<u32>(sizeof(PacketBlock) + padded(kept) + sizeof(PacketEnd));
  const RecordHeader header{static_cast<u32>(time / 1'000'000'000), static_cast<u32>(time % 1'000'000'000 / 1000),
                            static_cast<u32>(kept), static_cast<u32>(size)};
  const PacketBlock block{.length = length,
                          .time_high = static_cast<u32>(static_cast<u64>(time) >> 32),
                          .time_low = static_cast<u32>(time),
                          .captured = static_cast<u32>(kept),
                          .original = static_cast<u32>(size)};
  if (next ? !put(&block, sizeof block) : !put(&header, sizeof header)) return give_up();
  usize left = kept;
  for (const Piece& piece : frame.pieces) {
    const usize part = std::min(piece.size, left);
    if (!put(piece.data, part)) return give_up();
    left -= part;
  }
  if (!next) return true;
  constexpr u8 kZeros[4] = {};
  const PacketEnd end{.flags = from_guest ? 2u : 1u, .length_again = length};
  return (put(kZeros, padded(kept) - kept) && put(&end, sizeof end)) || give_up();
}

bool PcapWriter::flush() {
  if (!file_) return false;
  return std::fflush(file_.get()) == 0 || give_up();
}

}  // namespace rhea::net
