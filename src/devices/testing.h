// SPDX-License-Identifier: MIT
// Fakes of everything that a device is given: a clock that a test steps, loops that run posted work when they are
// told to, lines that remember their level, a chardev and a network peer in memory. For tests and fuzz targets.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "block/drive.h"
#include "block/node.h"
#include "devices/device_type.h"
#include "memory/ram.h"
#include "util/bits.h"

namespace rhea::devices::testing {

class FakeClock : public Clock {
 public:
  s64 now() const override { return now_; }
  std::unique_ptr<Timer> timer(std::function<void()> callback) override {
    return std::make_unique<FakeTimer>(*this, std::move(callback));
  }
  // Steps, firing what is due in order.
  void advance(s64 nanoseconds) {
    const s64 end = now_ + nanoseconds;
    for (unsigned fired = 0; fired < 100'000; ++fired) {
      const auto next = armed_.begin();
      if (next == armed_.end() || next->first > end) break;
      now_ = std::max(now_, next->first);
      FakeTimer* timer = next->second;
      timer->cancel();
      ++fired_;
      timer->callback_();
    }
    now_ = end;
  }
  usize armed() const { return armed_.size(); }
  unsigned fired() const { return fired_; }

 private:
  class FakeTimer : public Timer {
   public:
    FakeTimer(FakeClock& clock, std::function<void()> callback) : callback_(std::move(callback)), clock_(clock) {}
    ~FakeTimer() override { cancel(); }
    void arm(s64 deadline) override {
      cancel();
      if (deadline == kNever) return;
      place_ = clock_.armed_.emplace(deadline, this);
      deadline_ = deadline;
    }
    void cancel() override {
      if (deadline_ != kNever) clock_.armed_.erase(place_);
      deadline_ = kNever;
    }
    s64 deadline() const override { return deadline_; }
    std::function<void()> callback_;

   private:
    FakeClock& clock_;
    s64 deadline_ = kNever;
    std::multimap<s64, FakeTimer*>::iterator place_;
  };
  s64 now_ = 0;
  unsigned fired_ = 0;
  std::multimap<s64, FakeTimer*> armed_;
};

class FakeLoop : public EventLoop {
 public:
  void post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  std::unique_ptr<FdWatch> watch(int, u32, std::function<void(u32)>) override { return nullptr; }
  Clock& real_clock() override { return clock_; }
  RecursiveLock& lock() override { return lock_; }
  bool on_loop_thread() const override { return true; }
  // Runs what is posted, and what that posts; at most `limit` pieces. Returns how many ran.
  unsigned run(unsigned limit = 10'000) {
    unsigned ran = 0;
    for (; ran < limit && !posted_.empty(); ++ran) {
      auto work = std::move(posted_.front());
      posted_.pop_front();
      work();
    }
    return ran;
  }
  usize posted() const { return posted_.size(); }

 private:
  FakeClock clock_;
  RecursiveLock lock_;
  std::deque<std::function<void()>> posted_;
};

class FakeIrqs : public IrqSink {
 public:
  explicit FakeIrqs(unsigned count) : levels(count), rises(count) {
    for (unsigned i = 0; i < count; ++i) lines.emplace_back(*this, i);
  }
  void set_irq(unsigned input, bool level) override {
    if (level && !levels[input]) ++rises[input];
    levels[input] = level;
  }
  std::vector<u8> levels;
  std::vector<unsigned> rises;
  std::vector<IrqLine> lines;
};

class FakeMachine : public MachineRequests {
 public:
  void request_shutdown() override { ++shutdowns; }
  void request_reset() override { ++resets; }
  void tell(std::string event, std::string data, const Device*) override { told.push_back(event + " " + data); }
  std::vector<std::string> told;
  unsigned shutdowns = 0, resets = 0;
};

class FakeChardev : public chardev::Backend {
 public:
  void write(std::span<const u8> data) override { output.append(data.begin(), data.end()); }
  void set_frontend(chardev::Frontend* to) override { frontend = to; }
  void accept_input() override { feed(); }
  std::string description() const override { return "fake"; }
  void type(std::string_view text) {
    waiting += text;
    feed();
  }
  std::string output, waiting;
  chardev::Frontend* frontend = nullptr;

 private:
  void feed() {
    while (frontend && !waiting.empty()) {
      const usize take = std::min(waiting.size(), frontend->can_receive());
      if (!take) break;
      const std::string part = waiting.substr(0, take);
      waiting.erase(0, take);
      frontend->receive({reinterpret_cast<const u8*>(part.data()), part.size()});
    }
  }
};

// A port that keeps what it gets.
class FakePeer : public net::Port {
 public:
  FakePeer() : Port("peer") {}
  net::Caps caps() const override { return takes; }
  net::Sent send(const net::Frame& frame) override {
    if (busy) return net::Sent::busy;
    std::vector<u8> bytes(frame.size());
    frame.copy(0, bytes.data(), bytes.size());
    frames.push_back(std::move(bytes));
    offloads.push_back(frame.offload);
    return net::Sent::taken;
  }
  void on_room() override { ++rooms; }
  void on_link(bool) override { ++links; }
  std::string type() const override { return "fake"; }
  std::string info() const override { return ""; }
  net::Sent give(std::vector<u8> bytes, net::Offload offload = {}) {
    const net::Piece piece{bytes.data(), bytes.size()};
    return peer()->send({{&piece, 1}, offload});
  }
  net::Caps takes;
  bool busy = false;
  unsigned rooms = 0, links = 0;
  std::vector<std::vector<u8>> frames;
  std::vector<net::Offload> offloads;
};

// A disk in memory. Each of the next `failures` requests fails.
class FakeDisk : public block::Node {
 public:
  struct State {
    std::vector<u8> bytes;
    bool read_only = false;
    unsigned failures = 0, flushes = 0, writes = 0, reads = 0;
  };
  explicit FakeDisk(std::shared_ptr<State> state) : state_(std::move(state)) {}
  u64 size() const override { return state_->bytes.size(); }
  bool read_only() const override { return state_->read_only; }
  Result<void> read(u64 offset, block::Segments segments) override {
    ++state_->reads;
    RHEA_TRY(check());
    block::copy_to(segments, state_->bytes.data() + offset);
    return {};
  }
  Result<void> write(u64 offset, block::Segments segments) override {
    ++state_->writes;
    RHEA_TRY(check());
    block::copy_from(segments, state_->bytes.data() + offset);
    return {};
  }
  Result<void> write_zeroes(u64 offset, u64 size, bool) override {
    RHEA_TRY(check());
    std::fill_n(state_->bytes.begin() + static_cast<std::ptrdiff_t>(offset), size, u8{0});
    return {};
  }
  Result<void> discard(u64, u64) override { return check(); }
  Result<void> flush() override {
    ++state_->flushes;
    return check();
  }
  Result<void> resize(u64 size, block::Preallocation) override {
    state_->bytes.resize(size);
    return {};
  }
  Result<block::Mapping> map(u64 offset, u64 size) override {
    return block::Mapping{.offset = offset, .size = size, .data = true, .allocated = true};
  }
  void describe(block::ImageInfo& info) const override { info.format = format_name(); }
  std::string format_name() const override { return "raw"; }
  std::string filename() const override { return "fake.img"; }

 private:
  Result<void> check() {
    if (state_->failures == 0) return {};
    --state_->failures;
    return Error("the disk is broken");
  }
  std::shared_ptr<State> state_;
};

// A machine of fakes with RAM at kRamBase.
class Bench {
 public:
  static constexpr u64 kRamBase = 0x60000000;
  static constexpr u64 kRamSize = 0x400000;

  explicit Bench(unsigned irq_count = 16) : irqs(irq_count) {
    space.begin();
    space.add_ram(kRamBase, *ram, 0, kRamSize, false, "ram");
    space.commit();
  }
  DeviceContext context(std::string id = "device") {
    return {id,
            space,
            loop,
            net_loop,
            clock,
            host_clock,
            log,
            machine,
            irqs.lines,
            cpus,
            kRamSize,
            chardev_given ? &chardev : nullptr,
            peer_given ? &peer : nullptr,
            drive.get(),
            nullptr,
            &screens,
            &inputs,
            &audio,
            &fsdevs};
  }
  // Devices made from now on have a disk of that size; its requests end within start().
  void insert_disk(u64 bytes) {
    disk = std::make_shared<FakeDisk::State>();
    disk->bytes.resize(bytes);
    drive = std::make_unique<block::Drive>(loop, block::DriveConfig{.id = "disk"}, nullptr);
    drive->insert(fake_image());
    drive->set_synchronous(true);
  }
  std::unique_ptr<block::Image> fake_image() {
    return std::make_unique<block::Image>(std::make_unique<FakeDisk>(disk), block::ImageSpec{.filename = "fake.img"});
  }
  // A device of a type with some properties set; nullptr (and a failed test) when it cannot be made.
  template <typename T = SysbusDevice>
  std::unique_ptr<T> make(std::string_view type_name,
                          std::vector<std::pair<std::string, std::string>> properties = {}) {
    const DeviceType* type = find_device_type(type_name);
    if (!type) return nullptr;
    auto config = type->make_config();
    for (const auto& [name, value] : properties)
      if (!set_property(type->properties, type->name, config.get(), name, value).ok()) return nullptr;
    auto device = type->create(context(std::string(type_name)), config.get());
    if (!device.ok()) return nullptr;
    std::unique_ptr<T> result(dynamic_cast<T*>(device.value().release()));
    if (result) result->reset(ResetKind::power_on);
    return result;
  }
  static u32 read(SysbusDevice& device, unsigned window, u64 offset, unsigned size = 4, u16 cpu = 0) {
    memory::Attributes who;
    who.cpu = cpu;
    return static_cast<u32>(device.windows()[window].handler->read(offset, size, who).value);
  }
  static void write(SysbusDevice& device, unsigned window, u64 offset, u32 value, unsigned size = 4, u16 cpu = 0) {
    memory::Attributes who;
    who.cpu = cpu;
    device.windows()[window].handler->write(offset, value, size, who);
  }

  Log log;
  FakeClock clock, host_clock;
  FakeLoop loop, net_loop;
  display::Screens screens;
  display::Inputs inputs{clock};
  audio::Backends audio;
  fsdev::Shares fsdevs;
  FakeIrqs irqs;
  FakeMachine machine;
  FakeChardev chardev;
  FakePeer peer;
  bool chardev_given = true, peer_given = true;
  unsigned cpus = 2;
  std::shared_ptr<FakeDisk::State> disk;
  std::unique_ptr<block::Drive> drive;
  std::unique_ptr<memory::RamBlock> ram = memory::RamBlock::create("ram", kRamSize).take();
  memory::AddressSpace space{"memory", log};
};

// Saves and restores a device's fields in memory.
class FieldStore : public Visitor {
 public:
  void save(Device& device) {
    restoring_ = false;
    fields_.clear();
    device.fields(*this);
  }
  void restore(Device& device) {
    restoring_ = true;
    at_ = 0;
    device.fields(*this);
  }
  void number(std::string_view name, u64& value, unsigned bytes) override { raw(name, &value, sizeof value); }
  void bytes(std::string_view name, std::vector<u8>& value, usize limit) override {
    if (restoring_) value = next(name);
    else fields_.emplace_back(path_ + std::string(name), value);
  }
  void raw(std::string_view name, void* data, usize size) override {
    if (restoring_) {
      const std::vector<u8>& stored = next(name);
      std::memcpy(data, stored.data(), std::min(size, stored.size()));
    } else {
      const u8* from = static_cast<const u8*>(data);
      fields_.emplace_back(path_ + std::string(name), std::vector<u8>(from, from + size));
    }
  }
  unsigned begin(std::string_view name, unsigned version) override {
    path_ += std::string(name) + "/";
    return version;
  }
  void end() override {
    path_.pop_back();
    path_.resize(path_.rfind('/') + 1);
  }
  bool restoring() const override { return restoring_; }
  const std::vector<std::pair<std::string, std::vector<u8>>>& all() const { return fields_; }

 private:
  const std::vector<u8>& next(std::string_view) { return fields_.at(at_++).second; }
  std::vector<std::pair<std::string, std::vector<u8>>> fields_;
  std::string path_;
  usize at_ = 0;
  bool restoring_ = false;
};

}  // namespace rhea::devices::testing
