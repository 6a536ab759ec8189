// SPDX-License-Identifier: MIT
// -drive and the options that are short for one. A drive gets its place on a bus from if=, bus=, unit= or index=, and
// its image from file= with format=; nested names ("file.filename=") say the same of the file below the format.
#include "cli/drive_options.h"

#include <algorithm>

#include "cli/throttle_options.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

using block::DriveBus;

// clang-format off
constexpr config::Parameter kParameters[] = {
    {"file", config::Kind::text}, {"file.filename", config::Kind::text}, {"file.driver", config::Kind::text},
    {"file.locking", config::Kind::text}, {"file.aio", config::Kind::text},
    {"if", config::Kind::text}, {"format", config::Kind::text}, {"driver", config::Kind::text},
    {"id", config::Kind::text}, {"index", config::Kind::number}, {"bus", config::Kind::number},
    {"unit", config::Kind::number}, {"media", config::Kind::text}, {"snapshot", config::Kind::boolean},
    {"readonly", config::Kind::boolean}, {"read-only", config::Kind::boolean}, {"cache", config::Kind::text},
    {"cache.direct", config::Kind::boolean}, {"cache.writeback", config::Kind::boolean},
    {"cache.no-flush", config::Kind::boolean}, {"aio", config::Kind::text}, {"discard", config::Kind::text},
    {"detect-zeroes", config::Kind::text}, {"werror", config::Kind::text}, {"rerror", config::Kind::text},
    {"serial", config::Kind::text}, {"copy-on-read", config::Kind::boolean}, {"node-name", config::Kind::text},
    {"force-share", config::Kind::boolean}, {"locking", config::Kind::text},
    {"offset", config::Kind::size}, {"size", config::Kind::size},
    {"read-zeroes", config::Kind::boolean}, {"latency-ns", config::Kind::number},
    {"file.read-zeroes", config::Kind::boolean}, {"file.latency-ns", config::Kind::number}, {"file.size", config::Kind::number},
    {"backing.file.filename", config::Kind::text}, {"backing.driver", config::Kind::text},
};
// clang-format on

// -sd FILE is -drive index=0,if=sd,file=FILE, and so on.
struct ShortForm {
  std::string_view option;
  std::string_view options;
};
constexpr ShortForm kShortForms[] = {
    {"sd", "if=sd,index=0"},       {"mtdblock", "if=mtd"},           {"pflash", "if=pflash"},
    {"hda", "index=0,media=disk"}, {"hdb", "index=1,media=disk"},    {"hdc", "index=2,media=disk"},
    {"hdd", "index=3,media=disk"}, {"cdrom", "index=2,media=cdrom"}, {"fda", "if=floppy,index=0"},
    {"fdb", "if=floppy,index=1"},
};

std::vector<config::Parameter> all_parameters() {
  std::vector<config::Parameter> rows(std::begin(kParameters), std::end(kParameters));
  for (const config::Parameter& row : throttle_parameters()) rows.push_back(row);
  return rows;
}

std::string format_list() { return "Supported formats: " + join(block::known_formats(), " ") + "\n"; }

Result<config::Values> read(const Typed& typed) {
  const auto parsed = RHEA_TRY(config::parse_options(typed.argument, ""));
  const std::vector<config::Parameter> parameters = all_parameters();
  for (const config::Part& part : parsed.parts) {
    const bool known = std::any_of(parameters.begin(), parameters.end(),
                                   [&](const config::Parameter& row) { return row.name == part.key; });
    const std::string* format = parsed.find("format");
    if (!known) return unknown_block_option(format ? *format : "raw", part.key);
  }
  return config::read_values(parsed, parameters);
}

Result<void> set_place(const config::Values& values, const block::DriveTable& drives, block::DriveConfig& config) {
  if (values.has("index")) {
    if (values.has("bus") || values.has("unit")) return Error("index cannot be used with bus and unit");
    config.unit = static_cast<int>(std::min<u64>(values.number("index", 0), 255));
    return {};
  }
  config.bus_index = static_cast<int>(std::min<u64>(values.number("bus", 0), 255));
  config.unit = values.has("unit") ? static_cast<int>(std::min<u64>(values.number("unit", 0), 255))
                                   : drives.free_unit(config.bus);
  return {};
}

Result<void> set_cache(const config::Values& values, block::ImageSpec& spec) {
  if (values.has("cache")) spec.cache = RHEA_TRY(block::parse_cache_mode(values.text("cache")));
  for (const char* name : {"cache.writeback", "cache.direct", "cache.no-flush"})
    if (values.has(name)) RHEA_TRY(set_cache_flags(name, values.boolean(name, false), spec));
  return {};
}

Result<block::Locking> parse_locking(const std::string& word) {
  if (word == "auto") return block::Locking::automatic;
  if (word == "on") return block::Locking::on;
  if (word == "off") return block::Locking::off;
  return Error("Parameter 'locking' does not accept value '{}': on, off or auto", word);
}

// The size, speed and contents of a disk of nothing: file=null-co:// or driver=null-co.
Result<void> read_null(const config::Values& values, block::ImageSpec& spec) {
  const std::string driver = values.text("driver", values.text("format"));
  const bool named = driver.starts_with("null-");
  if (named && spec.filename.empty()) {
    spec.filename = driver + "://";
    spec.format = "raw";
  }
  const bool nothing = spec.filename.starts_with("null-");
  block::NullDisk disk;
  for (const char* prefix : {"", "file."}) {
    const std::string zeroes = std::string(prefix) + "read-zeroes", latency = std::string(prefix) + "latency-ns";
    if ((values.has(zeroes) || values.has(latency)) && !nothing)
      return Error("'{}' is an option of null-co and null-aio", values.has(zeroes) ? zeroes : latency);
    disk.zeroes = values.boolean(zeroes, disk.zeroes);
    disk.latency =
        static_cast<s64>(std::min<u64>(values.number(latency, static_cast<u64>(disk.latency)), 10 * kSecond));
  }
  if (!nothing) return {};
  const char* size = named ? "size" : "file.size";
  if (values.has(size)) disk.size = values.number(size, 0);
  if (named) spec.size = 0;
  spec.null_disk = disk;
  return {};
}

Result<block::ImageSpec> read_image(const config::Values& values, bool snapshot, bool cdrom) {
  block::ImageSpec spec;
  spec.filename = values.text("file", values.text("file.filename"));
  if (values.has("file") && values.has("file.filename"))
    return Error("file= and file.filename= name the same thing: give one");
  if (values.has("format") && values.has("driver")) return Error("Cannot specify both 'driver' and 'format'");
  spec.format = values.text("format", values.text("driver"));
  if (spec.format.starts_with("null-")) spec.format = "raw";
  if (values.has("file.driver") && values.text("file.driver").starts_with("null-") && spec.filename.empty())
    spec.filename = values.text("file.driver") + "://";
  else if (values.has("file.driver") && values.text("file.driver") != "file")
    return Error("file.driver={}: a URL in file= says which protocol is meant", values.text("file.driver"));
  if (!spec.format.empty() && !block::is_known_format(spec.format))
    return Error("Unknown driver '{}'{}", spec.format, did_you_mean(spec.format, block::known_formats()));
  if (values.has("readonly") && values.has("read-only"))
    return Error("'readonly' and 'read-only' are one option: give one");
  spec.read_only = values.boolean("read-only", values.boolean("readonly", cdrom));
  spec.snapshot = values.boolean("snapshot", snapshot);
  RHEA_TRY(set_cache(values, spec));
  // With a temporary overlay nothing has to be safe.
  if (spec.snapshot && !values.has("cache")) spec.cache = block::CacheMode::unsafe;
  const std::string aio = values.text("aio", values.text("file.aio"));
  if (!aio.empty()) spec.aio = RHEA_TRY(block::parse_aio_mode(aio));
  if (values.has("discard")) spec.discard = RHEA_TRY(block::parse_discard_mode(values.text("discard")));
  if (values.has("detect-zeroes"))
    spec.detect_zeroes = RHEA_TRY(block::parse_detect_zeroes(values.text("detect-zeroes")));
  if (spec.detect_zeroes == block::DetectZeroes::unmap && spec.discard != block::DiscardMode::unmap)
    return Error("setting detect-zeroes to unmap is not allowed without setting discard operation to unmap");
  const std::string locking = values.text("locking", values.text("file.locking"));
  if (!locking.empty()) spec.locking = RHEA_TRY(parse_locking(locking));
  spec.share = values.boolean("force-share", false);
  spec.offset = values.number("offset", 0);
  spec.size = values.number("size", 0);
  RHEA_TRY(read_null(values, spec));
  if ((spec.offset || spec.size) && spec.format != "raw") return Error("offset= and size= are options of format=raw");
  spec.backing_file = values.text("backing.file.filename");
  spec.backing_format = values.text("backing.driver");
  return spec;
}

Result<void> set_policies(const config::Values& values, block::DriveConfig& config) {
  const bool has_policy = config.bus == DriveBus::ide || config.bus == DriveBus::scsi ||
                          config.bus == DriveBus::virtio || config.bus == DriveBus::none;
  if (values.has("werror")) {
    if (!has_policy) return Error("werror is not supported by this bus type");
    config.write_error = RHEA_TRY(block::parse_error_action(values.text("werror"), false));
  }
  if (values.has("rerror")) {
    if (!has_policy) return Error("rerror is not supported by this bus type");
    config.read_error = RHEA_TRY(block::parse_error_action(values.text("rerror"), true));
  }
  if (!has_policy) config.write_error = block::ErrorAction::report;
  return {};
}

}  // namespace

Error unknown_block_option(const std::string& format, const std::string& key) {
  constexpr std::string_view kRefused[] = {"stats-",       "file.",          "backing.",   "overlap-check",
                                           "l2-cache",     "refcount-cache", "cache-size", "cache-clean-interval",
                                           "pass-discard", "lazy-refcounts", "encrypt",    "x-",
                                           "pr-manager",   "iothread",       "readahead",  "timeout",
                                           "sslverify",    "cookie",         "username",   "password",
                                           "proxy-"};
  for (const std::string_view prefix : kRefused)
    if (key.starts_with(prefix)) return Error("'{}' is known to QEMU, but Rhea does not have it", key);
  std::vector<std::string> names;
  for (const config::Parameter& row : all_parameters()) names.emplace_back(row.name);
  return Error("Block format '{}' does not support the option '{}'{}", format.empty() ? "raw" : format, key,
               did_you_mean(key, names));
}

Result<void> set_cache_flags(const std::string& name, bool value, block::ImageSpec& spec) {
  using block::CacheMode;
  const bool direct = spec.cache == CacheMode::none || spec.cache == CacheMode::directsync;
  if (name == "cache.no-flush") {
    if (value) spec.cache = CacheMode::unsafe;
  } else if (name == "cache.direct") {
    if (spec.cache != CacheMode::unsafe && value != direct)
      spec.cache = value ? (spec.cache == CacheMode::writethrough ? CacheMode::directsync : CacheMode::none)
                         : (spec.cache == CacheMode::directsync ? CacheMode::writethrough : CacheMode::writeback);
  } else if (!value) {
    spec.cache = direct ? CacheMode::directsync : CacheMode::writethrough;
  }
  return {};
}

Result<void> read_drive_option(Settings& settings, const Typed& typed) {
  std::string name = typed.option;
  name.erase(0, name.find_first_not_of('-'));
  Typed drive{.option = typed.option, .argument = typed.argument};
  for (const ShortForm& form : kShortForms)
    if (name == form.option)
      drive.argument = fmt::format("{},file={}", form.options, config::quote_value(typed.argument));
  const auto parsed = RHEA_TRY(config::parse_options(drive.argument, ""));
  const std::string* format = parsed.find("format");
  if (parsed.help || (format && (*format == "help" || *format == "?"))) {
    settings.exit = Exit{0, format_list()};
    return {};
  }
  settings.drives.push_back({drive, typed});
  return {};
}

Result<void> read_blockdev_option(Settings& settings, const Typed& typed) {
  settings.blockdevs.push_back(typed);
  return {};
}

Result<void> set_snapshot(Settings& settings, const Typed&) {
  settings.snapshot = true;
  return {};
}

Result<void> DrivePlan::make() {
  RHEA_TRY(read_nodes());
  for (const NodeText& node : nodes_) {
    if (node.has_parent) continue;
    Result<void> made = make_node(node);
    if (!made.ok()) return at(node.typed, std::move(made.error()));
  }
  for (const auto& [drive, typed] : settings_.drives) {
    Result<void> made = make_drive(drive);
    if (!made.ok()) return at(typed, std::move(made.error()));
  }
  return {};
}

Result<void> DrivePlan::make_drive(const Typed& typed) {
  const config::Values values = RHEA_TRY(read(typed));
  if (values.boolean("copy-on-read", false)) return Error("'copy-on-read' is known to QEMU, but Rhea does not have it");
  block::DriveConfig config;
  if (values.has("if")) config.bus = RHEA_TRY(block::parse_drive_bus(values.text("if")));
  const std::string media = values.text("media", "disk");
  if (media != "disk" && media != "cdrom") return Error("'{}' invalid media: disk or cdrom", media);
  config.cdrom = media == "cdrom";
  RHEA_TRY(set_place(values, machine_.drives(), config));
  RHEA_TRY(set_policies(values, config));
  config.serial = values.text("serial");
  config.node_name = values.text("node-name");
  if (values.has("id")) {
    config.id = values.text("id");
    RHEA_TRY(config::check_identifier("id", config.id));
  } else {
    config.id = fmt::format("{}{}", block::drive_bus_name(config.bus), config.unit);
  }
  auto spec = RHEA_TRY(read_image(values, settings_.snapshot, config.cdrom));
  if (!values.has("if") && !values.has("id")) defaulted_.emplace_back(typed, config.id);
  const bool plugged = config.bus == DriveBus::virtio;
  const std::string id = config.id;
  const Throttling throttling = RHEA_TRY(read_throttling(values));
  const auto group = machine_.drives().find_throttle_group(throttling.group);
  if (!throttling.group.empty() && !throttling.limits.any() && !group)
    return Error("throttling.group={}: a group needs a limit (throttling.bps-total= ..., or -object throttle-group)",
                 throttling.group);
  RHEA_TRY(add(typed, std::move(config), std::move(spec)));
  if (block::Drive* drive = machine_.drives().find(id)) {
    if (group && !throttling.limits.any()) drive->set_throttle(group);
    else machine_.drives().set_throttle(*drive, throttling.group, throttling.limits);
  }
  return plugged ? plug_virtio(id) : Result<void>();
}

// if=virtio: the drive brings its device along.
Result<void> DrivePlan::plug_virtio(const std::string& id) {
  machine::DeviceConfig device{.type = "virtio-blk-device", .id = {}};
  device.properties.emplace_back("drive", id);
  settings_.machine.devices.push_back(std::move(device));
  return {};
}

Result<void> DrivePlan::add(const Typed& typed, block::DriveConfig config, block::ImageSpec spec) {
  auto drive = std::make_unique<block::Drive>(
      machine_.loop(), std::move(config),
      [machine = &machine_](const block::Drive::Failure& failure) { machine->drive_failed(failure); });
  // The place is taken first: a second drive there is told before its image is opened.
  block::Drive* added = RHEA_TRY(machine_.drives().add(std::move(drive)));
  added->set_medium_spec(spec);
  if (spec.filename.empty()) return {};
  // What another process still uses is looked at, and opened when that one's state has come.
  const bool awaited = !machine_.config().board && !settings_.machine.incoming.empty() && !spec.snapshot;
  block::ImageSpec now = spec;
  if (awaited) now.read_only = now.share = true;
  auto image = block::open_image(now);
  if (!image.ok()) {
    RHEA_TRY(machine_.drives().remove(added->id()));
    return std::move(image.error());
  }
  for (const std::string& line : (*image)->warnings()) settings_.lines.push_back(line);
  const std::string& name = added->config().node_name;
  added->insert(image.take(), name.empty() ? machine_.drives().new_node_name() : name);
  if (!awaited) return {};
  if (!spec.read_only) added->set_inactive();
  added->set_medium_spec(std::move(spec));
  return {};
}

void DrivePlan::warn_of_orphans() {
  for (const auto& [typed, id] : defaulted_) {
    const block::Drive* drive = machine_.drives().find(id);
    if (!drive || machine_.drives().find(id)->client()) continue;
    settings_.warnings.push_back(fmt::format(
        "{}: the drive '{}' is attached to nothing: {} has no bus that it belongs to by itself; say if=sd for the card "
        "slot, if=virtio, or add -device virtio-blk-device,drive={}",
        typed.text(), id, settings_.machine.board->name, id));
  }
}

}  // namespace rhea::cli
