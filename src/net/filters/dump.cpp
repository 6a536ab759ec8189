// SPDX-License-Identifier: MIT
#include "net/filters/dump.h"

namespace rhea::net {

namespace {

std::string_view queue_name(Filter::Queue queue) {
  switch (queue) {
    case Filter::Queue::rx: return "rx";
    case Filter::Queue::tx: return "tx";
    default: return "all";
  }
}

}  // namespace

Result<std::unique_ptr<FilterDump>> FilterDump::create(const DumpConfig& config, EventLoop& loop, Clock& wall_clock) {
  PcapWriter writer = RHEA_TRY(PcapWriter::create(config.file, config.maxlen, config.format, config.netdev));
  return std::make_unique<FilterDump>(config, std::move(writer), loop, wall_clock);
}

FilterDump::FilterDump(const DumpConfig& config, PcapWriter writer, EventLoop& loop, Clock& wall_clock)
    : Filter(config.id), config_(config), writer_(std::move(writer)), loop_(loop), wall_clock_(wall_clock) {}

void FilterDump::see(bool from_guest, const Frame& frame) {
  if (!config_.status || !writer_.ok()) return;
  if (config_.queue == (from_guest ? Queue::tx : Queue::rx)) return;
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

std::string FilterDump::info() const {
  return fmt::format("type=filter-dump,file={},maxlen={},position={},status={},insert={},netdev={},queue={}",
                     config_.file, config_.maxlen, config_.position, config_.status ? "on" : "off", config_.insert,
                     config_.netdev, queue_name(config_.queue));
}

}  // namespace rhea::net
