// SPDX-License-Identifier: MIT
// A file given with -kernel: its headers are read, and what they ask for is put into a small RAM.
#include <algorithm>

#include "loader/kernel.h"
#include "sys/memory_map.h"

using namespace rhea;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (!size) return 0;
  auto file = sys::create_memory_file("kernel", size);
  if (!file.ok()) return 0;
  {
    auto map = sys::map_shared(file->get(), 0, size, sys::Protection::read_write);
    if (!map.ok()) return 0;
    std::copy(data, data + size, map->data());
  }
  loader::BlobList blobs;
  const auto kernel = loader::load_kernel(fmt::format("/proc/self/fd/{}", file->get()), 0x60000000, blobs);
  if (!kernel.ok()) return 0;
  Log log;
  memory::AddressSpace space("fuzz", log);
  auto ram = memory::RamBlock::create("ram", 1u << 20);
  if (!ram.ok()) return 0;
  space.begin();
  space.add_ram(0x60000000, **ram, 0, 1u << 20, false, "ram");
  space.commit();
  if (blobs.check(space).ok()) blobs.load(space).take();
  return 0;
}
