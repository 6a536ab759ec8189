// SPDX-License-Identifier: MIT
#include "net/filters/make_filter.h"

#include <algorithm>

#include "net/filters/dump.h"
#include "net/filters/mirror.h"
#include "net/filters/rewriter.h"
#include "net/filters/shape.h"
#include "util/text.h"

namespace rhea::net {

namespace {

using Made = Result<std::unique_ptr<Filter>>;

// The options of one filter, read one by one; what is left over is unknown.
class Reader {
 public:
  Reader(const FilterConfig& config, const FilterPlace& place) : config_(config), place_(place) {}

  const std::string* find(const std::string& name) {
    names_.push_back(name);
    const std::string* found = nullptr;
    for (const auto& [key, value] : config_.options)
      if (key == name) found = &value;
    return found;
  }
  Result<std::string> needed(const std::string& name) {
    const std::string* found = find(name);
    if (!found || found->empty()) return Error("Parameter '{}' is missing", name);
    return *found;
  }
  Result<bool> flag(const std::string& name) {
    const std::string* found = find(name);
    if (!found || *found == "off") return false;
    if (*found == "on") return true;
    return Error("Parameter '{}' expects 'on' or 'off'", name);
  }
  Result<void> finish() const {
    for (const auto& [key, value] : config_.options)
      if (std::find(names_.begin(), names_.end(), key) == names_.end())
        return Error("Invalid parameter '{}'{}", key, did_you_mean(key, names_));
    return {};
  }
  const FilterPlace& place() const { return place_; }

 private:
  const FilterConfig& config_;
  FilterPlace place_;
  std::vector<std::string> names_ = {"netdev", "queue", "status", "position", "insert"};
};

Made make_dump(const FilterSurroundings& around, Reader& reader) {
  DumpConfig config{.place = reader.place(), .file = {}};
  config.file = RHEA_TRY(reader.needed("file"));
  if (const std::string* text = reader.find("maxlen")) {
    const auto number = parse_number(*text);
    if (!number || *number == 0 || *number > 0xffffffff)
      return Error("Property 'filter-dump.maxlen' doesn't take value '{}'", *text);
    config.maxlen = static_cast<u32>(*number);
  }
  if (const std::string* text = reader.find("format")) {
    if (*text != "pcap" && *text != "pcapng")
      return Error("Property 'filter-dump.format' is 'pcap' or 'pcapng', not '{}'", *text);
    config.format = *text == "pcapng" ? PcapWriter::Format::pcapng : PcapWriter::Format::pcap;
  }
  RHEA_TRY(reader.finish());
  return std::unique_ptr<Filter>(RHEA_TRY(FilterDump::create(config, around.loop, around.wall_clock)));
}

Made make_mirror(const FilterSurroundings& around, Reader& reader) {
  MirrorFilter::Config config{.place = reader.place(), .outdev = {}};
  config.outdev = RHEA_TRY(reader.needed("outdev"));
  config.with_header = RHEA_TRY(reader.flag("vnet_hdr_support"));
  RHEA_TRY(reader.finish());
  if (!around.open_line) return Error("Device '{}' not found", config.outdev);
  return MirrorFilter::create(config, around.open_line);
}

Made make_redirector(const FilterSurroundings& around, Reader& reader) {
  RedirectorFilter::Config config{.place = reader.place(), .indev = {}, .outdev = {}};
  if (const std::string* text = reader.find("indev")) config.indev = *text;
  if (const std::string* text = reader.find("outdev")) config.outdev = *text;
  config.with_header = RHEA_TRY(reader.flag("vnet_hdr_support"));
  RHEA_TRY(reader.finish());
  if (config.indev.empty() && config.outdev.empty())
    return Error("filter redirector needs 'indev' or 'outdev' at least one property set");
  if (config.indev == config.outdev) return Error("'indev' and 'outdev' could not be same for filter redirector");
  if (!around.open_line) return Error("Device '{}' not found", config.indev + config.outdev);
  return RedirectorFilter::create(config, around.open_line);
}

Made make_buffer(const FilterSurroundings& around, Reader& reader) {
  const std::string text = RHEA_TRY(reader.needed("interval"));
  RHEA_TRY(reader.finish());
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > 0xffffffff)
    return Error("Property 'filter-buffer.interval' requires a positive value (microseconds), not '{}'", text);
  return std::unique_ptr<Filter>(
      std::make_unique<BufferFilter>(reader.place(), static_cast<s64>(*number) * 1000, around.loop));
}

Made make_shape(const FilterSurroundings& around, Reader& reader) {
  ShapeRules rules;
  for (const std::string& name : shape_rule_names())
    if (const std::string* text = reader.find(name)) RHEA_TRY(set_shape_rule(rules, name, *text));
  RHEA_TRY(reader.finish());
  return std::unique_ptr<Filter>(std::make_unique<ShapeFilter>(reader.place(), rules, around.loop));
}

Made make_rewriter(const FilterSurroundings&, Reader& reader) {
  const bool with_header = RHEA_TRY(reader.flag("vnet_hdr_support"));
  RHEA_TRY(reader.finish());
  return std::unique_ptr<Filter>(std::make_unique<RewriterFilter>(reader.place(), with_header));
}

// Input from every network link is recorded and replayed where the machine is (machine/replay.h): the filter of that
// name marks the link, and is refused where nothing is recorded.
class ReplayFilter final : public Filter {
 public:
  explicit ReplayFilter(FilterPlace place) : Filter(std::move(place)) {}
  std::string_view type() const override { return "filter-replay"; }

 private:
  Texts own_properties() const override { return {}; }
};

Made make_replay(const FilterSurroundings& around, Reader& reader) {
  RHEA_TRY(reader.finish());
  if (!around.replaying) return Error("filter-replay is for -icount ...,rr=record or rr=replay, which is not in use");
  return std::unique_ptr<Filter>(std::make_unique<ReplayFilter>(reader.place()));
}

struct TypeRow {
  const char* name;
  Made (*make)(const FilterSurroundings&, Reader&);
  const char* options;  // its own, in alphabetical order
};
constexpr TypeRow kTypes[] = {
    {"filter-buffer", make_buffer, "interval=<uint32> (microseconds)"},
    {"filter-dump", make_dump, "file=<string> format=<string> (pcap, pcapng) maxlen=<uint32>"},
    {"filter-mirror", make_mirror, "outdev=<string> (chardev) vnet_hdr_support=<bool>"},
    {"filter-redirector", make_redirector,
     "indev=<string> (chardev) outdev=<string> (chardev) vnet_hdr_support=<bool>"},
    {"filter-replay", make_replay, ""},
    {"filter-rewriter", make_rewriter, "vnet_hdr_support=<bool>"},
    {"filter-shape", make_shape,
     "delay=<time> (20ms) duplicate=<percent> jitter=<time> limit=<bytes> loss=<percent> rate=<bits> (10M) "
     "reorder=<percent> seed=<number>"},
};

Result<void> read_place(FilterPlace& place, const std::string& key, const std::string& value) {
  if (key == "netdev") place.netdev = value;
  if (key == "status") {
    if (value != "on" && value != "off") return Error("Invalid value for netfilter status, should be 'on' or 'off'");
    place.status = value == "on";
  }
  if (key == "queue") {
    if (value != "all" && value != "rx" && value != "tx")
      return Error("Parameter 'queue' does not accept value '{}'", value);
    place.queue = value == "rx"   ? FilterPlace::Queue::rx
                  : value == "tx" ? FilterPlace::Queue::tx
                                  : FilterPlace::Queue::all;
  }
  if (key == "position") {
    if (value != "head" && value != "tail" && !value.starts_with("id="))
      return Error("Parameter 'position' expects 'head', 'tail' or 'id=<id>', not '{}'", value);
    place.position = value;
  }
  if (key == "insert") {
    if (value != "behind" && value != "before")
      return Error("Parameter 'insert' expects 'before' or 'behind', not '{}'", value);
    place.insert = value;
  }
  return {};
}

}  // namespace

const std::vector<std::string>& filter_types() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const TypeRow& row : kTypes) list.emplace_back(row.name);
    return list;
  }();
  return names;
}

std::string filter_help(const std::string& type) {
  for (const TypeRow& row : kTypes) {
    if (type != row.name) continue;
    std::string text = fmt::format("{} options:", type);
    for (const std::string& word :
         split(fmt::format("{} insert=<string> (behind, before) netdev=<string> "
                           "position=<string> (head, tail, id=FILTER) "
                           "queue=<NetFilterDirection> (all, rx, tx) status=<string> (on, off)",
                           row.options),
               ' '))
      text += (word.find("=<") == std::string::npos ? " " : "\n  ") + word;
    return text + "\n";
  }
  return {};
}

Result<std::unique_ptr<Filter>> make_filter(const FilterSurroundings& surroundings, const FilterConfig& config) {
  const auto row =
      std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& type) { return config.type == type.name; });
  if (row == std::end(kTypes))
    return Error("Parameter 'qom-type' does not accept value '{}'{}", config.type,
                 did_you_mean(config.type, filter_types()));
  FilterPlace place{.id = config.id, .netdev = {}};
  for (const auto& [key, value] : config.options) RHEA_TRY(read_place(place, key, value));
  if (place.netdev.empty()) return Error("Parameter 'netdev' is missing");
  Reader reader(config, place);
  return row->make(surroundings, reader);
}

}  // namespace rhea::net
