// SPDX-License-Identifier: MIT
#include "block/qcow2/layout.h"

#include <algorithm>
#include <cstring>

namespace rhea::block::qcow2 {

namespace {

// Reads big-endian numbers one after the other; past the end they are zeros and ok() is false.
class Reader {
 public:
  explicit Reader(std::span<const u8> data) : data_(data) {}
  template <typename T>
  T number() {
    if (data_.size() - at_ < sizeof(T)) {
      ok_ = false;
      at_ = data_.size();
      return 0;
    }
    const T value = load_be<T>(data_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  std::span<const u8> bytes(usize count) {
    if (data_.size() - at_ < count) {
      ok_ = false;
      at_ = data_.size();
      return {};
    }
    const auto part = data_.subspan(at_, count);
    at_ += count;
    return part;
  }
  bool ok() const { return ok_; }
  usize at() const { return at_; }

 private:
  std::span<const u8> data_;
  usize at_ = 0;
  bool ok_ = true;
};

class Writer {
 public:
  template <typename T>
  void number(T value) {
    const usize at = data.size();
    data.resize(at + sizeof(T));
    if constexpr (sizeof(T) == 1) data[at] = value;
    else store_be<T>(data.data() + at, value);
  }
  void bytes(std::span<const u8> more) { data.insert(data.end(), more.begin(), more.end()); }
  void text(const std::string& text) { data.insert(data.end(), text.begin(), text.end()); }
  void pad(usize multiple) { data.resize(align_up(data.size(), multiple)); }
  std::vector<u8> data;
};

struct FeatureName {
  u8 kind, bit;
  const char* name;
};
constexpr FeatureName kFeatureNames[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"}};

constexpr usize kFeatureTableSize = 48 * std::size(kFeatureNames) + 8;

std::vector<u8> feature_table() {
  std::vector<u8> table;
  for (const FeatureName& feature : kFeatureNames) {
    u8 row[48] = {feature.kind, feature.bit};
    std::memcpy(row + 2, feature.name, std::strlen(feature.name));
    table.insert(table.end(), row, row + sizeof row);
  }
  return table;
}

Result<void> check_features(const Header& header) {
  if (header.incompatible & kExternalData) {
    return Error("the image keeps its data in an external file (data_file), which is not supported");
  }
  if (header.incompatible & kExtendedL2) {
    return Error(
        "the image has extended L2 entries (extended_l2=on), which are not supported; "
        "'qemu-img convert' without that option makes a copy that can be opened");
  }
  const u64 unknown = header.incompatible & ~(kDirty | kCorrupt | kCompressionType);
  if (unknown) return Error("Unsupported qcow2 feature(s): unknown incompatible feature bits {:#x}", unknown);
  const bool has_type = header.incompatible & kCompressionType;
  if (has_type != (header.compression != kZlib)) {
    return Error("the compression type {} contradicts the image's incompatible feature bits", header.compression);
  }
  if (header.compression > kZstd) return Error("unknown compression type {}", header.compression);
  return {};
}

Result<void> check_bounds(const Header& header) {
  const u64 cluster = header.cluster_size();
  if (header.crypt_method) {
    return Error("the image is encrypted (method {}), which is not supported", header.crypt_method);
  }
  if (header.refcount_order > 6) return Error("Reference count entry width too large; may not exceed 64 bits");
  if (header.header_length < kHeaderSizeV3 && header.version == 3) return Error("qcow2 header too short");
  if (header.header_length > cluster) return Error("qcow2 header exceeds cluster size");
  if (u64{header.l1_size} * 8 > kMaxL1Bytes) return Error("Active L1 table too large");
  if (header.l1_offset % cluster || header.l1_offset >= kMaxHostOffset || (header.l1_size && !header.l1_offset)) {
    return Error("Active L1 table offset invalid");
  }
  if (header.size > (u64{1} << 62) || l1_entries_for(header.size, header.cluster_bits) > header.l1_size) {
    return Error("L1 table is too small");
  }
  if (u64{header.refcount_table_clusters} * cluster > kMaxRefcountTableBytes)
    return Error("Image has too large a reference count table");
  if (!header.refcount_table_clusters) return Error("Image does not contain a reference count table");
  if (header.refcount_table_offset % cluster || !header.refcount_table_offset ||
      header.refcount_table_offset >= kMaxHostOffset) {
    return Error("Reference count table offset invalid");
  }
  if (header.snapshot_count > kMaxSnapshots) return Error("Snapshot table too large");
  if (header.snapshot_count && (header.snapshots_offset % cluster || header.snapshots_offset >= kMaxHostOffset)) {
    return Error("Snapshot table offset invalid");
  }
  if (header.backing_name_offset) {
    if (header.backing_name_size > 1023 || header.backing_name_offset > cluster ||
        header.backing_name_size > cluster - header.backing_name_offset) {
      return Error("Invalid backing file offset or name too long");
    }
  }
  return {};
}

}  // namespace

CompressedPlace compressed_place(u64 entry, u32 cluster_bits) {
  const u32 shift = 62 - (cluster_bits - 8);
  const u64 offset = bits(entry, 0, shift);
  const u64 sectors = bits(entry, shift, 62 - shift) + 1;
  return {offset, sectors * 512 - (offset & 511)};
}

u64 compressed_entry(u64 offset, u64 size, u32 cluster_bits) {
  const u32 shift = 62 - (cluster_bits - 8);
  const u64 sectors = ((offset + size - 1) >> 9) - (offset >> 9);
  return kCompressed | (sectors << shift) | offset;
}

u64 l1_entries_for(u64 size, u32 cluster_bits) {
  const u32 shift = cluster_bits + cluster_bits - 3;
  return (size >> shift) + ((size & ((u64{1} << shift) - 1)) ? 1 : 0);
}

Result<Header> parse_header(std::span<const u8> start) {
  Reader in(start);
  Header header;
  if (in.number<u32>() != kMagic) return Error("Image is not in qcow2 format");
  header.version = in.number<u32>();
  if (header.version < 2 || header.version > 3) return Error("Unsupported qcow2 version {}", header.version);
  header.backing_name_offset = in.number<u64>();
  header.backing_name_size = in.number<u32>();
  header.cluster_bits = in.number<u32>();
  header.size = in.number<u64>();
  header.crypt_method = in.number<u32>();
  header.l1_size = in.number<u32>();
  header.l1_offset = in.number<u64>();
  header.refcount_table_offset = in.number<u64>();
  header.refcount_table_clusters = in.number<u32>();
  header.snapshot_count = in.number<u32>();
  header.snapshots_offset = in.number<u64>();
  header.header_length = kHeaderSizeV2;
  if (header.cluster_bits < kMinClusterBits || header.cluster_bits > kMaxClusterBits) {
    return Error("Unsupported cluster size: 2^{}", header.cluster_bits);
  }
  if (header.version == 3) {
    header.incompatible = in.number<u64>();
    header.compatible = in.number<u64>();
    header.autoclear = in.number<u64>();
    header.refcount_order = in.number<u32>();
    header.header_length = in.number<u32>();
    if (header.header_length > kHeaderSizeV3) header.compression = in.number<u8>();
  }
  if (!in.ok()) return Error("the file ends within the qcow2 header");
  RHEA_TRY(check_features(header));
  RHEA_TRY(check_bounds(header));
  return header;
}

Result<std::vector<Extension>> parse_extensions(std::span<const u8> first_cluster, const Header& header) {
  std::vector<Extension> extensions;
  const usize end = header.backing_name_offset ? header.backing_name_offset : header.cluster_size();
  if (header.header_length > end) return Error("the backing file's name lies within the header");
  Reader in(first_cluster.first(std::min<usize>(end, first_cluster.size()))
                .subspan(std::min<usize>(header.header_length, end)));
  for (;;) {
    const u32 type = in.number<u32>();
    const u32 size = in.number<u32>();
    if (!in.ok() || type == kExtensionEnd) return extensions;
    const auto data = in.bytes(size);
    if (!in.ok()) return Error("Header extension too large");
    in.bytes(align_up(size, 8) - size);
    extensions.push_back({type, {data.begin(), data.end()}});
  }
}

Result<std::vector<u8>> build_header(Header header, const std::vector<Extension>& extensions,
                                     const std::string& backing_name) {
  Writer out;
  const auto fixed = [&] {
    out.data.clear();
    for (const u32 value : {kMagic, header.version}) out.number(value);
    out.number(header.backing_name_offset);
    out.number(header.backing_name_size);
    out.number(header.cluster_bits);
    out.number(header.size);
    out.number(header.crypt_method);
    out.number(header.l1_size);
    out.number(header.l1_offset);
    out.number(header.refcount_table_offset);
    out.number(header.refcount_table_clusters);
    out.number(header.snapshot_count);
    out.number(header.snapshots_offset);
    if (header.version < 3) return;
    for (const u64 value : {header.incompatible, header.compatible, header.autoclear}) out.number(value);
    out.number(header.refcount_order);
    out.number(header.header_length);
    out.number(header.compression);
    out.pad(8);
  };
  header.header_length = header.version == 3 ? 112 : kHeaderSizeV2;
  fixed();
  for (const Extension& extension : extensions) {
    if (extension.type == kExtensionFeatureNames) continue;
    out.number(extension.type);
    out.number(static_cast<u32>(extension.data.size()));
    out.bytes(extension.data);
    out.pad(8);
  }
  if (header.version == 3 && out.data.size() + kFeatureTableSize + backing_name.size() + 16 <= header.cluster_size()) {
    const auto names = feature_table();
    out.number(kExtensionFeatureNames);
    out.number(static_cast<u32>(names.size()));
    out.bytes(names);
    out.pad(8);
  }
  out.number(kExtensionEnd);
  out.number(u32{0});
  header.backing_name_offset = backing_name.empty() ? 0 : out.data.size();
  header.backing_name_size = static_cast<u32>(backing_name.size());
  const std::vector<u8> tail(out.data.begin() + header.header_length, out.data.end());
  fixed();
  out.bytes(tail);
  out.text(backing_name);
  if (out.data.size() > header.cluster_size()) {
    return Error("the header and the backing file's name do not fit into one cluster of {} bytes",
                 header.cluster_size());
  }
  out.data.resize(header.cluster_size());
  return std::move(out.data);
}

Result<std::vector<SnapshotEntry>> parse_snapshots(std::span<const u8> table, u32 count, const Header& header,
                                                   usize* used) {
  std::vector<SnapshotEntry> snapshots;
  Reader in(table);
  for (u32 i = 0; i < count; ++i) {
    in.bytes(align_up(in.at(), 8) - in.at());
    SnapshotEntry entry;
    entry.l1_offset = in.number<u64>();
    entry.l1_size = in.number<u32>();
    const u16 id_size = in.number<u16>(), name_size = in.number<u16>();
    Snapshot& snapshot = entry.snapshot;
    snapshot.date_seconds = in.number<u32>();
    snapshot.date_nanoseconds = in.number<u32>();
    snapshot.vm_clock_nanoseconds = in.number<u64>();
    snapshot.vm_state_size = in.number<u32>();
    const u32 extra_size = in.number<u32>();
    if (extra_size > kMaxSnapshotExtra) return Error("Too much extra metadata in snapshot table entry {}", i);
    const auto extra = in.bytes(extra_size);
    if (extra.size() >= 8) snapshot.vm_state_size = load_be<u64>(extra.data());
    snapshot.disk_size = extra.size() >= 16 ? load_be<u64>(extra.data() + 8) : header.size;
    if (extra.size() >= 24) {
      snapshot.icount = load_be<u64>(extra.data() + 16);
      entry.extra.assign(extra.begin() + 24, extra.end());
    }
    const auto id = in.bytes(id_size), name = in.bytes(name_size);
    snapshot.id.assign(id.begin(), id.end());
    snapshot.name.assign(name.begin(), name.end());
    if (!in.ok()) return Error("the snapshot table ends within entry {}", i);
    if (entry.l1_offset % header.cluster_size() || entry.l1_offset >= kMaxHostOffset ||
        u64{entry.l1_size} * 8 > kMaxL1Bytes) {
      return Error("Snapshot L1 table of '{}' is out of bounds", snapshot.name);
    }
    snapshots.push_back(std::move(entry));
  }
  if (used) *used = in.at();
  return snapshots;
}

std::vector<u8> build_snapshots(const std::vector<SnapshotEntry>& snapshots) {
  Writer out;
  for (const SnapshotEntry& entry : snapshots) {
    const Snapshot& snapshot = entry.snapshot;
    out.pad(8);
    out.number(entry.l1_offset);
    out.number(entry.l1_size);
    out.number(static_cast<u16>(snapshot.id.size()));
    out.number(static_cast<u16>(snapshot.name.size()));
    out.number(snapshot.date_seconds);
    out.number(snapshot.date_nanoseconds);
    out.number(snapshot.vm_clock_nanoseconds);
    out.number(snapshot.vm_state_size > 0xffffffff ? u32{0} : static_cast<u32>(snapshot.vm_state_size));
    out.number(static_cast<u32>(24 + entry.extra.size()));
    for (const u64 value : {snapshot.vm_state_size, snapshot.disk_size, snapshot.icount}) out.number(value);
    out.bytes(entry.extra);
    out.text(snapshot.id);
    out.text(snapshot.name);
  }
  out.pad(8);
  return std::move(out.data);
}

u64 get_refcount(const u8* block, u64 index, u32 order) {
  switch (order) {
    case 0: return (block[index / 8] >> (index % 8)) & 1;
    case 1: return (block[index / 4] >> (2 * (index % 4))) & 3;
    case 2: return (block[index / 2] >> (4 * (index % 2))) & 15;
    case 3: return block[index];
    case 4: return load_be<u16>(block + index * 2);
    case 5: return load_be<u32>(block + index * 4);
    default: return load_be<u64>(block + index * 8);
  }
}

void set_refcount(u8* block, u64 index, u32 order, u64 value) {
  const auto put = [&](u64 per_byte, u32 width) {
    const u32 shift = static_cast<u32>(width * (index % per_byte));
    u8& byte = block[index / per_byte];
    byte = with_bits<u32>(byte, shift, width, static_cast<u32>(value)) & 0xff;
  };
  switch (order) {
    case 0: put(8, 1); break;
    case 1: put(4, 2); break;
    case 2: put(2, 4); break;
    case 3: block[index] = static_cast<u8>(value); break;
    case 4: store_be<u16>(block + index * 2, static_cast<u16>(value)); break;
    case 5: store_be<u32>(block + index * 4, static_cast<u32>(value)); break;
    default: store_be<u64>(block + index * 8, value); break;
  }
}

}  // namespace rhea::block::qcow2
