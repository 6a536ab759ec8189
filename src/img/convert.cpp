// SPDX-License-Identifier: MIT
// convert: copies disks into a new image.
//
// The source's map says what need not be read; what is read is searched for zeros, which a new image has already.
#include <algorithm>

#include "block/open.h"
#include "img/tool.h"

namespace rhea::img {

namespace {

constexpr u64 kChunk = u64{2} << 20;

struct Conversion {
  block::Image* target = nullptr;
  bool zero_already = true;  // what is not written reads as zeros
  bool has_backing = false;  // what the source's top layer does not have is not written
  bool compress = false;
  u64 sparse = 4096;    // bytes of zeros that are worth a hole; 0: everything is written
  u64 cluster = 65536;  // of the target
};

Result<void> write_zeros(const Conversion& conversion, u64 at, u64 size) {
  if (conversion.sparse && conversion.zero_already && !conversion.has_backing) return {};
  if (conversion.sparse) return conversion.target->write_zeroes(at, size, true);
  std::vector<u8> zeros(std::min(size, kChunk));
  for (u64 done = 0; done < size; done += zeros.size()) {
    zeros.resize(std::min<u64>(zeros.size(), size - done));
    RHEA_TRY(conversion.target->write(at + done, zeros));
  }
  return {};
}

// Data, with its runs of zeros left out.
Result<void> write_data(const Conversion& conversion, u64 at, std::span<const u8> data) {
  if (!conversion.sparse) return conversion.target->write(at, data);
  const u64 step = conversion.sparse;
  for (u64 done = 0; done < data.size();) {
    const auto piece = [&](u64 from) {
      return data.subspan(from, std::min<u64>(step - (at + from) % step, data.size() - from));
    };
    const bool zero = is_zero(piece(done));
    u64 end = done + piece(done).size();
    while (end < data.size() && is_zero(piece(end)) == zero) end += piece(end).size();
    RHEA_TRY(zero ? write_zeros(conversion, at + done, end - done)
                  : conversion.target->write(at + done, data.subspan(done, end - done)));
    done = end;
  }
  return {};
}

Result<void> write_packed(const Conversion& conversion, u64 at, std::span<u8> data) {
  for (u64 done = 0; done < data.size(); done += conversion.cluster) {
    const auto part = data.subspan(done, std::min<u64>(conversion.cluster, data.size() - done));
    if (is_zero(part)) {
      RHEA_TRY(write_zeros(conversion, at + done, part.size()));
      continue;
    }
    const block::Segment all{part.data(), part.size()};
    RHEA_TRY(conversion.target->node().write_compressed(at + done, {&all, 1}));
  }
  return {};
}

Result<void> copy_image(const Conversion& conversion, block::Image& source, u64 base, Tool& tool) {
  std::vector<u8> buffer(kChunk);
  for (u64 offset = 0; offset < source.size();) {
    const block::Mapping mapping = RHEA_TRY(source.map(offset, source.size() - offset));
    u64 size = mapping.size;
    const bool below = conversion.has_backing && (!mapping.allocated || mapping.depth);
    if (below) {
      // the new backing image has it
    } else if (mapping.zero) {
      RHEA_TRY(write_zeros(conversion, base + offset, size));
    } else {
      // Up to a multiple of the chunk: compressed clusters are written whole.
      const u64 at = conversion.compress ? offset / conversion.cluster * conversion.cluster : offset;
      const u64 end = std::min(source.size(), (at / kChunk + 1) * kChunk);
      const u64 wanted = std::min(
          conversion.compress ? (offset + size + conversion.cluster - 1) / conversion.cluster * conversion.cluster
                              : offset + size,
          end);
      const std::span<u8> part(buffer.data(), wanted - at);
      RHEA_TRY(source.read(at, part));
      RHEA_TRY(conversion.compress ? write_packed(conversion, base + at, part)
                                   : write_data(conversion, base + at, part));
      size = wanted - offset;
    }
    offset += size;
    tool.progress(base + offset);
  }
  return {};
}

Result<std::vector<std::unique_ptr<block::Image>>> open_sources(const Arguments& arguments, const Tool& tool,
                                                                u64& total) {
  std::vector<std::unique_ptr<block::Image>> sources;
  for (usize i = 0; i + 1 < arguments.names.size(); ++i) {
    auto spec = RHEA_TRY(image_spec(arguments, arguments.names[i]));
    if (arguments.has("-l")) {
      std::string name = arguments.text("-l");
      for (const char* prefix : {"snapshot.id=", "snapshot.name="}) {
        if (name.starts_with(prefix)) name.erase(0, std::string(prefix).size());
      }
      spec.load_snapshot = name;
    }
    auto image = open_image(tool, spec);
    if (!image) return std::move(image.error());
    total += (*image)->size();
    sources.push_back(image.take());
  }
  if (arguments.has("-l") && sources.size() > 1) return Error("a snapshot (-l) is of one image, not of several");
  return sources;
}

Result<void> make_target(const Arguments& arguments, const Tool& tool, block::CreateSpec& create, u64 total) {
  create.size = (total + 511) / 512 * 512;
  if (!create.backing_file.empty()) {
    if (create.backing_format.empty())
      return Error("{}: Backing file specified without backing format", create.filename);
    block::ImageSpec below;
    below.filename = block::resolve_backing(create.filename, create.backing_file);
    below.format = create.backing_format;
    below.read_only = true;
    auto image = open_image(tool, below);
    if (!image) return std::move(image.error());
  }
  for (usize i = 0; i + 1 < arguments.names.size(); ++i) {
    if (sys::same_file(arguments.names[i], create.filename))
      return Error("'{}' is both source and target", create.filename);
  }
  auto made = block::create_image(create);
  if (!made) return std::move(made.error()).in(create.filename);
  return {};
}

Result<Conversion> plan(const Arguments& arguments, block::Image& target, const block::CreateSpec& create) {
  Conversion conversion;
  conversion.target = &target;
  const bool old_file = arguments.has("-n");
  conversion.zero_already = !old_file || arguments.has("--target-is-zero");
  conversion.has_backing = !create.backing_file.empty();
  conversion.compress = arguments.has("-c");
  const block::ImageInfo info = target.info();
  if (info.cluster_size) conversion.cluster = info.cluster_size;
  if (conversion.compress && info.format != "qcow2") return Error("Compression not supported for this file format");
  if (arguments.has("-S")) {
    conversion.sparse = RHEA_TRY(parse_image_size(arguments.text("-S")));
    if (conversion.sparse % 512)
      return Error(
          "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 2147483648. Select "
          "0 to disable sparse detection (fully allocates output).");
  }
  return conversion;
}

}  // namespace

int convert(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() < 2)
    return tool.fail(Error("Must specify image file name").with_hint("Try 'rhea-img --help' for more information"));
  for (const char* option : {"-C", "--salvage"}) {
    if (arguments.has(option)) return tool.fail(Error("convert's option {} is not supported", option));
  }
  block::CreateSpec create;
  create.filename = arguments.names.back();
  create.format = arguments.text("-O", "raw");
  if (!block::is_known_format(create.format)) return tool.fail(Error("Unknown file format '{}'", create.format));
  create.backing_file = arguments.text("-B");
  create.backing_format = arguments.text("-F");
  bool helped = false;
  if (auto read = read_create_options(arguments, create, helped); !read) return tool.fail(read.error());
  if (helped) return 0;
  u64 total = 0;
  auto sources = open_sources(arguments, tool, total);
  if (!sources) return tool.fail(sources.error());
  if (!arguments.has("-n")) {
    if (auto made = make_target(arguments, tool, create, total); !made) return tool.fail(made.error());
  }
  block::ImageSpec spec;
  spec.filename = create.filename;
  spec.format = create.format;
  spec.discard = block::DiscardMode::unmap;
  spec.with_backing = create.backing_file.empty();
  auto cache = block::parse_cache_mode(arguments.text("-t", "unsafe"));
  if (!cache) return tool.fail(Error("Invalid cache option: {}", arguments.text("-t")));
  spec.cache = *cache;
  auto target = open_image(tool, spec);
  if (!target) return tool.fail(target.error());
  if ((*target)->size() < total) return tool.fail(Error("Output file is smaller than input file"));
  auto conversion = plan(arguments, **target, create);
  if (!conversion) return tool.fail(conversion.error());
  tool.begin_progress(total);
  u64 base = 0;
  for (const auto& source : *sources) {
    if (auto copied = copy_image(*conversion, *source, base, tool); !copied) {
      return tool.fail(std::move(copied.error()).in("error while converting"));
    }
    base += source->size();
  }
  if (auto flushed = (*target)->flush(); !flushed) return tool.fail(flushed.error());
  tool.end_progress();
  return 0;
}

}  // namespace rhea::img
