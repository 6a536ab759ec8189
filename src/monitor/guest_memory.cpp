// SPDX-License-Identifier: MIT
#include "monitor/guest_memory.h"

#include <algorithm>

#include "sys/file.h"

namespace rhea::monitor {

bool GuestMemory::read(u64 address, std::span<u8> data) {
  if (!physical_) return cpu_ < machine_.cpu_count() && cpu().read_virtual(address, data);
  memory::AddressSpace& space = machine_.memory();
  const memory::Range* range = space.find(address);
  if (!range || data.size() > range->end() - address) return read_bytewise(address, data);
  if (range->name == "unassigned") return false;  // the floor below everything, which answers zeros to the guest
  if (range->ram) return space.read_bytes(address, data);
  return read_device(address, data);
}

bool GuestMemory::read_bytewise(u64 address, std::span<u8> data) {
  for (usize i = 0; i < data.size(); ++i) {
    const memory::Range* range = machine_.memory().find(address + i);
    if (!range || range->name == "unassigned" || !read_device(address + i, data.subspan(i, 1))) return false;
  }
  return true;
}

bool GuestMemory::read_device(u64 address, std::span<u8> data) {
  memory::Attributes attributes;
  attributes.debug = true;
  for (usize done = 0; done < data.size();) {
    unsigned size = 4;
    while (size > data.size() - done || (address + done) % size) size /= 2;
    const memory::ReadResult got = machine_.memory().read(address + done, size, attributes);
    if (!got.ok) return false;
    for (unsigned i = 0; i < size; ++i) data[done + i] = static_cast<u8>(got.value >> (8 * i));
    done += size;
  }
  return true;
}

Result<void> save_memory(machine::Machine& machine, unsigned cpu, u64 address, u64 size, const std::string& path,
                         bool physical) {
  constexpr u64 kMost = u64{1} << 32;
  if (size > kMost) return Error("{} bytes are more than the {} that are saved at once", size, kMost);
  constexpr u64 kStep = 4096;
  std::vector<u8> bytes;
  bool good = true;
  u64 bad_at = 0;
  machine.engine().at_safe_point([&] {
    GuestMemory memory(machine, cpu, physical);
    for (u64 done = 0; done < size && good;) {
      const u64 part = std::min(size - done, kStep - ((address + done) & (kStep - 1)));
      bytes.resize(done + part);
      good = memory.read(address + done, std::span(bytes).subspan(done, part));
      bad_at = address + done;
      done += part;
    }
  });
  if (!good)
    return Error("Invalid addr 0x{:016x}/size {} specified (nothing answers at 0x{:x})", address, size, bad_at);
  Result<void> written = sys::write_file(path, bytes);
  if (!written.ok()) return Error("Could not open '{}': {}", path, written.error().message());
  return {};
}

}  // namespace rhea::monitor
