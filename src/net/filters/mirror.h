// SPDX-License-Identifier: MIT
// filter-mirror: a copy of each frame goes to a character device. filter-redirector: the frames themselves go there
// (outdev), and frames that come from one (indev) go on in their place.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "net/backends/frame_decoder.h"
#include "net/filters/filter.h"
#include "net/filters/line.h"

namespace rhea::net {

class MirrorFilter final : public Filter {
 public:
  struct Config {
    FilterPlace place;
    std::string outdev;
    bool with_header = false;  // vnet_hdr_support
  };
  static Result<std::unique_ptr<Filter>> create(const Config& config, const OpenLine& open);
  explicit MirrorFilter(Config config) : Filter(config.place), config_(std::move(config)) {}
  std::string_view type() const override { return "filter-mirror"; }

 private:
  void see(bool from_guest, const Frame& frame) override;
  Texts own_properties() const override;
  Config config_;
  std::unique_ptr<ByteLine> out_;
};

class RedirectorFilter final : public Filter {
 public:
  struct Config {
    FilterPlace place;
    std::string indev, outdev;
    bool with_header = false;
  };
  static Result<std::unique_ptr<Filter>> create(const Config& config, const OpenLine& open);
  explicit RedirectorFilter(Config config);
  std::string_view type() const override { return "filter-redirector"; }

 private:
  static constexpr usize kMostHeld = 1024;  // frames each way
  bool only_looks() const override { return false; }
  Sent pass(bool from_guest, const Frame& frame) override;
  void room_ahead(bool from_guest) override;
  Texts own_properties() const override;
  void take(std::span<const u8> data);
  void inject(bool from_guest, const Frame& frame);

  Config config_;
  FrameDecoder decoder_;
  std::deque<OwnedFrame> held_[2];      // by from_guest: came from indev, and wait for the far side
  std::unique_ptr<ByteLine> in_, out_;  // last: their callbacks use what is above
};

}  // namespace rhea::net
