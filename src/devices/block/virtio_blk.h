// SPDX-License-Identifier: MIT
// virtio-blk-device (VIRTIO 1.2, section 5.2): a disk whose requests go from the guest's memory to the drive's image
// without a copy.
#pragma once

#include <array>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "block/drive.h"
#include "devices/device_type.h"
#include "devices/virtio/virtio_device.h"

namespace rhea::devices {

struct VirtioBlkConfig {
  std::string drive, serial;
  std::string werror = "auto", rerror = "auto", write_cache = "auto";
  bool config_wce = true, discard = true, write_zeroes = true;
  u16 num_queues = 1, queue_size = 256;
  bool seg_max_adjust = true;
  u32 logical_block_size = 512, physical_block_size = 512, min_io_size = 0, opt_io_size = 0;
  u32 discard_granularity = ~0u;  // not given: the logical block
  u32 max_discard_sectors = 0x3fffff, max_write_zeroes_sectors = 0x3fffff;
  u32 cyls = 0, heads = 0, secs = 0;
  bool event_idx = true, indirect_desc = true, any_layout = true, notify_on_empty = true, queue_reset = true;
  // What is known and cannot be had: on is refused.
  bool packed = false, iommu_platform = false, scsi = false;
  std::string iothread;
};

class VirtioBlk final : public VirtioDevice, public block::DriveClient {
 public:
  VirtioBlk(const DeviceContext& context, const VirtioBlkConfig& config);
  ~VirtioBlk() override;
  Result<void> connect();

  void reset(ResetKind kind) override;
  void fields(Visitor& visitor) override;
  void set_running(bool running) override;
  u32 device_id() const override { return 2; }
  unsigned queue_count() const override { return config_.num_queues; }
  u16 queue_limit(unsigned) const override { return config_.queue_size; }
  u64 offered_features() const override;
  bool accept_features(u64 features) override;
  u32 read_config(u32 offset, unsigned size) override;
  void write_config(u32 offset, u32 value, unsigned size) override;
  void start_queue(unsigned queue, const QueueLayout& layout) override;
  void stop_queue(unsigned queue) override;
  const Virtqueue& queue_to_view(unsigned queue) const override { return queues_[queue]; }
  void notify(unsigned queue) override;
  void set_driver_ready(bool ready) override;
  void driver_reset() override;

  void resized() override;

 private:
  // A chain that the driver gave and that has not gone back.
  struct Pending {
    unsigned queue = 0;
    Chain chain;
    u32 data_written = 0;  // bytes that the guest gets besides the status
  };
  using Requests = std::list<std::shared_ptr<Pending>>;

  void process(unsigned queue);
  void handle(const std::shared_ptr<Pending>& pending);
  void handle_data(const std::shared_ptr<Pending>& pending, bool write, u64 sector);
  void handle_range(const std::shared_ptr<Pending>& pending, bool discard);
  void handle_id(const std::shared_ptr<Pending>& pending);
  void submit(const std::shared_ptr<Pending>& pending, block::Request request);
  void complete(const std::shared_ptr<Pending>& pending, const block::IoResult& result);
  void finish(const std::shared_ptr<Pending>& pending, u8 status);
  void publish(unsigned queue);
  void report_broken();
  bool writes_through() const;
  std::array<u8, 60> config_space() const;
  void restore_requests(Visitor& visitor);

  VirtioBlkConfig config_;
  std::string name_;
  Log& log_;
  EventLoop& loop_;
  block::Drive* drive_;
  bool attached_ = false;
  std::vector<Virtqueue> queues_;
  Requests requests_;
  std::vector<std::shared_ptr<Pending>> spare_;
  u64 features_ = 0;
  bool driver_ready_ = false;
  bool writeback_ = true;
  bool batching_ = false;  // process() publishes at its end
  std::shared_ptr<VirtioBlk*> self_;
};

}  // namespace rhea::devices
