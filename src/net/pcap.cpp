// SPDX-License-Identifier: MIT
#include "net/pcap.h"

#include <cerrno>
#include <cstring>

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

}  // namespace

Result<PcapWriter> PcapWriter::create(const std::string& path, u32 snap_length) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (!file) return Error("cannot write the capture '{}': {}", path, std::strerror(errno));
  std::setvbuf(file, nullptr, _IOFBF, kBuffer);
  PcapWriter writer(file, snap_length);
  const FileHeader header{.snap_length = snap_length};
  if (std::fwrite(&header, sizeof header, 1, file) != 1 || !writer.flush())
    return Error("cannot write the capture '{}': {}", path, std::strerror(errno));
  return writer;
}

bool PcapWriter::give_up() {
  file_.reset();
  return false;
}

bool PcapWriter::write(s64 time, const Frame& frame) {
  if (!file_) return false;
  const usize size = frame.size();
  usize left = std::min<usize>(size, snap_length_);
  const RecordHeader header{static_cast<u32>(time / 1'000'000'000),
                            static_cast<u32>(time % 1'000'000'000 / 1000), static_cast<u32>(left),
                            static_cast<u32>(size)};
  if (std::fwrite(&header, sizeof header, 1, file_.get()) != 1) return give_up();
  for (const Piece& piece : frame.pieces) {
    const usize part = std::min(piece.size, left);
    if (part && std::fwrite(piece.data, part, 1, file_.get()) != 1) return give_up();
    left -= part;
  }
  return true;
}

bool PcapWriter::flush() {
  if (!file_) return false;
  return std::fflush(file_.get()) == 0 || give_up();
}

}  // namespace rhea::net
