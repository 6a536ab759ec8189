// SPDX-License-Identifier: MIT
// The qcow2 format, versions 2 and 3, as it is on disk. All numbers are big endian.
//
// Source: the QCOW2 image format specification ("qcow2.txt" of the QEMU documentation): section names are given
// below. A disk is cut into clusters; L1 -> L2 -> cluster is the way from a disk's byte to a file's; a cluster of
// the file is in use as often as its refcount says.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "block/image.h"
#include "util/bits.h"
#include "util/result.h"
#include "util/types.h"

namespace rhea::block::qcow2 {

constexpr u32 kMagic = 0x514649fb;  // "QFI\xfb"

// "Header"
struct Header {
  u32 version = 3;
  u64 backing_name_offset = 0;
  u32 backing_name_size = 0;
  u32 cluster_bits = 16;
  u64 size = 0;  // bytes of the disk
  u32 crypt_method = 0;
  u32 l1_size = 0;  // entries
  u64 l1_offset = 0;
  u64 refcount_table_offset = 0;
  u32 refcount_table_clusters = 0;
  u32 snapshot_count = 0;
  u64 snapshots_offset = 0;
  u64 incompatible = 0, compatible = 0, autoclear = 0;
  u32 refcount_order = 4;  // the width is 2^order bits
  u32 header_length = 112;
  u8 compression = 0;

  u64 cluster_size() const { return u64{1} << cluster_bits; }
};
constexpr u32 kHeaderSizeV2 = 72;
constexpr u32 kHeaderSizeV3 = 104;  // the least
constexpr u64 kMinClusterBits = 9, kMaxClusterBits = 21;

// Byte offsets of header fields that change in the life of an image.
constexpr u64 kBackingAt = 8, kSizeAt = 24, kL1At = 36, kRefcountTableAt = 48, kSnapshotsAt = 60, kIncompatibleAt = 72,
              kAutoclearAt = 88;

// "Incompatible features"
constexpr u64 kDirty = 1, kCorrupt = 2, kExternalData = 4, kCompressionType = 8, kExtendedL2 = 16;
constexpr u64 kLazyRefcounts = 1;  // "Compatible features"
constexpr u64 kBitmapsValid = 1;   // "Autoclear features"

constexpr u8 kZlib = 0, kZstd = 1;  // "Compression type"

// "Header extensions"
constexpr u32 kExtensionEnd = 0, kExtensionBackingFormat = 0xe2792aca, kExtensionFeatureNames = 0x6803f857,
              kExtensionBitmaps = 0x23852875, kExtensionDataFile = 0x44415441;
struct Extension {
  u32 type;
  std::vector<u8> data;
};

// "Cluster mapping"
constexpr u64 kCopied = u64{1} << 63;  // its refcount is 1: it may be written in place
constexpr u64 kCompressed = u64{1} << 62;
constexpr u64 kZeroFlag = 1;  // version 3: reads as zeros
constexpr u64 kOffsetMask = 0x00fffffffffffe00;
constexpr u64 kL1Reserved = 0x7f000000000001ff, kL2Reserved = 0x3f000000000001fe;
constexpr u64 kMaxHostOffset = u64{1} << 56;

// Limits that keep a hostile header from asking for gigabytes.
constexpr u64 kMaxL1Bytes = 32u << 20, kMaxRefcountTableBytes = 8u << 20, kMaxSnapshots = 65536,
              kMaxSnapshotTableBytes = 64u << 20, kMaxSnapshotExtra = 1024;

// "Snapshots"
struct SnapshotEntry {
  Snapshot snapshot;
  u64 l1_offset = 0;
  u32 l1_size = 0;
  std::vector<u8> extra;  // beyond the fields that are known
};

// Where the bytes of a compressed cluster are.
struct CompressedPlace {
  u64 offset;
  u64 size;  // bytes up to the end of the last 512-byte sector
};
CompressedPlace compressed_place(u64 entry, u32 cluster_bits);
u64 compressed_entry(u64 offset, u64 size, u32 cluster_bits);

// The header and its extensions from the start of a file. Errors: what is unknown or out of bounds.
Result<Header> parse_header(std::span<const u8> start);
// The extensions between the header and the backing file's name (or the cluster's end).
Result<std::vector<Extension>> parse_extensions(std::span<const u8> first_cluster, const Header& header);
// The header cluster. Errors: extensions and the backing name do not fit in one cluster.
Result<std::vector<u8>> build_header(Header header, const std::vector<Extension>& extensions,
                                     const std::string& backing_name);

Result<std::vector<SnapshotEntry>> parse_snapshots(std::span<const u8> table, u32 count, const Header& header,
                                                   usize* used);
std::vector<u8> build_snapshots(const std::vector<SnapshotEntry>& snapshots);

// L1 entries that a disk of `size` bytes needs.
u64 l1_entries_for(u64 size, u32 cluster_bits);

// Refcounts of 2^order bits in a block ("Host cluster management").
u64 get_refcount(const u8* block, u64 index, u32 order);
void set_refcount(u8* block, u64 index, u32 order, u64 value);
inline u64 max_refcount(u32 order) { return order == 6 ? ~u64{0} : (u64{1} << (1u << order)) - 1; }

// Compression: raw deflate or a zstd frame of one cluster. compress: empty if it does not become smaller.
std::vector<u8> compress_cluster(std::span<const u8> cluster, u8 method);
Result<void> decompress_cluster(std::span<const u8> data, std::span<u8> cluster, u8 method);

}  // namespace rhea::block::qcow2
