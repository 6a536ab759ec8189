// SPDX-License-Identifier: MIT
#include "net/filters/dump.h"

namespace rhea::net {

Result<std::unique_ptr<FilterDump>> FilterDump::create(const DumpConfig& config, EventLoop& loop, Clock& wall_clock) {
  PcapWriter writer = RHEA_TRY(PcapWriter::create(config.file, config.maxlen, config.format, config.place.netdev));
  return std::make_unique<FilterDump>(config, std::move(writer), loop, wall_clock);
}

FilterDump::FilterDump(const DumpConfig& config, PcapWriter writer, EventLoop& loop, Clock& wall_clock)
    : Filter(config.place), config_(config), writer_(std::move(writer)), loop_(loop), wall_clock_(wall_clock) {}

void FilterDump::see(bool from_guest, const Frame& frame) {
  if (!writer_.ok()) return;
  if (!writer_.write(wall_clock_.now(), frame, from_guest)) {
    std::fprintf(stderr, "network dump write error - stopping dump\n");
    return;
  }
  // Written when the loop has done what is at hand: a burst costs one system call, and the file does not lag.
  if (flush_posted_) return;
  flush_posted_ = true;
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.lock()) return;
    flush_posted_ = false;
    writer_.flush();
  });
}

Filter::Texts FilterDump::own_properties() const {
  Texts texts{{"file", config_.file}, {"maxlen", std::to_string(config_.maxlen)}};
  if (config_.format == PcapWriter::Format::pcapng) texts.emplace_back("format", "pcapng");
  return texts;
}

}  // namespace rhea::net
