// SPDX-License-Identifier: MIT
// virtio-balloon-device (VIRTIO 1.2, section 5.5): the guest gives pages back to the host. Queues: inflate, deflate,
// statistics, and with free-page-reporting pages that the guest has free just now.
#include <array>
#include <atomic>

#include "core/balloon.h"
#include "devices/virtio/virtio_queues.h"
#include "memory/discard.h"

namespace rhea::devices {
namespace {

struct Config : VirtioCommonConfig {
  bool deflate_on_oom = false, free_page_hint = false, free_page_reporting = false, page_poison = true;
  u32 polling_interval = 0;
};
constexpr Property kProperties[] = {
    property<&Config::deflate_on_oom>("deflate-on-oom", PropertyKind::boolean,
                                      "a guest out of memory may take pages back"),
    property<&Config::free_page_hint>("free-page-hint", PropertyKind::boolean, "not supported: off"),
    property<&Config::free_page_reporting>("free-page-reporting", PropertyKind::boolean,
                                           "the guest tells which pages are free"),
    property<&Config::polling_interval>("guest-stats-polling-interval", PropertyKind::number,
                                        "seconds between questions for statistics; 0: none"),
    property<&Config::page_poison>("page-poison", PropertyKind::boolean,
                                   "the guest tells what it fills free pages with"),
    RHEA_VIRTIO_PROPERTIES(Config),
};

constexpr u64 kStatsQueue = 1u << 1, kDeflateOnOom = 1u << 2, kPagePoison = 1u << 4, kReporting = 1u << 5;
enum Queue : unsigned { kInflate, kDeflate, kStatistics, kReports };
constexpr u32 kDeviceId = 5;
constexpr u16 kQueueSize = 128;
constexpr unsigned kPageShift = 12;  // of the pages that the protocol counts in
constexpr usize kMostPages = 4096;   // read of a chain at once
constexpr unsigned kBatch = 32;
// Tags of section 5.5.6.3, as monitors name them.
constexpr std::array<const char*, 10> kTags = {
    "stat-swap-in",      "stat-swap-out",         "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches",  "stat-htlb-pgalloc", "stat-htlb-pgfail"};
constexpr usize kStatSize = 10;

class VirtioBalloon final : public VirtioQueues, public Balloon {
 public:
  VirtioBalloon(const DeviceContext& context, const Config& config)
      : VirtioQueues(context, features_of(config), kQueueSize, queue_names(config)), config_(config),
        clock_(context.clock), memory_(context.memory), machine_(context.machine), ram_size_(context.ram_size),
        again_(clock_.timer([this] { run_all(); })), poll_(clock_.timer([this] { ask(); })) {}

  u32 device_id() const override { return kDeviceId; }
  u32 read_config(u32 offset, unsigned size) override {
    std::array<u8, 16> space{};
    store_le<u32>(&space[0], wanted_pages_);
    store_le<u32>(&space[4], actual_pages_);
    store_le<u32>(&space[12], poison_);
    return read_config_bytes(space, offset, size);
  }
  void write_config(u32 offset, u32 value, unsigned size) override {
    const u32 before = actual_pages_;
    for (unsigned i = 0; i < size; ++i) {  // legacy drivers write the bytes one by one
      const u32 at = offset + i, byte = value >> (8 * i) & 0xff;
      if (at / 4 == 1) actual_pages_ = with_bits<u32>(actual_pages_, at % 4 * 8, 8, byte);
      if (at / 4 == 3) poison_ = with_bits<u32>(poison_, at % 4 * 8, 8, byte);
    }
    if (actual_pages_ != before) machine_.tell("BALLOON_CHANGE", fmt::format("{{\"actual\": {}}}", actual()));
  }

  void set_target(u64 bytes) override {
    wanted_pages_ = static_cast<u32>((ram_size_ - std::min(bytes, ram_size_)) >> kPageShift);
    if (transport_) transport_->interrupt_config();
  }
  u64 actual() const override { return ram_size_ - (u64{std::min(actual_pages_, most_pages())} << kPageShift); }
  std::vector<std::pair<std::string, u64>> statistics() const override { return statistics_; }

  void reset(ResetKind kind) override {
    VirtioQueues::reset(kind);
    poison_ = 0;
  }
  void fields(Visitor& visitor) override {
    VirtioQueues::fields(visitor);
    visitor.field("wanted_pages", wanted_pages_);
    visitor.field("actual_pages", actual_pages_);
    visitor.field("poison", poison_);
    visitor.field("question", has_question_);
    visitor.field("question_head", question_);
    if (!visitor.restoring()) return;
    arm_poll();
    if (ready()) again_->arm(clock_.now());
  }

 private:
  static u64 features_of(const Config& config) {
    return kStatsQueue | (config.deflate_on_oom ? kDeflateOnOom : 0) | (config.free_page_reporting ? kReporting : 0) |
           (config.page_poison ? kPagePoison : 0) | config.features();
  }
  static std::vector<std::string> queue_names(const Config& config) {
    std::vector<std::string> names = {"inflate", "deflate", "statistics"};
    if (config.free_page_reporting) names.push_back("reports");
    return names;
  }
  u32 most_pages() const { return static_cast<u32>(ram_size_ >> kPageShift); }

  void session_ended() override {
    actual_pages_ = 0;
    statistics_.clear();
    again_->cancel();
    poll_->cancel();
  }
  void driver_changed() override { arm_poll(); }
  void queue_stopped(unsigned index) override {
    if (index == kStatistics) has_question_ = false;
  }
  void run_all() {
    for (unsigned i = 0; i < queue_count(); ++i) notify(i);
  }
  void run_queue(unsigned index) override {
    unsigned done = 0;
    for (; done < kBatch && take(index, chain_); ++done) {
      if (index == kStatistics) {
        take_statistics();
        continue;
      }
      if (index == kInflate) inflate();
      if (index == kReports) discard_reported();
      queue(index).give_back(chain_.head, 0);
    }
    publish(index);
    if (queue(index).enable_notification()) again_->arm(clock_.now());
  }

  // The chain lists page numbers.
  void inflate() {
    for (usize at = 0; at + 4 <= chain_.readable_bytes; at += pages_.size() * 4) {
      pages_.resize(std::min<usize>(kMostPages, (chain_.readable_bytes - at) / 4));
      Virtqueue::read(chain_, at, pages_.data(), pages_.size() * 4);
      for (const u32 page : pages_) discard(u64{page} << kPageShift, u64{1} << kPageShift);
    }
  }
  void discard_reported() {
    // A guest that fills its free pages with something, and relies on it, keeps them.
    if ((features() & kPagePoison) && poison_) return;
    for (const GuestBuffer& buffer : chain_.writable) discard(buffer.address, buffer.size);
  }
  // RAM that lies wholly in whole pages is given back; it reads as zero when it is used again.
  void discard(u64 address, u64 size) {
    const std::span<u8> mapped = memory_.map(address, size, true);
    const memory::Range* range = memory_.find(address);
    if (mapped.size() != size || !range || !range->ram) {
      log_.guest_error("{}: page at {:#x}, where there is no RAM", name_, address);
      return;
    }
    memory::discard(*range->ram, range->ram_offset + (address - range->base), size);
    memory_.wrote(mapped, address);
  }

  // The guest's buffer is the next question: it is given back when statistics are wanted.
  void take_statistics() {
    std::array<u8, kStatSize * 32> bytes;
    const usize size = std::min<u64>(chain_.readable_bytes, bytes.size());
    Virtqueue::read(chain_, 0, bytes.data(), size);
    statistics_.clear();
    for (usize at = 0; at + kStatSize <= size; at += kStatSize) {
      const u16 tag = load_le<u16>(&bytes[at]);
      if (tag < kTags.size()) statistics_.emplace_back(kTags[tag], load_le<u64>(&bytes[at + 2]));
    }
    if (has_question_) queue(kStatistics).give_back(question_, 0);
    question_ = chain_.head;
    has_question_ = true;
  }
  void arm_poll() {
    if (ready() && config_.polling_interval) poll_->arm(clock_.now() + config_.polling_interval * kSecond);
    else poll_->cancel();
  }
  void ask() {
    if (has_question_ && queue(kStatistics).running()) {
      queue(kStatistics).give_back(question_, 0);
      has_question_ = false;
      publish(kStatistics);
    }
    arm_poll();
  }

  Config config_;
  Clock& clock_;
  memory::AddressSpace& memory_;
  MachineRequests& machine_;
  u64 ram_size_;
  std::unique_ptr<Timer> again_, poll_;
  u32 wanted_pages_ = 0, actual_pages_ = 0, poison_ = 0;
  bool has_question_ = false;
  u16 question_ = 0;
  std::vector<std::pair<std::string, u64>> statistics_;
  std::vector<u32> pages_;
  Chain chain_;
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* given) {
  const Config& config = *static_cast<const Config*>(given);
  RHEA_TRY(config.check("virtio-balloon-device"));
  if (config.free_page_hint)
    return Error("virtio-balloon-device: free-page-hint=on is not supported yet; leave it off");
  return std::unique_ptr<Device>(std::make_unique<VirtioBalloon>(context, config));
}

}  // namespace

extern const DeviceType virtio_balloon_device;
const DeviceType virtio_balloon_device = {
    .name = "virtio-balloon-device",
    .bus = Bus::virtio,
    .category = Category::misc,
    .summary = "virtio memory balloon",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
