// SPDX-License-Identifier: MIT
// filter-dump: writes the frames of a link to a pcap file. Offload headers are not written; a frame that was
// left whole for segmentation is one record.
#pragma once

#include <memory>
#include <string>

#include "core/clock.h"
#include "core/event_loop.h"
#include "net/filters/filter.h"
#include "net/pcap.h"

namespace rhea::net {

struct DumpConfig {
  FilterPlace place;
  std::string file;
  u32 maxlen = 65536;
  PcapWriter::Format format = PcapWriter::Format::pcap;
};

class FilterDump final : public Filter {
 public:
  static Result<std::unique_ptr<FilterDump>> create(const DumpConfig& config, EventLoop& loop, Clock& wall_clock);
  FilterDump(const DumpConfig& config, PcapWriter writer, EventLoop& loop, Clock& wall_clock);

  std::string_view type() const override { return "filter-dump"; }

 private:
  void see(bool from_guest, const Frame& frame) override;
  Texts own_properties() const override;

  DumpConfig config_;
  PcapWriter writer_;
  EventLoop& loop_;
  Clock& wall_clock_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool flush_posted_ = false;
};

}  // namespace rhea::net
