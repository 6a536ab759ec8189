// SPDX-License-Identifier: MIT
// virtio-9p-device (VIRTIO 1.2 lists it as device 9; its layout is Linux' include/uapi/linux/virtio_9p.h): a folder of
// the host for the guest. Each message is answered before the notification returns.
#include <array>

#include "devices/virtio/p9_server.h"
#include "devices/virtio/virtio_queues.h"
#include "util/text.h"

namespace rhea::devices {
namespace {

struct Config : VirtioCommonConfig {
  std::string fsdev, mount_tag;
};
constexpr Property kProperties[] = {
    property<&Config::fsdev>("fsdev", PropertyKind::text, "ID of a -fsdev"),
    property<&Config::mount_tag>("mount_tag", PropertyKind::text, "the name that the guest mounts"),
    RHEA_VIRTIO_PROPERTIES(Config),
};

constexpr u32 kDeviceId = 9;
constexpr u16 kQueueSize = 128;
constexpr u64 kMountTagFeature = 1;
constexpr usize kMostTag = 65535;
constexpr unsigned kBatch = 64;  // messages at one notification
constexpr u32 kIoError = 5;      // EIO

class Virtio9p final : public VirtioQueues {
 public:
  Virtio9p(const DeviceContext& context, const Config& config, fsdev::Share& share)
      : VirtioQueues(context, kMountTagFeature | config.features(), kQueueSize, {"requests"}), clock_(context.clock),
        server_(share, context.log), timer_(clock_.timer([this] { notify(0); })) {
    config_space_.resize(2);
    store_le<u16>(config_space_.data(), static_cast<u16>(config.mount_tag.size()));
    config_space_.insert(config_space_.end(), config.mount_tag.begin(), config.mount_tag.end());
  }
  u32 device_id() const override { return kDeviceId; }
  u32 read_config(u32 offset, unsigned size) override { return read_config_bytes(config_space_, offset, size); }
  void fields(Visitor& visitor) override {
    VirtioQueues::fields(visitor);
    server_.fields(visitor);
    if (visitor.restoring() && ready()) timer_->arm(clock_.now());
  }

 private:
  void session_ended() override {
    server_.reset();
    timer_->cancel();
  }
  void run_queue(unsigned) override {
    unsigned done = 0;
    for (; done < kBatch && take(0, chain_); ++done) answer();
    publish(0);
    if (done == kBatch || queue(0).enable_notification()) timer_->arm(clock_.now());
  }
  void answer() {
    request_.resize(std::min<u64>(chain_.readable_bytes, p9::Server::kMostMessage));
    Virtqueue::read(chain_, 0, request_.data(), request_.size());
    std::vector<u8> reply = server_.handle(request_);
    if (reply.size() > chain_.writable_bytes) {
      log_.guest_error("{}: an answer of {} bytes for a buffer of {}", name_, reply.size(), chain_.writable_bytes);
      const u16 tag = load_le<u16>(&reply[5]);
      reply.assign(11, 0);  // Rlerror
      store_le<u32>(reply.data(), 11);
      reply[4] = 7;
      store_le<u16>(&reply[5], tag);
      store_le<u32>(&reply[7], kIoError);
    }
    const usize written = queue(0).write(chain_, 0, reply.data(), reply.size());
    queue(0).give_back(chain_.head, static_cast<u32>(written));
  }

  Clock& clock_;
  p9::Server server_;
  std::unique_ptr<Timer> timer_;
  std::vector<u8> config_space_;
  std::vector<u8> request_;
  Chain chain_;
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* given) {
  const Config& config = *static_cast<const Config*>(given);
  RHEA_TRY(config.check("virtio-9p-device"));
  if (config.fsdev.empty())
    return Error("virtio-9p-device: 'fsdev' names no -fsdev: give -fsdev local,id=ID,... and fsdev=ID");
  fsdev::Share* share = context.fsdevs ? context.fsdevs->find(config.fsdev) : nullptr;
  if (!share) {
    const auto ids = context.fsdevs ? context.fsdevs->ids() : std::vector<std::string>();
    return Error("9pfs device couldn't find fsdev with the id = {}{}", config.fsdev,
                 ids.empty() ? std::string() : fmt::format(" (there are: {})", join(ids, ", ")));
  }
  if (config.mount_tag.empty())
    return Error("virtio-9p-device: 'mount_tag' is missing: the name that the guest mounts");
  if (config.mount_tag.size() > kMostTag)
    return Error("virtio-9p-device: a mount_tag of {} bytes: it has {} at most", config.mount_tag.size(), kMostTag);
  return std::unique_ptr<Device>(std::make_unique<Virtio9p>(context, config, *share));
}

}  // namespace

extern const DeviceType virtio_9p_device;
const DeviceType virtio_9p_device = {
    .name = "virtio-9p-device",
    .bus = Bus::virtio,
    .category = Category::storage,
    .summary = "virtio file system: a folder of the host (9P2000.L)",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
