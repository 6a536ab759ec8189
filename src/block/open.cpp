// SPDX-License-Identifier: MIT
// From a name and options to an open image: the protocol, the format, the chain, the temporary overlay.
#include "block/open.h"

#include <algorithm>

#include "block/create.h"
#include "block/probe.h"
#include "block/qcow2/qcow2_node.h"
#include "util/text.h"

namespace rhea::block {

namespace {

constexpr usize kMaxChain = 200;  // layers

// What QEMU has besides.
const std::vector<std::string>& foreign_formats() {
  static const std::vector<std::string> kFormats{"qcow", "qed",       "vmdk",  "vdi",   "vhdx", "vpc",
                                                 "luks", "parallels", "bochs", "cloop", "dmg",  "vvfat"};
  return kFormats;
}

// What open_chain has opened so far, from the top.
struct Chain {
  std::vector<std::string> files;
  std::vector<std::string> warnings;
};

Result<std::unique_ptr<Node>> open_chain(const ImageSpec& spec, Chain& chain);

std::string raw_warning(const std::string& filename) {
  return fmt::format(
      "WARNING: Image format was not specified for '{}' and probing guessed raw.\n"
      "         Guessing is dangerous for raw images: a guest could make its disk look like another format, so\n"
      "         writes of that kind to block 0 are refused. Specify the 'raw' format explicitly to allow them.",
      filename);
}

Result<void> open_backing(qcow2::Qcow2Node& node, const ImageSpec& spec, Chain& chain) {
  const std::string name = spec.backing_file.empty() ? node.backing_name() : spec.backing_file;
  if (name.empty() || !spec.with_backing) return {};
  ImageSpec below;
  below.filename = spec.backing_file.empty() ? resolve_backing(spec.filename, name) : name;
  below.format = spec.backing_file.empty() ? node.backing_format() : spec.backing_format;
  below.read_only = true;
  below.cache = spec.backing_cache.value_or(spec.cache);
  below.backing_cache = spec.backing_cache;
  below.aio = spec.aio;
  below.locking = spec.locking;
  below.share = spec.share;
  auto backing = open_chain(below, chain);
  if (!backing) return std::move(backing.error()).in("Could not open backing file");
  node.set_backing(backing.take(), below.filename);
  return {};
}

Result<std::unique_ptr<Node>> open_format(std::unique_ptr<Node> file, const ImageSpec& spec, Chain& chain) {
  std::string format = spec.format;
  if (format.empty()) {
    std::vector<u8> start(kProbeSize);
    const Segment all{start.data(), start.size()};
    RHEA_TRY(file->read(0, {&all, 1}));
    format = probe_format(start, spec.filename);
    if (!is_known_format(format)) {
      return Error("the image '{}' is of format '{}', which is not supported: raw and qcow2 are", spec.filename, format)
          .with_hint(fmt::format("'qemu-img convert -O qcow2 {} NEW' makes a copy that can be used.", spec.filename));
    }
  }
  if (format == "raw") {
    const bool guessed = spec.format.empty();
    if (guessed && !spec.read_only) chain.warnings.push_back(raw_warning(spec.filename));
    return open_raw_node(std::move(file), spec, guessed);
  }
  if (format != "qcow2") return unknown_format(format);
  if (spec.offset || spec.size)
    return Error("Block format 'qcow2' does not support the option '{}'", spec.offset ? "offset" : "size");
  auto node = RHEA_TRY(qcow2::Qcow2Node::open(std::move(file), {.read_only = spec.read_only,
                                                                .discard = spec.discard == DiscardMode::unmap,
                                                                .check_dirty = spec.repair_on_open,
                                                                .allow_corrupt = !spec.repair_on_open}));
  if (!spec.load_snapshot.empty()) RHEA_TRY(node->view_snapshot(spec.load_snapshot));
  RHEA_TRY(open_backing(*node, spec, chain));
  return std::unique_ptr<Node>(std::move(node));
}

Result<std::unique_ptr<Node>> open_chain(const ImageSpec& spec, Chain& chain) {
  for (const std::string& above : chain.files) {
    if (spec.filename.starts_with("null-")) break;
    if (above == spec.filename || sys::same_file(above, spec.filename)) {
      return Error("the backing files form a loop: '{}' is its own backing file", spec.filename);
    }
  }
  if (chain.files.size() >= kMaxChain) return Error("the image has more than {} backing files", kMaxChain);
  chain.files.push_back(spec.filename);
  auto file = RHEA_TRY(open_protocol(spec));
  return open_format(std::move(file), spec, chain);
}

// An empty layer over the image, in a file without a name.
Result<std::unique_ptr<Node>> make_overlay(std::unique_ptr<Node> base, const ImageSpec& spec,
                                           const std::string& format) {
  ImageSpec temporary;
  temporary.cache = CacheMode::unsafe;
  temporary.locking = Locking::off;
  auto file = make_file_node(RHEA_TRY(sys::DiskFile::open_temporary("")), "(temporary overlay)", false, temporary);
  CreateSpec create{.format = "qcow2", .size = base->size(), .backing_file = spec.filename, .backing_format = format};
  if (create.backing_file.size() > 1023) create.backing_file = "(base)";
  auto node = RHEA_TRY(create_qcow2(std::move(file), create));
  static_cast<qcow2::Qcow2Node&>(*node).set_backing(std::move(base), spec.filename);
  return node;
}

}  // namespace

bool is_known_format(const std::string& name) { return name == "raw" || name == "qcow2"; }
std::vector<std::string> known_formats() { return {"raw", "qcow2"}; }

Error unknown_format(const std::string& format) {
  const auto& foreign = foreign_formats();
  if (std::find(foreign.begin(), foreign.end(), format) != foreign.end()) {
    return Error("Unknown driver '{}': QEMU has it, but here there are raw and qcow2", format);
  }
  return Error("Unknown driver '{}'{}: there are raw and qcow2", format, did_you_mean(format, known_formats()));
}

std::string protocol_of(const std::string& filename) {
  const usize colon = filename.find(':');
  const usize slash = filename.find('/');
  if (colon == std::string::npos || colon == 0 || slash < colon) return {};
  return filename.substr(0, colon);
}

std::string resolve_backing(const std::string& image, const std::string& backing) {
  if (backing.starts_with("/") || !protocol_of(backing).empty()) return backing;
  const usize slash = image.rfind('/');
  return slash == std::string::npos ? backing : image.substr(0, slash + 1) + backing;
}

Result<std::unique_ptr<Node>> open_protocol(const ImageSpec& spec) {
  const std::string protocol = protocol_of(spec.filename);
  if (spec.aio == AioMode::native && spec.cache != CacheMode::none && spec.cache != CacheMode::directsync) {
    return Error("aio=native was specified, but it requires cache.direct=on, which was not specified.");
  }
  if (protocol.empty()) return open_file_node(spec.filename, spec);
  if (protocol == "file")
    return open_file_node(spec.filename.substr(spec.filename.starts_with("file://") ? 7 : 5), spec);
  if (protocol == "null-co" || protocol == "null-aio") {
    NullDisk disk = spec.null_disk.value_or(NullDisk{});
    disk.driver = protocol;
    return make_null_node(disk, spec.read_only);
  }
  for (const char* known : {"http", "https", "ftp", "ftps"}) {
    if (protocol == known) return open_url_node(spec.filename, spec);
  }
  for (const char* known : {"nbd", "nbd+unix", "ssh", "iscsi", "nfs", "rbd", "gluster", "fat", "json", "blkdebug"}) {
    if (protocol == known)
      return Error("Unknown protocol '{}': QEMU has it, but here there are file, http, https, ftp, ftps and null-co",
                   protocol);
  }
  return Error("Unknown protocol '{}'", protocol)
      .with_hint(fmt::format("A file of that name is written './{}'.", spec.filename));
}

Result<std::unique_ptr<Node>> open_new_file(const std::string& filename) {
  const std::string protocol = protocol_of(filename);
  if (!protocol.empty() && protocol != "file") return Error("images are created in files, not on '{}:'", protocol);
  const std::string path = protocol.empty() ? filename : filename.substr(filename.starts_with("file://") ? 7 : 5);
  if (!sys::file_exists(path)) {
    auto made = sys::DiskFile::open(path, {.write = true, .create = true});
    if (!made) return std::move(made.error()).in(fmt::format("Could not create '{}'", path));
  }
  return open_file_node(path, ImageSpec{.filename = path});
}

Result<std::unique_ptr<Image>> open_image(const ImageSpec& spec) {
  Chain chain;
  ImageSpec base = spec;
  if (spec.snapshot) base.read_only = true;
  auto node = RHEA_TRY(open_chain(base, chain));
  if (spec.snapshot) node = RHEA_TRY(make_overlay(std::move(node), spec, spec.format));
  auto image = std::make_unique<Image>(std::move(node), spec);
  for (std::string& warning : chain.warnings) image->add_warning(std::move(warning));
  return image;
}

}  // namespace rhea::block
