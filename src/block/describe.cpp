// SPDX-License-Identifier: MIT
#include "block/describe.h"

#include <ctime>

namespace rhea::block {

using config::Json;

std::string human_size(u64 bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1000 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%0.3g %s", value, kUnits[unit]);
  return text;
}

std::string snapshot_table(const std::vector<Snapshot>& snapshots) {
  std::string text =
      "Snapshot list:\nID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n";
  for (const Snapshot& snapshot : snapshots) {
    const std::time_t seconds = snapshot.date_seconds;
    std::tm local{};
    localtime_r(&seconds, &local);
    char date[64];
    std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &local);
    const u64 clock = snapshot.vm_clock_nanoseconds / 1'000'000;
    const std::string time =
        fmt::format("{:02}:{:02}:{:02}.{:03}", clock / 3'600'000, clock / 60'000 % 60, clock / 1000 % 60, clock % 1000);
    const std::string icount = snapshot.icount == ~u64{0} ? "" : std::to_string(snapshot.icount);
    text += fmt::format("{:<9} {:<16} {:>8} {:>19} {:>12} {:>10}\n", snapshot.id, snapshot.name,
                        human_size(snapshot.vm_state_size), date, time, icount);
  }
  return text;
}

Json image_json(const ImageInfo& info, const std::vector<Snapshot>& snapshots) {
  Json out;
  if (!info.backing_format.empty()) out["backing-filename-format"] = info.backing_format;
  for (const Snapshot& snapshot : snapshots) {
    Json item;
    if (snapshot.icount != ~u64{0}) item["icount"] = snapshot.icount;
    item["vm-clock-nsec"] = snapshot.vm_clock_nanoseconds % 1'000'000'000;
    item["name"] = snapshot.name;
    item["date-sec"] = snapshot.date_seconds;
    item["date-nsec"] = snapshot.date_nanoseconds;
    item["vm-clock-sec"] = snapshot.vm_clock_nanoseconds / 1'000'000'000;
    item["id"] = snapshot.id;
    item["vm-state-size"] = snapshot.vm_state_size;
    out["snapshots"].push_back(std::move(item));
  }
  out["virtual-size"] = info.virtual_size;
  out["filename"] = info.filename;
  if (info.cluster_size) out["cluster-size"] = info.cluster_size;
  out["format"] = info.format;
  out["actual-size"] = info.actual_size;
  if (info.format == "qcow2") {
    Json data;
    data["compat"] = info.compat;
    data["compression-type"] = info.compression_type;
    if (info.compat != "0.10") {
      data["lazy-refcounts"] = info.lazy_refcounts;
      data["refcount-bits"] = info.refcount_bits;
      data["corrupt"] = info.corrupt;
      data["extended-l2"] = info.extended_l2;
    } else {
      data["refcount-bits"] = info.refcount_bits;
    }
    out["format-specific"] = {{"type", "qcow2"}, {"data", data}};
  }
  if (!info.backing_filename.empty()) {
    out["full-backing-filename"] =
        info.full_backing_filename.empty() ? info.backing_filename : info.full_backing_filename;
    out["backing-filename"] = info.backing_filename;
  }
  out["dirty-flag"] = info.dirty;
  return out;
}

std::string image_text(const ImageInfo& info, const std::vector<Snapshot>& snapshots) {
  std::string text =
      fmt::format("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n", info.filename,
                  info.format, human_size(info.virtual_size), info.virtual_size, human_size(info.actual_size));
  if (info.cluster_size) text += fmt::format("cluster_size: {}\n", info.cluster_size);
  if (info.dirty) text += "cleanly shut down: no\n";
  if (!info.backing_filename.empty()) {
    text += fmt::format("backing file: {}", info.backing_filename);
    if (!info.full_backing_filename.empty() && info.full_backing_filename != info.backing_filename) {
      text += fmt::format(" (actual path: {})", info.full_backing_filename);
    }
    text += "\n";
    if (!info.backing_format.empty()) text += fmt::format("backing file format: {}\n", info.backing_format);
  }
  if (!snapshots.empty()) text += snapshot_table(snapshots);
  if (info.format != "qcow2") return text;
  text += fmt::format("Format specific information:\n    compat: {}\n    compression type: {}\n", info.compat,
                      info.compression_type);
  if (info.compat == "0.10") return text + fmt::format("    refcount bits: {}\n", info.refcount_bits);
  return text + fmt::format("    lazy refcounts: {}\n    refcount bits: {}\n    corrupt: {}\n    extended l2: {}\n",
                            info.lazy_refcounts, info.refcount_bits, info.corrupt, info.extended_l2);
}

}  // namespace rhea::block
