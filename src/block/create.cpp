// SPDX-License-Identifier: MIT
#include "block/create.h"

#include <algorithm>

#include "block/open.h"
#include "block/qcow2/qcow2_node.h"
#include "util/bits.h"
#include "util/text.h"

namespace rhea::block {

namespace {

Result<qcow2::Header> header_for(const CreateSpec& spec) {
  qcow2::Header header;
  if (spec.compat == "1.1" || spec.compat == "v3") header.version = 3;
  else if (spec.compat == "0.10" || spec.compat == "v2") header.version = 2;
  else return Error("Parameter 'compat' does not accept value '{}': it takes 1.1 (v3) and 0.10 (v2)", spec.compat);
  if (!is_power_of_two(spec.cluster_size) || spec.cluster_size < 512 || spec.cluster_size > (2u << 20)) {
    return Error("Cluster size must be a power of two between 512 and 2048k");
  }
  header.cluster_bits = static_cast<u32>(std::countr_zero(spec.cluster_size));
  if (!is_power_of_two(spec.refcount_bits) || spec.refcount_bits > 64) {
    return Error("Refcount width must be a power of two and may not exceed 64 bits");
  }
  header.refcount_order = static_cast<u32>(std::countr_zero(spec.refcount_bits));
  if (header.version < 3 && spec.refcount_bits != 16) {
    return Error(
        "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
  }
  if (spec.lazy_refcounts) {
    if (header.version < 3)
      return Error("Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    header.compatible |= qcow2::kLazyRefcounts;
  }
  if (spec.compression_type == "zstd") {
    if (header.version < 3)
      return Error("Non-zlib compression type is only supported with compatibility level 1.1 and above");
    header.compression = qcow2::kZstd;
    header.incompatible |= qcow2::kCompressionType;
  } else if (spec.compression_type != "zlib") {
    return Error("Parameter 'compression_type' does not accept value '{}': it takes zlib and zstd",
                 spec.compression_type);
  }
  // A cluster that has its place hides what the backing file has there.
  if (!spec.backing_file.empty() && spec.preallocation != Preallocation::off)
    return Error("Backing file and preallocation can only be used at the same time if extended_l2 is on");
  return header;
}

Result<void> create_raw(const CreateSpec& spec) {
  if (!spec.backing_file.empty()) return Error("Backing file not supported for file format 'raw'");
  if (spec.preallocation == Preallocation::metadata) return Error("Unsupported preallocation mode 'metadata'");
  auto file = RHEA_TRY(open_new_file(spec.filename));
  RHEA_TRY(file->resize(0, Preallocation::off));
  return file->resize(spec.size, spec.preallocation);
}

}  // namespace

// Cluster 0 is the header, 1 the refcount table, 2 its first block, 3 the L1 table.
Result<std::unique_ptr<Node>> create_qcow2(std::unique_ptr<Node> file, const CreateSpec& spec) {
  qcow2::Header header = RHEA_TRY(header_for(spec));
  const u64 cluster = header.cluster_size();
  header.refcount_table_offset = cluster;
  header.refcount_table_clusters = 1;
  header.l1_offset = 3 * cluster;
  header.l1_size = 1;
  std::vector<qcow2::Extension> extensions;
  if (!spec.backing_file.empty()) {
    if (spec.backing_file.size() > 1023) return Error("the backing file's name is longer than 1023 bytes");
    if (!spec.backing_format.empty()) {
      extensions.push_back({qcow2::kExtensionBackingFormat, {spec.backing_format.begin(), spec.backing_format.end()}});
    }
  }
  std::vector<u8> start = RHEA_TRY(qcow2::build_header(header, extensions, spec.backing_file));
  start.resize(4 * cluster);
  store_be<u64>(start.data() + cluster, 2 * cluster);
  for (u64 i = 0; i < 4; ++i) qcow2::set_refcount(start.data() + 2 * cluster, i, header.refcount_order, 1);
  const Segment all{start.data(), start.size()};
  RHEA_TRY(file->write(0, {&all, 1}));
  auto node = RHEA_TRY(qcow2::Qcow2Node::open(std::move(file), {}));
  RHEA_TRY(node->resize(align_up(spec.size, 512), spec.preallocation));
  return std::unique_ptr<Node>(std::move(node));
}

Result<void> create_image(const CreateSpec& spec) {
  if (spec.format == "raw") return create_raw(spec);
  if (spec.format != "qcow2") return unknown_format(spec.format);
  RHEA_TRY(header_for(spec));  // before the file is emptied
  auto file = RHEA_TRY(open_new_file(spec.filename));
  RHEA_TRY(file->resize(0, Preallocation::off));
  auto node = RHEA_TRY(create_qcow2(std::move(file), spec));
  return node->flush();
}

}  // namespace rhea::block
