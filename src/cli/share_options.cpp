// SPDX-License-Identifier: MIT
// -audiodev, -audio, -fsdev, -virtfs: what a machine is given of the host besides network, disks and characters.
#include <algorithm>

#include "cli/settings.h"

namespace rhea::cli {

Result<void> read_audiodev_option(Settings& settings, const Typed& typed) {
  if (typed.argument == "help" || typed.argument == "?") {
    settings.exit = Exit{0, audio::driver_list()};
    return {};
  }
  audio::Spec spec = RHEA_TRY(audio::parse_spec(typed.argument));
  for (const auto& [other, known] : settings.audiodevs)
    if (known.id == spec.id) return Error("Duplicate ID '{}' for audiodev", spec.id);
  settings.audiodevs.emplace_back(typed, std::move(spec));
  return {};
}

Result<void> read_audio_option(Settings& settings, const Typed& typed) {
  if (typed.argument == "help" || typed.argument == "?") {
    settings.exit = Exit{0, audio::driver_list()};
    return {};
  }
  return Error(
      "no board of Rhea's has a place for a sound card of one's choice; what is on the board plays to an -audiodev: "
      "'-audiodev wav,id=a,path=FILE'");
}

Result<void> read_fsdev_option(Settings& settings, const Typed& typed) {
  fsdev::Spec spec = RHEA_TRY(fsdev::parse_fsdev(typed.argument));
  for (const auto& [other, known] : settings.fsdevs)
    if (known.id == spec.id) return Error("Duplicate ID '{}' for fsdev", spec.id);
  settings.fsdevs.emplace_back(typed, std::move(spec));
  return {};
}

// -virtfs is an -fsdev and the device for it.
Result<void> read_virtfs_option(Settings& settings, const Typed& typed) {
  fsdev::VirtfsSpec spec = RHEA_TRY(fsdev::parse_virtfs(typed.argument));
  std::string id = spec.fsdev.id;
  for (unsigned i = 1; std::any_of(settings.fsdevs.begin(), settings.fsdevs.end(),
                                   [&](const auto& known) { return known.second.id == id; });
       ++i)
    id = fmt::format("{}-{}", spec.fsdev.id, i);
  spec.fsdev.id = id;
  settings.devices.push_back({typed.option, fmt::format("virtio-9p-device,fsdev={},mount_tag={}",
                                                        config::quote_value(id), config::quote_value(spec.mount_tag))});
  settings.fsdevs.emplace_back(typed, std::move(spec.fsdev));
  return {};
}

}  // namespace rhea::cli
