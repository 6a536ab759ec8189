// SPDX-License-Identifier: MIT
// commit, compare and rebase: an image and others.
#include <algorithm>
#include <cstring>

#include "block/open.h"
#include "img/pace.h"
#include "img/tool.h"

namespace rhea::img {

namespace {

constexpr u64 kChunk = u64{1} << 20;
constexpr const char* kHelp = "Try 'rhea-img --help' for more information";

// Reads a stretch; beyond the image's end there are zeros.
Result<void> read_padded(block::Image* image, u64 offset, std::span<u8> data) {
  const u64 inside = image && offset < image->size() ? std::min<u64>(data.size(), image->size() - offset) : 0;
  if (inside) RHEA_TRY(image->read(offset, data.first(inside)));
  std::fill(data.begin() + static_cast<std::ptrdiff_t>(inside), data.end(), u8{0});
  return {};
}

// How far both images read as zeros from `offset`: 0 when one of them has data there.
Result<u64> common_zeros(block::Image& a, block::Image& b, u64 offset, u64 end) {
  u64 size = end - offset;
  for (block::Image* image : {&a, &b}) {
    if (offset >= image->size()) continue;
    const block::Mapping mapping = RHEA_TRY(image->map(offset, image->size() - offset));
    if (!mapping.zero) return u64{0};
    const bool to_the_end = offset + mapping.size >= image->size();
    if (!to_the_end) size = std::min(size, mapping.size);
  }
  return size;
}

struct Difference {
  int status;
  std::string message;
};

Result<std::optional<Difference>> compare_status(block::Image& a, block::Image& b, u64 end) {
  for (u64 offset = 0; offset < end;) {
    const block::Mapping first = RHEA_TRY(a.map(offset, end - offset));
    const block::Mapping second = RHEA_TRY(b.map(offset, end - offset));
    if (first.allocated != second.allocated || first.data != second.data || first.zero != second.zero) {
      return std::optional<Difference>({1, fmt::format("Strict mode: Offset {} block status mismatch!", offset)});
    }
    offset += std::min(first.size, second.size);
  }
  return std::optional<Difference>();
}

Result<std::optional<Difference>> compare_content(block::Image& a, block::Image& b, Tool& tool) {
  const u64 end = std::max(a.size(), b.size());
  std::vector<u8> left(kChunk), right(kChunk);
  for (u64 offset = 0; offset < end;) {
    if (const u64 zeros = RHEA_TRY(common_zeros(a, b, offset, end))) {
      offset += zeros;
      continue;
    }
    const u64 size = std::min(kChunk, end - offset);
    RHEA_TRY(read_padded(&a, offset, {left.data(), size}));
    RHEA_TRY(read_padded(&b, offset, {right.data(), size}));
    if (std::memcmp(left.data(), right.data(), size) != 0) {
      const auto at = static_cast<u64>(
          std::mismatch(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(size), right.begin()).first -
          left.begin());
      return std::optional<Difference>({1, fmt::format("Content mismatch at offset {}!", (offset + at) / 512 * 512)});
    }
    offset += size;
    tool.progress(offset);
  }
  return std::optional<Difference>();
}

}  // namespace

// Exit codes: 0 identical, 1 different, 2 an image does not open, 3 no allocation status, 4 a read failed.
int compare(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() != 2) return tool.fail(Error("Expecting two image file names").with_hint(kHelp), 2);
  std::unique_ptr<block::Image> images[2];
  for (int i = 0; i < 2; ++i) {
    auto spec = image_spec(arguments, arguments.names[static_cast<usize>(i)], i ? "-F" : "-f");
    if (!spec) return tool.fail(spec.error(), 2);
    auto image = open_image(tool, *spec);
    if (!image) return tool.fail(image.error(), 2);
    images[i] = image.take();
  }
  block::Image &a = *images[0], &b = *images[1];
  if (a.size() != b.size()) {
    if (arguments.has("-s")) {
      tool.print("Strict mode: Image size mismatch!");
      return 1;
    }
    tool.print("Warning: Image size mismatch!");
  }
  tool.begin_progress(std::max(a.size(), b.size()));
  Result<std::optional<Difference>> found = std::optional<Difference>();
  if (arguments.has("-s")) found = compare_status(a, b, std::min(a.size(), b.size()));
  if (!found) return tool.fail(found.error(), 3);
  if (!*found) found = compare_content(a, b, tool);
  if (!found) return tool.fail(found.error(), 4);
  tool.end_progress();
  tool.print(*found ? (*found)->message : "Images are identical.");
  return *found ? (*found)->status : 0;
}

namespace {

// How many layers below the image the one of that name is; the image's own backing file without a name.
Result<unsigned> layers_above(block::Image& image, const std::string& base) {
  unsigned layers = 0;
  for (block::Node* node = &image.node(); node->backing(); node = node->backing()) {
    ++layers;
    block::ImageInfo info;
    node->describe(info);
    if (base.empty() || base == info.backing_filename || base == info.full_backing_filename ||
        base == node->backing()->filename())
      return layers;
  }
  if (base.empty()) return Error("Image does not have a backing file");
  return Error("Did not find '{}' in the backing chain of '{}'", base, image.info().filename);
}

}  // namespace

int commit(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  auto rate = parse_rate(arguments);
  if (!rate) return tool.fail(rate.error());
  auto spec = image_spec(arguments, arguments.names[0], "-f", "-t");
  if (!spec) return tool.fail(spec.error());
  spec->read_only = false;
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  auto layers = layers_above(**image, arguments.text("-b"));
  if (!layers) return tool.fail(layers.error());
  Pace pace(*rate);
  tool.begin_progress((*image)->size());
  auto committed = (*image)->commit({.empty = !arguments.has("-d") && !arguments.has("-b"),
                                     .layers = *layers,
                                     .progress = [&](u64 done) { tool.progress(done); },
                                     .pace = [&](u64 bytes) { pace.spend(bytes); }});
  if (!committed) return tool.fail(committed.error());
  tool.end_progress();
  tool.print("Image committed.");
  return 0;
}

namespace {

// Gives the image its own copy of all that the new backing image has different.
Result<void> keep_differences(block::Image& image, block::Image* new_backing, Tool& tool) {
  block::Node* old_backing = image.node().backing();
  if (!old_backing) return {};
  std::vector<u8> before(kChunk), after(kChunk);
  const u64 cluster = std::max<u32>(512, image.info().cluster_size);
  for (u64 offset = 0; offset < image.size();) {
    const block::Mapping mapping = RHEA_TRY(image.map(offset, image.size() - offset));
    u64 size = mapping.size;
    if (!mapping.allocated || mapping.depth) {
      size = std::min(size, kChunk);
      RHEA_TRY(image.read(offset, {before.data(), size}));
      RHEA_TRY(read_padded(new_backing, offset, {after.data(), size}));
      for (u64 at = 0; at < size;) {
        const u64 part = std::min(cluster - (offset + at) % cluster, size - at);
        if (std::memcmp(before.data() + at, after.data() + at, part) != 0)
          RHEA_TRY(image.write(offset + at, {before.data() + at, part}));
        at += part;
      }
    }
    offset += size;
    tool.progress(offset);
  }
  return {};
}

}  // namespace

int rebase(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  if (!arguments.has("-b")) return tool.fail(Error("Use backing file (-b) option").with_hint(kHelp));
  const bool unsafe = arguments.has("-u");
  const std::string base = arguments.text("-b"), format = arguments.text("-F");
  auto spec = image_spec(arguments, arguments.names[0], "-f", "-t");
  if (!spec) return tool.fail(spec.error());
  spec->read_only = false;
  spec->with_backing = !unsafe;
  const auto backing_cache = block::parse_cache_mode(arguments.text("-T", "writeback"));
  if (!backing_cache) return tool.fail(Error("Invalid source cache option: {}", arguments.text("-T")));
  spec->backing_cache = *backing_cache;
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  const auto refuse = [&](const std::string& why) {
    return tool.fail(Error("Could not change the backing file to '{}': {}", base, why));
  };
  if (!format.empty() && !block::is_known_format(format)) return tool.fail(Error("Invalid format name: '{}'", format));
  if (!base.empty() && format.empty()) return refuse("backing format must be specified");
  if (!unsafe) {
    std::unique_ptr<block::Image> backing;
    if (!base.empty()) {
      block::ImageSpec below;
      below.filename = block::resolve_backing(arguments.names[0], base);
      below.format = format;
      below.read_only = true;
      below.share = arguments.has("-U");
      below.cache = *backing_cache;
      auto opened = open_image(tool, below);
      if (!opened) return tool.fail(std::move(opened.error()).in("Could not open new backing file"));
      backing = opened.take();
    }
    tool.begin_progress((*image)->size());
    if (auto kept = keep_differences(**image, backing.get(), tool); !kept) return tool.fail(kept.error());
    if (auto flushed = (*image)->flush(); !flushed) return tool.fail(flushed.error());
    tool.end_progress();
  }
  auto changed = (*image)->node().change_backing(base, base.empty() ? "" : format);
  if (!changed) return refuse(changed.error().message());
  return 0;
}

}  // namespace rhea::img
