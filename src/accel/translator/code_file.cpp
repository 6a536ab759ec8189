// SPDX-License-Identifier: MIT
#include "accel/translator/code_file.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "util/bits.h"

namespace rhea::accel {

namespace {

constexpr u64 kMagic = 0x32656463'61656872;  // "rheacde2"
constexpr usize kPiece = usize{1} << 20;

template <typename T>
std::span<const u8> bytes_of(const std::vector<T>& items) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const u8*>(items.data()), items.size() * sizeof(T)};
}

template <typename T>
std::span<u8> bytes_of(std::vector<T>& items) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<u8*>(items.data()), items.size() * sizeof(T)};
}

// The tables in their order in the file.
template <typename Tables, typename F>
void for_each_table(Tables& tables, F&& each) {
  each(tables.blocks);
  each(tables.exits);
  each(tables.part.origins);
  each(tables.part.runs);
  each(tables.part.faults);
  each(tables.part.fields);
  each(tables.part.text);
}

u64 tables_checksum(const CodeFile::Tables& tables) {
  u64 sum = 0;
  for_each_table(tables, [&](const auto& table) { sum = code_checksum(bytes_of(table), sum); });
  return sum;
}

u64 header_checksum(CodeFile::Header header) {
  header.checksum = 0;
  return code_checksum({reinterpret_cast<const u8*>(&header), sizeof header});
}

u64 tables_bytes(const CodeFile::Header& header) {
  return u64{header.blocks} * (sizeof(Translation) + sizeof(Origin)) + u64{header.exits} * sizeof(ExitRecord) +
         u64{header.runs} * sizeof(CodeRun) + u64{header.faults} * sizeof(x64::FaultSite) +
         header.fields * sizeof(CodeField) + header.text_bytes;
}

}  // namespace

u64 code_checksum(std::span<const u8> data, u64 seed) {
  constexpr u64 kFactor = 0x9e3779b97f4a7c15;
  u64 sum = (seed ^ data.size()) * kFactor;
  const auto mix = [&](u64 word) {
    sum = (sum ^ word) * kFactor;
    sum ^= sum >> 32;
  };
  usize at = 0;
  for (; at + 8 <= data.size(); at += 8) mix(load_raw<u64>(data.data() + at));
  u64 rest = 0;
  if (at < data.size()) std::memcpy(&rest, data.data() + at, data.size() - at);
  mix(rest);
  return sum;
}

Result<std::unique_ptr<CodeFile>> CodeFile::open(const std::string& path, u64 fingerprint) {
  auto file = std::make_unique<CodeFile>();
  file->file_ = RHEA_TRY(sys::InputFile::open(path));
  Header& header = file->header_;
  RHEA_TRY(file->file_->read_at(0, {reinterpret_cast<u8*>(&header), sizeof header}));
  if (header.magic != kMagic || header.checksum != header_checksum(header)) return Error("{}: it is damaged", path);
  if (header.fingerprint != fingerprint) return Error("{}: it is of another build", path);
  if (file->file_->size() != sizeof header + tables_bytes(header) + header.hot_bytes + header.cold_bytes)
    return Error("{}: it is cut short", path);
  return file;
}

Result<CodeFile::Tables> CodeFile::read_tables() const {
  Tables tables;
  tables.blocks.resize(header_.blocks);
  tables.exits.resize(header_.exits);
  tables.part.origins.resize(header_.blocks);
  tables.part.runs.resize(header_.runs);
  tables.part.faults.resize(header_.faults);
  tables.part.fields.resize(header_.fields);
  tables.part.text.resize(header_.text_bytes);
  u64 at = sizeof(Header);
  Result<void> read;
  for_each_table(tables, [&](auto& table) {
    if (read.ok()) read = file_->read_at(at, bytes_of(table));
    at += bytes_of(table).size();
  });
  if (!read.ok()) return read.error();
  if (tables_checksum(tables) != header_.tables_checksum) return Error("{}: it is damaged", file_->path());
  return tables;
}

Result<void> CodeFile::read_code(std::span<u8> hot, std::span<u8> cold, const std::atomic<bool>& abandoned) const {
  u64 at = sizeof(Header) + tables_bytes(header_);
  for (std::span<u8> part : {hot, cold}) {
    while (!part.empty() && !abandoned.load(std::memory_order_relaxed)) {
      const std::span<u8> piece = part.first(std::min(part.size(), kPiece));
      RHEA_TRY(file_->read_at(at, piece));
      at += piece.size();
      part = part.subspan(piece.size());
    }
  }
  return {};
}

Result<void> CodeFile::write(const std::string& path, u64 fingerprint, const Tables& tables, std::span<const u8> hot,
                             std::span<const u8> cold) {
  Header header;
  header.magic = kMagic;
  header.fingerprint = fingerprint;
  header.blocks = static_cast<u32>(tables.blocks.size());
  header.exits = static_cast<u32>(tables.exits.size());
  header.runs = static_cast<u32>(tables.part.runs.size());
  header.faults = static_cast<u32>(tables.part.faults.size());
  header.fields = tables.part.fields.size();
  header.text_bytes = tables.part.text.size();
  header.hot_bytes = hot.size();
  header.cold_bytes = cold.size();
  header.tables_checksum = tables_checksum(tables);
  header.checksum = header_checksum(header);
  std::vector<std::span<const u8>> pieces{{reinterpret_cast<const u8*>(&header), sizeof header}};
  for_each_table(tables, [&](const auto& table) { pieces.push_back(bytes_of(table)); });
  pieces.push_back(hot);
  pieces.push_back(cold);
  return sys::replace_file(path, pieces);
}

}  // namespace rhea::accel
