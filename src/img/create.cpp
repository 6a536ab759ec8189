// SPDX-License-Identifier: MIT
// create and resize, and the options of new images.
#include <cctype>

#include "block/open.h"
#include "config/options.h"
#include "img/tool.h"
#include "util/text.h"

namespace rhea::img {

namespace {

using config::Kind;
constexpr config::Parameter kRawOptions[] = {
    {"preallocation", Kind::text, "Preallocation mode (off, falloc, full)"},
    {"size", Kind::text, "Virtual disk size"},
};
constexpr config::Parameter kQcow2Options[] = {
    {"backing_file", Kind::text, "File name of a base image"},
    {"backing_fmt", Kind::text, "Image format of the base image"},
    {"cluster_size", Kind::size, "qcow2 cluster size"},
    {"compat", Kind::text, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"compression_type", Kind::text, "Compression method (zlib, zstd)"},
    {"extended_l2", Kind::boolean, "Extended L2 tables (only off)"},
    {"lazy_refcounts", Kind::boolean, "Postpone refcount updates"},
    {"preallocation", Kind::text, "Preallocation mode (off, metadata, falloc, full)"},
    {"refcount_bits", Kind::number, "Width of a reference count entry in bits"},
    {"size", Kind::text, "Virtual disk size"},
};

Result<void> read_values(const config::Values& values, block::CreateSpec& spec) {
  spec.cluster_size = values.number("cluster_size", spec.cluster_size);
  spec.compat = values.text("compat", spec.compat);
  spec.compression_type = values.text("compression_type", spec.compression_type);
  spec.lazy_refcounts = values.boolean("lazy_refcounts", spec.lazy_refcounts);
  const u64 width = values.number("refcount_bits", spec.refcount_bits);
  spec.refcount_bits = width > 64 ? 65 : static_cast<unsigned>(width);
  spec.backing_file = values.text("backing_file", spec.backing_file);
  spec.backing_format = values.text("backing_fmt", spec.backing_format);
  if (values.boolean("extended_l2", false)) return Error("extended_l2=on is not supported");
  if (values.has("preallocation"))
    spec.preallocation = RHEA_TRY(block::parse_preallocation(values.text("preallocation")));
  if (values.has("size")) spec.size = RHEA_TRY(parse_image_size(values.text("size")));
  return {};
}

// The size of the backing image, and its format when that was not said.
Result<u64> look_at_backing(const Tool& tool, const block::CreateSpec& spec) {
  block::ImageSpec below;
  below.filename = block::resolve_backing(spec.filename, spec.backing_file);
  below.format = spec.backing_format;
  below.read_only = true;
  auto image = open_image(tool, below);
  if (!image) return std::move(image.error());
  if (spec.backing_format.empty()) {
    return Error("Backing file specified without backing format")
        .with_hint(fmt::format("Detected format of {}.", (*image)->info().format));
  }
  return (*image)->size();
}

}  // namespace

Result<void> read_create_options(const Arguments& arguments, block::CreateSpec& spec, bool& helped) {
  const std::span<const config::Parameter> table =
      spec.format == "raw" ? std::span<const config::Parameter>(kRawOptions) : kQcow2Options;
  for (const std::string& text : arguments.all("-o")) {
    const auto parsed = RHEA_TRY(config::parse_options(text, "", config::Style::strict));
    if (parsed.help) {
      std::printf("Supported options:\n%s", config::help_lines(table).c_str());
      helped = true;
      return {};
    }
    RHEA_TRY(read_values(RHEA_TRY(config::read_values(parsed, table)), spec));
  }
  return {};
}

std::string formatting_line(const block::CreateSpec& spec) {
  std::string line = fmt::format("Formatting '{}', fmt={}", spec.filename, spec.format);
  if (spec.format == "qcow2") {
    line += fmt::format(" cluster_size={} extended_l2=off", spec.cluster_size);
    if (spec.preallocation != block::Preallocation::off) {
      static constexpr const char* kModes[] = {"off", "metadata", "falloc", "full"};
      line += fmt::format(" preallocation={}", kModes[static_cast<usize>(spec.preallocation)]);
    }
    line += fmt::format(" compression_type={}", spec.compression_type);
  }
  line += fmt::format(" size={}", spec.size);
  if (!spec.backing_file.empty()) line += fmt::format(" backing_file={}", spec.backing_file);
  if (!spec.backing_format.empty()) line += fmt::format(" backing_fmt={}", spec.backing_format);
  if (spec.format == "qcow2") {
    line += fmt::format(" lazy_refcounts={} refcount_bits={}", spec.lazy_refcounts ? "on" : "off", spec.refcount_bits);
  }
  return line;
}

int create(const Arguments& arguments) {
  Tool tool(arguments);
  block::CreateSpec spec;
  spec.format = arguments.text("-f", "raw");
  if (!block::is_known_format(spec.format)) {
    return tool.fail(
        Error("{}: Unknown file format '{}'", arguments.names.empty() ? "" : arguments.names[0], spec.format));
  }
  bool helped = false;
  if (auto read = read_create_options(arguments, spec, helped); !read) return tool.fail(read.error());
  if (helped) return 0;
  if (arguments.names.empty() || arguments.names.size() > 2)
    return tool.fail(
        Error("Expecting image file name and a size").with_hint("Try 'rhea-img --help' for more information"));
  spec.filename = arguments.names[0];
  spec.backing_file = arguments.text("-b", spec.backing_file);
  spec.backing_format = arguments.text("-F", spec.backing_format);
  const auto fail = [&](Error error) { return tool.fail(std::move(error).in(spec.filename)); };
  if (arguments.names.size() == 2) {
    auto size = parse_image_size(arguments.names[1]);
    if (!size) return tool.fail(size.error());
    spec.size = *size;
  }
  if (!spec.backing_file.empty() && !spec.backing_format.empty() && !block::is_known_format(spec.backing_format)) {
    return fail(Error("Unknown backing file format '{}'", spec.backing_format));
  }
  const bool sized = arguments.names.size() == 2 || spec.size;
  if (!spec.backing_file.empty() && !arguments.has("-u")) {
    auto size = look_at_backing(tool, spec);
    if (!size) return fail(std::move(size.error()));
    if (!sized) spec.size = *size;
  } else if (!sized && spec.backing_file.empty()) {
    return fail(Error("Image creation needs a size parameter"));
  } else if (!sized) {
    return fail(Error("Image creation needs a size parameter: with -u the backing file is not looked at"));
  }
  spec.size = (spec.size + 511) / 512 * 512;
  tool.print(formatting_line(spec));
  std::fflush(stdout);
  if (auto made = block::create_image(spec); !made) return fail(std::move(made.error()));
  return 0;
}

int resize(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() != 2)
    return tool.fail(
        Error("Expecting image file name and size").with_hint("Try 'rhea-img --help' for more information"));
  std::string text = arguments.names[1];
  const char sign = text.empty() ? 0 : text[0];
  if (sign == '+' || sign == '-') text.erase(0, 1);
  auto amount = config::parse_size("size", text);
  if (!amount) return tool.fail(amount.error());
  block::Preallocation preallocation = block::Preallocation::off;
  if (arguments.has("--preallocation")) {
    auto mode = block::parse_preallocation(arguments.text("--preallocation"));
    if (!mode) return tool.fail(Error("Invalid preallocation mode '{}'", arguments.text("--preallocation")));
    preallocation = *mode;
  }
  auto spec = image_spec(arguments, arguments.names[0]);
  if (!spec) return tool.fail(spec.error());
  spec->read_only = false;
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  const u64 old = (*image)->size();
  u64 size = *amount;
  if (sign == '+') size = old + *amount;
  if (sign == '-') size = old > *amount ? old - *amount : 0;
  if (size == 0 || size < (sign == '+' ? old : 0)) return tool.fail(Error("New image size must be positive"));
  if (size < old && preallocation != block::Preallocation::off)
    return tool.fail(Error("Preallocation can only be used for growing images"));
  if (size < old && !arguments.has("--shrink")) {
    tool.warn(
        "rhea-img: warning: what lies beyond the new end of a shrunken image is lost; make sure that nothing important "
        "is there.");
    return tool.fail(Error("Use the --shrink option to perform a shrink operation."));
  }
  if (auto resized = (*image)->resize((size + 511) / 512 * 512, preallocation); !resized)
    return tool.fail(resized.error());
  tool.print("Image resized.");
  return 0;
}

}  // namespace rhea::img
