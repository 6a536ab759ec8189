// SPDX-License-Identifier: MIT
#include "net/lan/place.h"

#include <algorithm>

#include "sys/claim.h"
#include "sys/packet_socket.h"

namespace rhea::net::lan {

namespace {

constexpr usize kMostNames = 1024, kMostSockets = 256, kMostTried = 512;
constexpr std::string_view kEnd = ".sock";

std::string claim_name(const std::string& lan, const IpAddress& address) {
  return fmt::format("lan/{}/{}", lan, address.text());
}

}  // namespace

bool is_lan_name(const std::string& name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 32 && name[0] != '.' && std::all_of(name.begin(), name.end(), good);
}

Result<Place> Place::open(const std::string& name) {
  if (!is_lan_name(name))
    return Error("Parameter 'name' expects the name of a LAN (letters, digits, '.', '_', '-', at most 32), not '{}'",
                 name);
  RHEA_TRY(sys::runtime_folder("lan"));
  return Place(name, RHEA_TRY(sys::runtime_folder("lan/" + name)));
}

std::vector<std::string> Place::all() {
  std::vector<std::string> names;
  auto folder = sys::runtime_folder("lan");
  if (!folder.ok()) return names;
  for (std::string& name : sys::names_in(*folder, kMostNames))
    if (is_lan_name(name)) names.push_back(std::move(name));
  std::sort(names.begin(), names.end());
  return names;
}

std::string Place::socket_path(u64 id) const { return fmt::format("{}/{:016x}{}", folder_, id, kEnd); }

std::vector<std::string> Place::sockets() const {
  std::vector<std::string> paths;
  for (const std::string& name : sys::names_in(folder_, kMostNames))
    if (name.ends_with(kEnd) && paths.size() < kMostSockets) paths.push_back(folder_ + "/" + name);
  return paths;
}

Result<std::optional<Place::Claim>> Place::claim_this(const std::string& owner, const IpAddress& address) const {
  sys::Fd lock = RHEA_TRY(sys::claim(claim_name(name_, address)));
  if (!lock) return std::optional<Claim>();
  sys::set_claim_text(lock, owner);
  return std::optional<Claim>(Claim{address, std::move(lock)});
}

Result<Place::Claim> Place::claim_address(const std::string& owner, const Range& range) const {
  // In this order: what the owner had; what nobody had, or a guest without a name; what another had.
  std::vector<IpAddress> unowned, others;
  for (u32 at = range.first.to_v4(); at <= range.last.to_v4() && unowned.size() + others.size() < kMostTried; ++at) {
    const IpAddress address = IpAddress::v4(at);
    if (!range.usable(address)) continue;
    const std::optional<std::string> had = sys::claim_text(claim_name(name_, address));
    if (!had || had->empty()) unowned.push_back(address);
    else if (*had != owner) others.push_back(address);
    else if (auto claim = RHEA_TRY(claim_this(owner, address))) return std::move(*claim);
  }
  for (const auto* list : {&unowned, &others})
    for (const IpAddress& address : *list)
      if (auto claim = RHEA_TRY(claim_this(owner, address))) return std::move(*claim);
  return Error("LAN '{}': all addresses from {} to {} are taken", name_, range.first.text(), range.last.text());
}

}  // namespace rhea::net::lan
