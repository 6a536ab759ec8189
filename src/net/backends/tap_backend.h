// SPDX-License-Identifier: MIT
// `-netdev tap` and `-netdev bridge`: an interface of the host, its frames with virtio-net headers where both sides
// have them, so that large segments and checksums left undone cross between guest and host kernel as they are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/backends/wire.h"
#include "sys/tap.h"

namespace rhea::net {

struct TapPlan {
  std::vector<sys::Tap> queues;  // one, or several of one interface (IFF_MULTI_QUEUE)
  std::string info;
  std::string down_script;  // run at the end with the interface's name; "" for none
  u64 station = 0;          // of a macvtap: the address that it takes frames for; 0: any
};

class TapBackend final : public WireBackend {
 public:
  TapBackend(const BackendContext& context, TapPlan plan);
  ~TapBackend() override;

  Caps caps() const override;
  Sent send(const Frame& frame) override;
  void on_room() override;
  std::string type() const override { return "tap"; }
  u64 station() const { return station_; }

 private:
  struct Queue {
    sys::Fd fd;
    std::unique_ptr<FdWatch> watch;
    std::vector<u8> held;  // a frame with its header that waits for the guest
  };
  void read(Queue& queue);
  bool hand_on(std::span<const u8> raw);  // false: the guest is busy
  void fit_offload();

  std::string interface_;
  std::string down_script_;
  u64 station_;
  bool header_;
  bool uso_ = false;  // the kernel knows it
  bool full_ = false;
  bool lost_said_ = false;
  sys::TapOffload offload_;
  std::vector<Queue> queues_;
  std::vector<u8> buffer_;
};

// The address that a NIC has to have that is joined with this port; 0: any.
u64 station_of(Port& port);

extern const BackendType kTapType;
extern const BackendType kBridgeType;

// The tap that a bridge's helper gives (bridge_type.cpp), or one made here where this process may do that.
// `helper` empty: whatever there is. Errors name the bridge that is missing and how it is made.
Result<sys::Tap> tap_on_bridge(const BackendContext& context, const std::string& bridge, const std::string& helper,
                               bool header);
inline constexpr const char* kDefaultHelper = "/usr/lib/qemu/qemu-bridge-helper";

}  // namespace rhea::net
