// SPDX-License-Identifier: MIT
#include "loader/arm_boot.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::loader {

namespace {

void append(std::vector<u8>& data, u32 word) {
  data.resize(data.size() + 4);
  store_le(data.data() + data.size() - 4, word);
}

std::vector<u8> words(std::initializer_list<u32> list) {
  std::vector<u8> data;
  for (const u32 word : list) append(data, word);
  return data;
}

}  // namespace

std::vector<u8> boot_stub(u32 machine_id, u32 parameters, u32 entry) {
  return words({
      0xe3a00000,  // mov r0, #0
      0xe59f1004,  // ldr r1, [pc, #4]   machine id
      0xe59f2004,  // ldr r2, [pc, #4]   parameters
      0xe59ff004,  // ldr pc, [pc, #4]   entry
      machine_id,
      parameters,
      entry,
  });
}

std::vector<u8> secondary_stub(u32 gic_cpu_interface, u32 flags_register) {
  return words({
      0xe59f2028,  //       ldr r2, [pc, #40]   flags register
      0xe59f0028,  //       ldr r0, [pc, #40]   interrupt interface
      0xe3a010ff,  //       mov r1, #0xff
      0xe5801004,  //       str r1, [r0, #4]    priority mask: all
      0xe3a01001,  //       mov r1, #1
      0xe5801000,  //       str r1, [r0]        enable
      0xf57ff04f,  //       dsb
      0xe320f003,  // wait: wfi
      0xe5921000,  //       ldr r1, [r2]
      0xe1110001,  //       tst r1, r1
      0x0afffffb,  //       beq wait
      0xe12fff11,  //       bx r1
      flags_register,
      gic_cpu_interface,
  });
}

std::vector<u8> atags(const AtagParameters& parameters) {
  std::vector<u8> list = words({5, 0x54410001, 1, 0x1000, 0});  // ATAG_CORE: flags, page size, root device
  const auto tag = [&](std::initializer_list<u32> content) {
    for (const u32 word : content) append(list, word);
  };
  tag({4, 0x54410002, static_cast<u32>(parameters.ram_size), static_cast<u32>(parameters.ram_base)});  // ATAG_MEM
  if (parameters.initrd_size)                                                                          // ATAG_INITRD2
    tag({4, 0x54420005, static_cast<u32>(parameters.initrd_base), static_cast<u32>(parameters.initrd_size)});
  if (!parameters.command_line.empty()) {  // ATAG_CMDLINE
    const u32 text_words = static_cast<u32>(parameters.command_line.size() / 4 + 1);
    tag({2 + text_words, 0x54410009});
    const usize at = list.size();
    list.resize(at + text_words * 4);
    std::copy(parameters.command_line.begin(), parameters.command_line.end(),
              list.begin() + static_cast<std::ptrdiff_t>(at));
  }
  tag({0, 0});  // ATAG_NONE
  return list;
}

u64 initrd_address(u64 ram_base, u64 ram_size) { return ram_base + std::min<u64>(ram_size / 2, u64{128} << 20); }

}  // namespace rhea::loader
