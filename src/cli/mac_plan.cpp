// SPDX-License-Identifier: MIT
#include "cli/mac_plan.h"

#include <fmt/format.h>

#include "sys/claim.h"
#include "util/sha1.h"

namespace rhea::cli {

namespace {
constexpr u64 kStart = 0x525400000000;
constexpr u64 kQemusBlock = 0x1234;  // 52:54:00:12:34:xx
constexpr unsigned kMostAttempts = 256;
}  // namespace

u64 shared_mac(const MacOwner& owner, unsigned slot, unsigned attempt) {
  for (unsigned turn = 0;; ++turn) {
    const std::string text =
        fmt::format("{}\n{}\n{}\n{}\n{}\n{}", owner.host, owner.user, owner.machine, slot, attempt, turn);
    const auto digest = sha1(text);
    const u64 low = u64{digest[0]} << 16 | u64{digest[1]} << 8 | digest[2];
    if (low >> 8 != kQemusBlock) return kStart | low;
  }
}

u64 claim_mac(const MacOwner& owner, unsigned slot, std::vector<std::shared_ptr<sys::Fd>>& claims) {
  for (unsigned attempt = 0; attempt < kMostAttempts; ++attempt) {
    const u64 mac = shared_mac(owner, slot, attempt);
    auto claimed = sys::claim(fmt::format("mac-{:012x}", mac));
    if (!claimed.ok()) break;
    if (!*claimed) continue;
    claims.push_back(std::make_shared<sys::Fd>(claimed.take()));
    return mac;
  }
  return shared_mac(owner, slot, 0);
}

}  // namespace rhea::cli
