// SPDX-License-Identifier: MIT
// -blockdev: nodes by name, as JSON or as key=value with dots. A format node has a file (inline, or the name of
// another node) and may have a backing node. Each node that no other one uses becomes a drive of its name.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/drive_options.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

using Json = nlohmann::json;

const std::vector<std::string> kFormats = {"raw", "qcow2"};
const std::string kFilter = "throttle";
const std::vector<std::string> kProtocols = {"file", "host_device", "http",    "https",
                                             "ftp",  "ftps",        "null-co", "null-aio"};

Result<void> flatten(const Json& value, const std::string& name, FlatOptions& options) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items())
      RHEA_TRY(flatten(member, name.empty() ? key : name + "." + key, options));
  } else if (value.is_string()) {
    options[name] = value.get<std::string>();
  } else if (value.is_boolean()) {
    options[name] = value.get<bool>() ? "on" : "off";
  } else if (value.is_number_integer()) {
    options[name] = value.dump();
  } else if (value.is_null()) {
    options[name] = "";  // "backing": null
  } else {
    return Error("Parameter '{}' takes no {}", name, value.type_name());
  }
  return {};
}

std::string take(FlatOptions& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end()) return {};
  std::string value = std::move(found->second);
  options.erase(found);
  return value;
}

bool is_one_of(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

Result<FlatOptions> flatten_json(const std::string& text) {
  const Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) return Error("JSON parse error: '{}' is no whole object", text);
  if (!value.is_object()) return Error("JSON: an object is expected, not '{}'", text);
  FlatOptions options;
  RHEA_TRY(flatten(value, "", options));
  return options;
}

Result<FlatOptions> DrivePlan::node_options(const Typed& typed) const {
  if (typed.argument.starts_with('{')) return flatten_json(typed.argument);
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, "driver"));
  FlatOptions options;
  for (const config::Part& part : parsed.parts) options[part.key] = part.value;
  return options;
}

Result<void> DrivePlan::read_nodes() {
  for (const Typed& typed : settings_.blockdevs) {
    auto options = node_options(typed);
    if (!options.ok()) return at(typed, std::move(options.error()));
    Result<void> added = list_node(typed, options.take());
    if (!added.ok()) return at(typed, std::move(added.error()));
  }
  // Who is used by name belongs to its user.
  for (const NodeText& node : nodes_)
    for (const char* name : {"file", "backing"}) {
      const auto found = node.options.find(name);
      if (found == node.options.end() || found->second.empty()) continue;
      const auto used = std::find_if(nodes_.begin(), nodes_.end(), [&](const NodeText& other) {
        return other.options.at("node-name") == found->second;
      });
      if (used == nodes_.end()) return at(node.typed, Error("Cannot find device='' nor node-name='{}'", found->second));
      if (used->has_parent || &*used == &node)
        return at(node.typed, Error("node '{}' cannot be used twice", found->second));
      used->has_parent = true;
    }
  return {};
}

Result<void> DrivePlan::list_node(const Typed& typed, FlatOptions options) {
  if (!options.contains("driver")) return Error("Parameter 'driver' is missing");
  const std::string driver = options.at("driver");
  if (!is_one_of(kFormats, driver) && !is_one_of(kProtocols, driver) && driver != kFilter) {
    std::vector<std::string> words = kFormats;
    words.push_back(kFilter);
    words.insert(words.end(), kProtocols.begin(), kProtocols.end());
    return Error("Parameter 'driver' does not accept value '{}'{}: there are {}", driver, did_you_mean(driver, words),
                 join(words, ", "));
  }
  if (!options.contains("node-name")) return Error("'node-name' must be specified for the root node");
  RHEA_TRY(config::check_identifier("node-name", options.at("node-name")));
  for (const NodeText& node : nodes_)
    if (node.options.at("node-name") == options.at("node-name"))
      return Error("Duplicate nodes with node-name='{}'", options.at("node-name"));
  nodes_.push_back({typed, std::move(options)});
  return {};
}

// The options of a child, inline ("file.filename") or those of the node it names; takes them out of `options`.
Result<FlatOptions> DrivePlan::child(const std::string& name, FlatOptions& options) {
  FlatOptions found;
  const std::string reference = take(options, name);
  for (auto at = options.begin(); at != options.end();) {
    if (at->first.starts_with(name + ".")) {
      found[at->first.substr(name.size() + 1)] = at->second;
      at = options.erase(at);
    } else {
      ++at;
    }
  }
  if (reference.empty()) return found;
  if (!found.empty()) return Error("'{}' is the name of a node and has options of its own: give one of them", name);
  for (const NodeText& node : nodes_)
    if (node.options.at("node-name") == reference) return node.options;
  return Error("Cannot find device='' nor node-name='{}'", reference);
}

Result<void> DrivePlan::read_common(FlatOptions& options, block::ImageSpec& spec) {
  take(options, "driver");
  take(options, "node-name");
  const auto boolean = [&](const std::string& name, bool& to) -> Result<void> {
    if (!options.contains(name)) return {};
    to = RHEA_TRY(config::parse_boolean(name, take(options, name)));
    return {};
  };
  RHEA_TRY(boolean("read-only", spec.read_only));
  RHEA_TRY(boolean("force-share", spec.share));
  for (const char* name : {"cache.direct", "cache.no-flush"}) {
    bool value = false;
    const bool given = options.contains(name);
    RHEA_TRY(boolean(name, value));
    if (given) RHEA_TRY(set_cache_flags(name, value, spec));
  }
  if (options.contains("discard")) spec.discard = RHEA_TRY(block::parse_discard_mode(take(options, "discard")));
  if (options.contains("detect-zeroes"))
    spec.detect_zeroes = RHEA_TRY(block::parse_detect_zeroes(take(options, "detect-zeroes")));
  return {};
}

Result<void> DrivePlan::read_protocol(FlatOptions options, block::ImageSpec& spec) {
  const std::string driver = options.contains("driver") ? options.at("driver") : "file";
  if (!is_one_of(kProtocols, driver))
    return Error("driver '{}' of a file: there are {}", driver, join(kProtocols, ", "));
  if (driver.starts_with("null-")) return read_null(options, driver, spec);
  const bool local = driver == "file" || driver == "host_device";
  spec.filename = take(options, local ? "filename" : "url");
  if (spec.filename.empty()) return Error("Parameter '{}' is missing", local ? "filename" : "url");
  if (!local && !spec.filename.starts_with(driver + "://"))
    return Error("https and http, ftps and ftp are told by the URL: '{}' is none of {}", spec.filename, driver);
  if (!local) spec.read_only = true;
  if (options.contains("aio")) spec.aio = RHEA_TRY(block::parse_aio_mode(take(options, "aio")));
  if (options.contains("locking")) {
    const std::string word = take(options, "locking");
    if (word != "on" && word != "off" && word != "auto")
      return Error("Parameter 'locking' does not accept value '{}': on, off or auto", word);
    spec.locking = word == "on" ? block::Locking::on : word == "off" ? block::Locking::off : block::Locking::automatic;
  }
  RHEA_TRY(read_common(options, spec));
  if (!options.empty()) return unknown_block_option(driver, options.begin()->first);
  return {};
}

// null-co and null-aio: size in bytes, latency-ns of each request, read-zeroes.
Result<void> DrivePlan::read_null(FlatOptions& options, const std::string& driver, block::ImageSpec& spec) {
  block::NullDisk disk{.driver = driver};
  const auto number = [&](const char* name, u64 most) -> Result<std::optional<u64>> {
    if (!options.contains(name)) return std::optional<u64>();
    const std::string text = take(options, name);
    const auto value = parse_number(text);
    if (!value) return Error("Parameter '{}' expects integer", name);
    if (*value > most) return Error("Parameter '{}' is at most {}", name, most);
    return std::optional<u64>(*value);
  };
  constexpr u64 kMostLatency = 10 * kSecond;
  if (const auto size = RHEA_TRY(number("size", u64{1} << 62))) disk.size = *size;
  if (const auto latency = RHEA_TRY(number("latency-ns", kMostLatency))) disk.latency = static_cast<s64>(*latency);
  if (options.contains("read-zeroes"))
    disk.zeroes = RHEA_TRY(config::parse_boolean("read-zeroes", take(options, "read-zeroes")));
  spec.filename = driver + "://";
  spec.null_disk = std::move(disk);
  RHEA_TRY(read_common(options, spec));
  if (!options.empty()) return unknown_block_option(driver, options.begin()->first);
  return {};
}

Result<void> DrivePlan::read_format_node(const NodeText& node, block::ImageSpec& spec) {
  FlatOptions options = node.options;
  spec.format = options.at("driver");
  FlatOptions file = RHEA_TRY(child("file", options));
  if (file.empty()) return Error("A block device must be specified for \"file\"");
  RHEA_TRY(read_protocol(std::move(file), spec));
  const bool no_backing = options.contains("backing") && options.at("backing").empty();
  FlatOptions backing = RHEA_TRY(child("backing", options));
  if (no_backing) spec.with_backing = false;
  if (!backing.empty()) {
    block::ImageSpec below;
    const std::string driver = backing.contains("driver") ? backing.at("driver") : "";
    if (is_one_of(kFormats, driver)) RHEA_TRY(read_format_node({node.typed, backing}, below));
    else RHEA_TRY(read_protocol(std::move(backing), below));
    spec.backing_file = below.filename;
    spec.backing_format = below.format.empty() ? "raw" : below.format;
  }
  if (spec.format == "raw") {
    if (options.contains("offset")) spec.offset = RHEA_TRY(config::parse_size("offset", take(options, "offset")));
    if (options.contains("size")) spec.size = RHEA_TRY(config::parse_size("size", take(options, "size")));
  }
  RHEA_TRY(read_common(options, spec));
  if (!options.empty()) return unknown_block_option(spec.format, options.begin()->first);
  return {};
}

// driver=throttle: limits over a format or a file. They are kept by whoever uses the image.
Result<block::ImageSpec> DrivePlan::throttled_spec(const NodeText& node) {
  FlatOptions options = node.options;
  if (!options.contains("throttle-group")) return Error("Parameter 'throttle-group' is missing");
  const std::string name = take(options, "throttle-group");
  const auto group = machine_.drives().find_throttle_group(name);
  if (!group) return Error("Throttle group '{}' does not exist", name);
  FlatOptions file = RHEA_TRY(child("file", options));
  if (file.empty()) return Error("Parameter 'file' is missing");
  if (!file.contains("driver")) return Error("Parameter 'file.driver' is missing");
  if (file.at("driver") == kFilter) return Error("a throttle node over another one: a drive waits for one group here");
  block::ImageSpec spec = RHEA_TRY(node_spec({node.typed, std::move(file)}));
  block::ImageSpec own = spec;
  RHEA_TRY(read_common(options, own));
  spec.read_only |= own.read_only;
  if (!options.empty()) return unknown_block_option(kFilter, options.begin()->first);
  spec.throttle = group;
  return spec;
}

Result<block::ImageSpec> DrivePlan::node_spec(const NodeText& node) {
  block::ImageSpec spec;
  if (node.options.at("driver") == kFilter) return throttled_spec(node);
  if (is_one_of(kFormats, node.options.at("driver"))) {
    RHEA_TRY(read_format_node(node, spec));
  } else {
    RHEA_TRY(read_protocol(node.options, spec));
    spec.format = "raw";
  }
  return spec;
}

Result<void> DrivePlan::make_node(const NodeText& node) {
  block::ImageSpec spec = RHEA_TRY(node_spec(node));
  block::DriveConfig config;
  config.id = config.node_name = node.options.at("node-name");
  config.unit = machine_.drives().free_unit(block::DriveBus::none);
  return add(node.typed, std::move(config), std::move(spec));
}

DrivePlan::NodeText* DrivePlan::find_node(const std::string& name) {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(),
                                  [&](const NodeText& node) { return node.options.at("node-name") == name; });
  return found == nodes_.end() ? nullptr : &*found;
}

// Whether a node's drive has it to itself: no device and no other drive uses it.
bool DrivePlan::is_unused(const std::string& name) const {
  const block::Drive* drive = machine_.drives().find(name);
  return drive && drive->id() == name && !drive->client() && drive->has_medium();
}

// A node gives up its own drive to be a part of another one.
Result<void> DrivePlan::take_child(const std::string& name) {
  NodeText* node = find_node(name);
  if (!node) return Error("Cannot find device='' nor node-name='{}'", name);
  if (node->has_parent || !is_unused(name)) return Error("node '{}' is in use: it cannot be used twice", name);
  RHEA_TRY(machine_.drives().remove(name));
  node->has_parent = true;
  return {};
}

// Nodes that were used by name are by themselves again.
Result<void> DrivePlan::free_children(const NodeText& node) {
  for (const char* name : {"file", "backing"}) {
    const auto used = node.options.find(name);
    NodeText* child = used == node.options.end() ? nullptr : find_node(used->second);
    if (!child || !child->has_parent || machine_.drives().find(used->second)) continue;
    child->has_parent = false;
    RHEA_TRY(make_node(*child));
  }
  return {};
}

Result<void> DrivePlan::add_node(const std::string& text) {
  const Typed typed{.option = "blockdev-add", .argument = text};
  RHEA_TRY(list_node(typed, RHEA_TRY(node_options(typed))));
  const NodeText node = nodes_.back();
  const Result<void> made = [&]() -> Result<void> {
    for (const char* name : {"file", "backing"}) {
      const auto used = node.options.find(name);
      if (used == node.options.end() || used->second.empty()) continue;
      if (used->second == node.options.at("node-name"))
        return Error("node '{}' cannot be a part of itself", used->second);
      RHEA_TRY(take_child(used->second));
    }
    return make_node(node);
  }();
  tell_lines();
  if (made.ok()) return {};
  const std::string& name = node.options.at("node-name");
  if (machine_.drives().find(name)) RHEA_TRY(machine_.drives().remove(name));
  nodes_.pop_back();
  RHEA_TRY(free_children(node));
  return Error(made.error());
}

Result<void> DrivePlan::delete_node(const std::string& name) {
  NodeText* found = find_node(name);
  if (!found) return Error("Failed to find node with node-name='{}'", name);
  if (found->has_parent || !is_unused(name)) return Error("Node {} is in use", name);
  RHEA_TRY(machine_.drives().remove(name));
  const NodeText node = *found;
  nodes_.erase(nodes_.begin() + (found - nodes_.data()));
  return free_children(node);
}

Result<void> DrivePlan::add_drive(const std::string& text) {
  const Typed typed{.option = "drive_add", .argument = text};
  const auto parsed = RHEA_TRY(config::parse_options(text, ""));
  const std::string* bus = parsed.find("if");
  if (bus && *bus != "none") return Error("Can't hot-add drive to type '{}': drives are added with if=none", *bus);
  const Result<void> made = make_drive(typed);
  tell_lines();
  return made;
}

void DrivePlan::tell_lines() {
  for (const std::string& line : settings_.lines) machine_.log().write_text(line);
  settings_.lines.clear();
}

}  // namespace rhea::cli
