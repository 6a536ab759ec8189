// SPDX-License-Identifier: MIT
// The record of virtio-blk-device: its properties and what they may be.
#include "devices/block/virtio_blk.h"
#include "util/bits.h"

namespace rhea::devices {
namespace {

using C = VirtioBlkConfig;
constexpr PropertyKind kBool = PropertyKind::boolean;
constexpr PropertyKind kNumber = PropertyKind::number;
constexpr PropertyKind kSize = PropertyKind::size;
constexpr PropertyKind kText = PropertyKind::text;

constexpr Property kProperties[] = {
    property<&C::any_layout>("any_layout", kBool, "on/off"),
    property<&C::config_wce>("config-wce", kBool, "the guest may turn the write cache on and off"),
    property<&C::cyls>("cyls", kNumber, "cylinders that the guest is told"),
    property<&C::discard>("discard", kBool, "the guest may discard"),
    property<&C::discard_granularity>("discard_granularity", kSize, "bytes; 4294967295: the logical block's"),
    property<&C::drive>("drive", kText, "Node name or ID of a block device to use as a backend"),
    property<&C::event_idx>("event_idx", kBool, "event indices in the rings"),
    property<&C::heads>("heads", kNumber, "heads that the guest is told"),
    property<&C::indirect_desc>("indirect_desc", kBool, "indirect descriptors"),
    property<&C::iommu_platform>("iommu_platform", kBool, "not supported: off"),
    property<&C::iothread>("iothread", kText, "not supported: requests are started where the guest notifies"),
    property<&C::logical_block_size>("logical_block_size", kSize, "A power of two between 512 B and 2 MiB"),
    property<&C::max_discard_sectors>("max-discard-sectors", kNumber, "of 512 bytes, in a request"),
    property<&C::max_write_zeroes_sectors>("max-write-zeroes-sectors", kNumber, "of 512 bytes, in a request"),
    property<&C::min_io_size>("min_io_size", kSize, "bytes; a hint for the guest"),
    property<&C::notify_on_empty>("notify_on_empty", kBool, "an interrupt when a queue has run empty (legacy)"),
    property<&C::num_queues>("num-queues", kNumber, "request queues, 1 to 64"),
    property<&C::opt_io_size>("opt_io_size", kSize, "bytes; a hint for the guest"),
    property<&C::packed>("packed", kBool, "not supported: off"),
    property<&C::physical_block_size>("physical_block_size", kSize, "A power of two between 512 B and 2 MiB"),
    property<&C::queue_size>("queue-size", kNumber, "entries of a queue, a power of two from 4 to 1024"),
    property<&C::queue_reset>("queue_reset", kBool, "queues can be reset one by one"),
    property<&C::rerror>("rerror", kText, "Error handling policy (report/ignore/stop/auto)"),
    property<&C::scsi>("scsi", kBool, "not supported: off"),
    property<&C::secs>("secs", kNumber, "sectors of a track that the guest is told"),
    property<&C::seg_max_adjust>("seg-max-adjust", kBool, "as many segments in a request as the queue has room for"),
    property<&C::serial>("serial", kText, "what the guest reads as the disk's serial number, 20 characters"),
    property<&C::werror>("werror", kText, "Error handling policy (report/ignore/enospc/stop/auto)"),
    property<&C::write_cache>("write-cache", kText, "on/off/auto"),
    property<&C::write_zeroes>("write-zeroes", kBool, "the guest may have zeros written"),
};

Result<void> check_blocks(const C& config) {
  const auto block_ok = [](u32 size) { return is_power_of_two(size) && size >= 512 && size <= 2u << 20; };
  if (!block_ok(config.logical_block_size))
    return Error("logical_block_size={}: a power of 2 between 512 and 2097152", config.logical_block_size);
  if (!block_ok(config.physical_block_size))
    return Error("physical_block_size={}: a power of 2 between 512 and 2097152", config.physical_block_size);
  if (config.logical_block_size > config.physical_block_size)
    return Error("logical_block_size > physical_block_size not supported");
  if (config.min_io_size % config.logical_block_size)
    return Error("min_io_size must be a multiple of logical_block_size");
  if (config.opt_io_size % config.logical_block_size)
    return Error("opt_io_size must be a multiple of logical_block_size");
  if (config.discard_granularity != ~0u && config.discard_granularity % config.logical_block_size)
    return Error("discard_granularity must be a multiple of logical_block_size");
  if (config.heads > 255 || config.secs > 255 || config.cyls > 65535)
    return Error("a geometry of {} cylinders, {} heads, {} sectors: at most 65535, 255 and 255", config.cyls,
                 config.heads, config.secs);
  return {};
}

Result<void> check(const C& config) {
  const struct {
    const char* name;
    bool on;
  } unsupported[] = {{"packed", config.packed}, {"iommu_platform", config.iommu_platform}, {"scsi", config.scsi}};
  for (const auto& [name, on] : unsupported)
    if (on) return Error("virtio-blk-device: {}=on is not supported yet; leave it off", name);
  if (!config.iothread.empty()) return Error("virtio-blk-device: iothread is not supported: requests need none here");
  if (config.num_queues < 1 || config.num_queues > 64)
    return Error("num-queues property must be larger than 0 and at most 64");
  if (config.queue_size < 4 || config.queue_size > 1024 || !is_power_of_two(config.queue_size))
    return Error("invalid queue-size property ({}), must be a power of 2 from 4 to 1024", config.queue_size);
  constexpr u32 kMostSectors = 0x3fffff;
  if (config.max_discard_sectors < 1 || config.max_discard_sectors > kMostSectors)
    return Error("invalid max-discard-sectors property ({}), must be between 1 and {}", config.max_discard_sectors,
                 kMostSectors);
  if (config.max_write_zeroes_sectors < 1 || config.max_write_zeroes_sectors > kMostSectors)
    return Error("invalid max-write-zeroes-sectors property ({}), must be between 1 and {}",
                 config.max_write_zeroes_sectors, kMostSectors);
  if (config.write_cache != "auto" && config.write_cache != "on" && config.write_cache != "off")
    return Error("Parameter 'write-cache' expects 'on', 'off' or 'auto', not '{}'", config.write_cache);
  return check_blocks(config);
}

// -device's own policies come before those of -drive.
Result<void> set_policies(block::Drive& drive, const C& config) {
  block::ErrorAction write = drive.config().write_error, read = drive.config().read_error;
  if (config.werror != "auto") write = RHEA_TRY(block::parse_error_action(config.werror, false));
  if (config.rerror != "auto") read = RHEA_TRY(block::parse_error_action(config.rerror, true));
  drive.set_error_actions(write, read);
  return {};
}

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  const C& given = *static_cast<const C*>(config);
  RHEA_TRY(check(given));
  auto device = std::make_unique<VirtioBlk>(context, given);
  RHEA_TRY(device->connect());
  RHEA_TRY(set_policies(*context.drive, given));
  return std::unique_ptr<Device>(std::move(device));
}

}  // namespace

extern const DeviceType virtio_blk_device;
const DeviceType virtio_blk_device = {
    .name = "virtio-blk-device",
    .bus = Bus::virtio,
    .category = Category::storage,
    .summary = "virtio disk",
    .properties = kProperties,
    .make_config = default_config<C>,
    .create = create,
};

}  // namespace rhea::devices
