// SPDX-License-Identifier: MIT
// info, map, check and snapshot: what an image says of itself.
#include <algorithm>

#include "block/describe.h"
#include "block/open.h"
#include "img/tool.h"
#include "util/text.h"

namespace rhea::img {

namespace {

using config::Json;
constexpr const char* kHelp = "Try 'rhea-img --help' for more information";

// Snapshot names and file names are whatever bytes: invalid UTF-8 is replaced on the way into JSON.
std::string dump(const Json& json) { return json.dump(4, ' ', false, Json::error_handler_t::replace) + "\n"; }

Result<void> check_output(const Arguments& arguments) {
  const std::string output = arguments.text("--output", "human");
  if (output == "human" || output == "json") return {};
  return Error("--output must be used with human or json as argument.");
}

}  // namespace

int info(const Arguments& arguments) {
  Tool tool(arguments);
  if (auto checked = check_output(arguments); !checked) return tool.fail(checked.error());
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  Json list = Json::array();
  std::string text;
  std::string filename = arguments.names[0], format = arguments.text("-f");
  std::vector<std::string> seen;
  do {
    auto spec = image_spec(arguments, filename);
    if (!spec) return tool.fail(spec.error());
    spec->format = format;
    spec->with_backing = false;
    auto image = open_image(tool, *spec);
    if (!image) return tool.fail(image.error());
    block::ImageInfo info = (*image)->info();
    if (!info.backing_filename.empty())
      info.full_backing_filename = block::resolve_backing(filename, info.backing_filename);
    auto snapshots = (*image)->snapshots();
    if (!snapshots) return tool.fail(snapshots.error());
    list.push_back(block::image_json(info, *snapshots));
    text += (text.empty() ? "" : "\n") + block::image_text(info, *snapshots);
    seen.push_back(filename);
    filename = info.full_backing_filename;
    format = info.backing_format;
    if (std::find(seen.begin(), seen.end(), filename) != seen.end()) {
      return tool.fail(Error("Backing file '{}' creates an infinite loop.", filename));
    }
  } while (arguments.has("--backing-chain") && !filename.empty());
  tool.show(!tool.json() ? text : dump(arguments.has("--backing-chain") ? list : list[0]));
  return 0;
}

int map(const Arguments& arguments) {
  Tool tool(arguments);
  if (auto checked = check_output(arguments); !checked) return tool.fail(checked.error());
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  auto spec = image_spec(arguments, arguments.names[0]);
  if (!spec) return tool.fail(spec.error());
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  u64 offset = 0, end = (*image)->size();
  if (arguments.has("--start-offset") || arguments.has("-s")) {
    auto value = parse_image_size(arguments.text("--start-offset", arguments.text("-s")));
    if (!value) return tool.fail(Error("Invalid start offset specified"));
    offset = *value;
  }
  if (arguments.has("--max-length") || arguments.has("-l")) {
    auto value = parse_image_size(arguments.text("--max-length", arguments.text("-l")));
    if (!value) return tool.fail(Error("Invalid max length specified"));
    end = std::min(end, offset + *value);
  }
  tool.show(tool.json() ? "[" : "Offset          Length          Mapped to       File\n");
  std::optional<block::Mapping> last;
  bool first = true;
  const auto flush = [&] {
    if (!last) return;
    const block::Mapping& m = *last;
    if (tool.json()) {
      tool.show(fmt::format(
          "{}{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, \"data\": {}{}}}",
          first ? "" : ",\n", m.offset, m.size, m.depth, m.allocated, m.zero, m.data,
          m.host_offset ? fmt::format(", \"offset\": {}", *m.host_offset) : ""));
      first = false;
    } else if (m.data && !m.zero) {
      const auto hex = [](u64 value) { return value ? fmt::format("{:#x}", value) : std::string("0"); };
      tool.show(fmt::format("{:<15} {:<15} {:<15} {}\n", hex(m.offset), hex(m.size),
                            m.host_offset ? hex(*m.host_offset) : "", m.filename));
    }
  };
  while (offset < end) {
    auto mapping = (*image)->map(offset, end - offset);
    if (!mapping) return tool.fail(mapping.error());
    const block::Mapping& m = *mapping;
    const bool joins = last && last->data == m.data && last->zero == m.zero && last->allocated == m.allocated &&
                       last->depth == m.depth && last->host_offset.has_value() == m.host_offset.has_value() &&
                       (!m.host_offset || *last->host_offset + last->size == *m.host_offset);
    if (joins) {
      last->size += m.size;
    } else {
      flush();
      last = m;
    }
    offset += m.size;
  }
  flush();
  if (tool.json()) tool.show("]\n");
  return 0;
}

namespace {

Json check_json(const block::CheckResult& result, const block::ImageInfo& info) {
  Json out;
  out["image-end-offset"] = result.image_end_offset;
  if (result.total_clusters) out["total-clusters"] = result.total_clusters;
  out["check-errors"] = result.check_errors;
  const auto some = [&](const char* name, u64 value) {
    if (value) out[name] = value;
  };
  some("corruptions", result.corruptions);
  some("leaks", result.leaks);
  some("corruptions-fixed", result.corruptions_fixed);
  some("leaks-fixed", result.leaks_fixed);
  some("allocated-clusters", result.allocated_clusters);
  some("fragmented-clusters", result.fragmented_clusters);
  some("compressed-clusters", result.compressed_clusters);
  out["filename"] = info.filename;
  out["format"] = info.format;
  return out;
}

std::string check_text(const block::CheckResult& result) {
  std::string text;
  if (!result.corruptions && !result.leaks && !result.check_errors) text = "No errors were found on the image.\n";
  if (result.corruptions) {
    text += fmt::format(
        "\n{} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n",
        result.corruptions);
  }
  if (result.leaks)
    text += fmt::format(
        "\n{} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n",
        result.leaks);
  if (result.check_errors)
    text += fmt::format("\n{} internal errors have occurred during the check.\n", result.check_errors);
  if (result.total_clusters && result.allocated_clusters) {
    text += fmt::format(
        "{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n", result.allocated_clusters,
        result.total_clusters,
        100.0 * static_cast<double>(result.allocated_clusters) / static_cast<double>(result.total_clusters),
        100.0 * static_cast<double>(result.fragmented_clusters) / static_cast<double>(result.allocated_clusters),
        100.0 * static_cast<double>(result.compressed_clusters) / static_cast<double>(result.allocated_clusters));
  }
  if (result.image_end_offset) text += fmt::format("Image end offset: {}\n", result.image_end_offset);
  return text;
}

}  // namespace

// Exit codes: 0 sound, 1 not checked, 2 corrupt, 3 leaks, 63 the format has no check.
int check(const Arguments& arguments) {
  Tool tool(arguments);
  if (auto checked = check_output(arguments); !checked) return tool.fail(checked.error());
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  block::Repair repair = block::Repair::none;
  const std::string what = arguments.text("-r");
  if (what == "leaks") repair = block::Repair::leaks;
  else if (what == "all") repair = block::Repair::all;
  else if (arguments.has("-r"))
    return tool.fail(Error("--repair expects 'leaks' or 'all' as argument, not '{}'", what));
  auto spec = image_spec(arguments, arguments.names[0]);
  if (!spec) return tool.fail(spec.error());
  spec->read_only = repair == block::Repair::none;
  spec->with_backing = false;
  spec->repair_on_open = false;
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  if ((*image)->info().format != "qcow2") return tool.fail(Error("This image format does not support checks"), 63);
  const auto messages = [&](const block::CheckResult& result) {
    if (tool.json()) return;
    for (const std::string& message : result.messages) tool.warn(message);
  };
  auto result = (*image)->node().check(repair);
  if (!result) return tool.fail(std::move(result.error()).in("Check failed"));
  messages(*result);
  if (repair != block::Repair::none && (result->corruptions_fixed || result->leaks_fixed)) {
    tool.print(fmt::format(
        "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} corruptions\n\n"
        "Double checking the fixed image now...",
        result->leaks_fixed, result->corruptions_fixed));
    const block::CheckResult first = *result;
    result = (*image)->node().check(block::Repair::none);
    if (!result) return tool.fail(std::move(result.error()).in("Check failed"));
    messages(*result);
    result->leaks_fixed = first.leaks_fixed;
    result->corruptions_fixed = first.corruptions_fixed;
  }
  if (tool.json()) tool.show(dump(check_json(*result, (*image)->info())));
  else if (!arguments.has("-q")) tool.show(check_text(*result));
  if (result->corruptions || result->check_errors) return result->corruptions ? 2 : 1;
  return result->leaks ? 3 : 0;
}

int snapshot(const Arguments& arguments) {
  Tool tool(arguments);
  if (arguments.names.size() != 1) return tool.fail(Error("Expecting one image file name").with_hint(kHelp));
  char action = 0;
  std::string name;
  for (const auto& [option, value] : arguments.options) {
    if (option != "-l" && option != "-a" && option != "-c" && option != "-d") continue;
    if (action) return tool.fail(Error("Cannot mix '-l', '-a', '-c', '-d'"));
    action = option[1];
    name = value;
  }
  if (!action) action = 'l';
  auto spec = image_spec(arguments, arguments.names[0]);
  if (!spec) return tool.fail(spec.error());
  spec->read_only = action == 'l';
  auto image = open_image(tool, *spec);
  if (!image) return tool.fail(image.error());
  if (action == 'l') {
    auto snapshots = (*image)->snapshots();
    if (!snapshots) return tool.fail(snapshots.error());
    if (!snapshots->empty()) tool.show(block::snapshot_table(*snapshots));
    return 0;
  }
  Result<void> result;
  const char* verb = action == 'a' ? "apply" : action == 'c' ? "create" : "delete";
  if (action == 'a') result = (*image)->apply_snapshot(name);
  if (action == 'd') result = (*image)->delete_snapshot(name);
  if (action == 'c') {
    std::timespec now{};
    std::timespec_get(&now, TIME_UTC);
    auto made = (*image)->create_snapshot({.name = name,
                                           .date_seconds = static_cast<u32>(now.tv_sec),
                                           .date_nanoseconds = static_cast<u32>(now.tv_nsec),
                                           .icount = 0});
    if (!made) result = std::move(made.error());
  }
  if (result.ok()) result = (*image)->flush();
  if (!result) return tool.fail(std::move(result.error()).in(fmt::format("Could not {} snapshot '{}'", verb, name)));
  return 0;
}

}  // namespace rhea::img
