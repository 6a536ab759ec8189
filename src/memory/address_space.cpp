// SPDX-License-Identifier: MIT
// The flat view is a sorted vector of ranges that do not overlap, made once at commit() from the list of what
// was added: a later range cuts holes into earlier ones. Old views are kept until the space goes, as readers take
// no reference; layouts change a handful of times in a machine's life.
#include "memory/address_space.h"

#include <algorithm>
#include <cstring>

#include "util/bits.h"

namespace rhea::memory {

struct AddressSpace::View {
  std::vector<Range> ranges;
  std::vector<u64> bases;  // of the ranges, close together for find()
};

namespace {

// Puts `added` over what is there.
void overlay(std::vector<Range>& ranges, const Range& added) {
  std::vector<Range> result;
  for (const Range& old : ranges) {
    if (old.end() <= added.base || added.end() <= old.base) {
      result.push_back(old);
      continue;
    }
    if (old.base < added.base) {
      Range left = old;
      left.size = added.base - old.base;
      result.push_back(left);
    }
    if (added.end() < old.end()) {
      Range right = old;
      if (old.ram) right.ram_offset += added.end() - old.base;
      if (old.device) right.device_offset += added.end() - old.base;
      right.size = old.end() - added.end();
      right.base = added.end();
      result.push_back(right);
    }
  }
  result.push_back(added);
  std::sort(result.begin(), result.end(), [](const Range& a, const Range& b) { return a.base < b.base; });
  ranges = std::move(result);
}

}  // namespace

AddressSpace::AddressSpace(std::string name, Log& log) : name_(std::move(name)), log_(log) {
  views_.push_back(std::make_unique<View>());
  view_.store(views_.back().get());
}

AddressSpace::~AddressSpace() = default;

void AddressSpace::begin() {
  mutex_.lock();
  building_ = view_.load()->ranges;
}

void AddressSpace::clear() { building_.clear(); }

void AddressSpace::add_ram(u64 base, RamBlock& ram, u64 offset, u64 size, bool read_only, std::string name) {
  Range range;
  range.base = base;
  range.size = size;
  range.name = std::move(name);
  range.ram = &ram;
  range.ram_offset = offset;
  range.read_only = read_only;
  overlay(building_, range);
}

void AddressSpace::add_device(u64 base, u64 size, MmioHandler& device, RecursiveLock* lock, std::string name) {
  Range range;
  range.base = base;
  range.size = size;
  range.name = std::move(name);
  range.device = &device;
  range.lock = lock;
  overlay(building_, range);
}

void AddressSpace::add_rom_device(u64 base, RamBlock& ram, u64 size, MmioHandler& device, RecursiveLock* lock,
                                  const std::atomic<bool>& direct, std::string name) {
  Range range;
  range.base = base;
  range.size = size;
  range.name = std::move(name);
  range.ram = &ram;
  range.read_only = true;
  range.device = &device;
  range.lock = lock;
  range.direct = &direct;
  overlay(building_, range);
}

void AddressSpace::commit() {
  auto view = std::make_unique<View>();
  view->ranges = std::move(building_);
  for (const Range& range : view->ranges) view->bases.push_back(range.base);
  view_.store(view.get());
  views_.push_back(std::move(view));
  const std::vector<Listener*> listeners = listeners_;
  mutex_.unlock();
  for (Listener* listener : listeners) listener->layout_changed();
}

void AddressSpace::add_listener(Listener& listener) {
  std::lock_guard lock(mutex_);
  listeners_.push_back(&listener);
}

void AddressSpace::remove_listener(Listener& listener) {
  std::lock_guard lock(mutex_);
  std::erase(listeners_, &listener);
}

const Range* AddressSpace::find_in(const View& view, u64 address) const {
  const auto above = std::upper_bound(view.bases.begin(), view.bases.end(), address);
  if (above == view.bases.begin()) return nullptr;
  const Range& range = view.ranges[static_cast<usize>(above - view.bases.begin()) - 1];
  return address - range.base < range.size ? &range : nullptr;
}

const Range* AddressSpace::find(u64 address) const { return find_in(*view_.load(), address); }

std::vector<Range> AddressSpace::ranges() const { return view_.load()->ranges; }

namespace {

// Makes a device's access under its lock, when the gate lets it.
template <typename Result, typename Access>
Result with_device(const Range& range, const Attributes& attributes, Result abandoned, const Access& access) {
  for (;;) {
    {
      std::unique_lock<RecursiveLock> lock;
      if (range.lock) {
        lock = std::unique_lock(*range.lock, std::try_to_lock);
        if (!lock && attributes.gate) attributes.gate->about_to_wait();
        if (!lock) lock.lock();
      }
      const AccessGate::Answer answer = attributes.gate ? attributes.gate->ask() : AccessGate::Answer::go;
      if (answer == AccessGate::Answer::go) return access();
      if (answer == AccessGate::Answer::abandon) return abandoned;
    }
    attributes.gate->wait();
  }
}

}  // namespace

ReadResult read_device(const Range& range, u64 address, unsigned size, const Attributes& attributes) {
  return with_device(range, attributes, ReadResult{0, true},
                     [&] { return range.device->read(address - range.base + range.device_offset, size, attributes); });
}

bool write_device(const Range& range, u64 address, u64 value, unsigned size, const Attributes& attributes) {
  return with_device(range, attributes, true, [&] {
    return range.device->write(address - range.base + range.device_offset, value, size, attributes);
  });
}

ReadResult AddressSpace::read(u64 address, unsigned size, const Attributes& attributes) {
  const Range* range = find(address);
  if (!range || range->end() - address < size) {
    log_.unimplemented("{}: read of {} bytes at 0x{:08x}: nothing there", name_, size, address);
    return {0, false};
  }
  if (range->reads_ram()) {
    u64 value = 0;
    std::memcpy(&value, range->host(address), size);
    return {value, true};
  }
  return read_device(*range, address, size, attributes);
}

bool AddressSpace::write(u64 address, u64 value, unsigned size, const Attributes& attributes) {
  const Range* range = find(address);
  if (!range || range->end() - address < size) {
    log_.unimplemented("{}: write of 0x{:x}, {} bytes, at 0x{:08x}: nothing there", name_, value, size, address);
    return false;
  }
  if (range->writes_ram()) {
    if (range->read_only) return true;
    std::memcpy(range->host(address), &value, size);
    wrote(*range->ram, range->ram_offset + (address - range->base), size);
    return true;
  }
  return write_device(*range, address, value, size, attributes);
}

namespace {

// The next piece of a device access: a naturally aligned word, half-word or byte.
unsigned device_step(u64 address, u64 left) {
  if (!(address & 3) && left >= 4) return 4;
  if (!(address & 1) && left >= 2) return 2;
  return 1;
}

}  // namespace

bool AddressSpace::read_bytes(u64 address, std::span<u8> data) {
  bool all = true;
  while (!data.empty()) {
    const Range* range = find(address);
    u64 step;
    if (range && range->reads_ram()) {
      step = std::min<u64>(data.size(), range->end() - address);
      std::memcpy(data.data(), range->host(address), step);
    } else {
      step = device_step(address, data.size());
      const ReadResult result = range ? read(address, static_cast<unsigned>(step), {}) : ReadResult{0, false};
      all &= result.ok;
      std::memcpy(data.data(), &result.value, step);
    }
    data = data.subspan(step);
    address += step;
  }
  return all;
}

bool AddressSpace::write_bytes(u64 address, std::span<const u8> data) {
  bool all = true;
  while (!data.empty()) {
    const Range* range = find(address);
    u64 step;
    if (range && range->writes_ram()) {
      step = std::min<u64>(data.size(), range->end() - address);
      if (!range->read_only) {
        std::memcpy(range->host(address), data.data(), step);
        wrote(*range->ram, range->ram_offset + (address - range->base), step);
      }
    } else {
      step = device_step(address, data.size());
      u64 value = 0;
      std::memcpy(&value, data.data(), step);
      all &= range && write(address, value, static_cast<unsigned>(step), {});
    }
    data = data.subspan(step);
    address += step;
  }
  return all;
}

std::span<u8> AddressSpace::map(u64 address, u64 size, bool for_write) {
  const Range* range = find(address);
  if (!range || !range->ram || (for_write && range->read_only)) return {};
  return {range->host(address), static_cast<usize>(std::min(size, range->end() - address))};
}

void AddressSpace::wrote(std::span<const u8> mapped, u64 address) {
  const Range* range = find(address);
  if (range && range->ram && !mapped.empty())
    wrote(*range->ram, range->ram_offset + (address - range->base),
          std::min<u64>(mapped.size(), range->end() - address));
}

void AddressSpace::wrote(RamBlock& ram, u64 offset, u64 size) {
  // Who marks a page reads its code behind that: either sees what was written, or is seen here.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (u64 page = align_down(offset, kPageSize); page < offset + size; page += kPageSize) {
    if (!(ram.page_flags(page).load(std::memory_order_relaxed) & kPageHasCode)) continue;
    const u64 from = std::max(page, offset);
    const u64 to = std::min(page + kPageSize, offset + size);
    for (Listener* listener : listeners_) listener->code_written(ram, from, to - from);
  }
}

void AddressSpace::reads_changed() {
  for (Listener* listener : listeners_) listener->reads_changed();
}

}  // namespace rhea::memory
