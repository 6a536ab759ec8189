// SPDX-License-Identifier: MIT
#include "cli/user_objects.h"

#include <algorithm>

#include "cli/known.h"
#include "cli/memory_backends.h"
#include "util/text.h"

namespace rhea::cli {

namespace {

// Sources of random numbers for virtio-rng: both are the host kernel's generator.
Result<void> check_random(const std::string& type, const UserObjects::Texts& options) {
  for (const auto& [name, value] : options) {
    if (type == "rng-random" && name == "filename") {
      if (value == "/dev/urandom" || value == "/dev/random") continue;
      return Error("rng-random takes /dev/urandom and /dev/random, not '{}'", value);
    }
    return Error("Property '{}.{}' not found", type, name);
  }
  return {};
}

// x-bps-total=..., or as JSON has it: limits.bps-total.
Result<block::ThrottleLimits> read_limits(const UserObjects::Texts& options) {
  block::ThrottleLimits limits;
  for (const auto& [name, value] : options) {
    const usize prefix = name.starts_with("x-") ? 2 : name.starts_with("limits.") ? 7 : 0;
    const auto number = parse_number(value);
    if (prefix && !number) return Error("Parameter '{}' expects a number, not '{}'", name, value);
    if (prefix && block::set_throttle_value(limits, std::string_view(name).substr(prefix), *number)) continue;
    std::vector<std::string> names;
    for (const auto& [known, _] : block::throttle_values(limits)) names.push_back("x-" + known);
    return Error("Property 'throttle-group.{}' not found{}", name, did_you_mean(name, names));
  }
  return limits;
}

}  // namespace

std::string object_help(const std::string& type) {
  if (type.starts_with(kMemoryBackends)) return memory_backend_help(type);
  if (type != "throttle-group") return net::filter_help(type);
  std::string text = "throttle-group options (units a second; for -blockdev driver=throttle and throttling.group=):\n";
  for (const auto& [name, _] : block::throttle_values({})) text += fmt::format("  x-{}=<int>\n", name);
  return text;
}

std::vector<std::string> object_types() {
  std::vector<std::string> types = net::filter_types();
  types.insert(types.end(), {"memory-backend-file", "memory-backend-memfd", "memory-backend-ram", "rng-builtin",
                             "rng-random", "throttle-group"});
  return types;
}

Result<void> check_object_type(const std::string& type) {
  const std::vector<std::string> types = object_types();
  if (std::find(types.begin(), types.end(), type) != types.end()) return {};
  if (qemu_knows(Word::object, type)) return Error("object '{}' is known to QEMU, but Rhea does not have it yet", type);
  std::vector<std::string> known = qemu_words(Word::object);
  known.insert(known.end(), types.begin(), types.end());
  return Error("Parameter 'qom-type' does not accept value '{}'{}", type, did_you_mean(type, known));
}

Result<void> UserObjects::add(const std::string& type, const std::string& id, const Texts& options) {
  RHEA_TRY(check_object_type(type));
  if (!type_of(id).empty()) return Error("attempt to add duplicate property '{}' to object (type 'container')", id);
  if (type.starts_with("filter-")) RHEA_TRY(network_->add_filter({.id = id, .type = type, .options = options}));
  else if (type == "throttle-group") RHEA_TRY(drives_->add_throttle_group(id, RHEA_TRY(read_limits(options))));
  else if (type.starts_with(kMemoryBackends)) memory_backends_[id] = RHEA_TRY(read_memory_backend(type, id, options));
  else RHEA_TRY(check_random(type, options));
  objects_.emplace_back(id, type);
  return {};
}

Result<void> UserObjects::remove(const std::string& id) {
  const std::string type = type_of(id);
  if (type.empty()) return Error("object '{}' not found", id);
  if (type.starts_with("filter-")) RHEA_TRY(network_->remove_filter(id));
  if (type == "throttle-group") RHEA_TRY(drives_->remove_throttle_group(id));
  memory_backends_.erase(id);
  forget(id);
  return {};
}

std::optional<machine::RamBackend> UserObjects::memory_backend(const std::string& id) const {
  const auto found = memory_backends_.find(id);
  return found == memory_backends_.end() ? std::nullopt : std::optional(found->second);
}

void UserObjects::set_network(net::Network* network) {
  network_ = network;
  network_->on_filter_gone = [this](const std::string& id) { forget(id); };
}

void UserObjects::forget(const std::string& id) {
  std::erase_if(objects_, [&](const auto& object) { return object.first == id; });
}

std::string UserObjects::type_of(const std::string& id) const {
  for (const auto& [name, type] : objects_)
    if (name == id) return type;
  return {};
}

}  // namespace rhea::cli
