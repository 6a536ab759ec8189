// SPDX-License-Identifier: MIT
#include "sys/build_id.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>

#include "util/bits.h"
#include "util/types.h"

namespace rhea::sys {

namespace {

std::string id_in_notes(const u8* notes, usize size) {
  for (usize at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof note);
    const usize name = at + sizeof note, content = name + align_up(note.n_namesz, 4);
    if (content + note.n_descsz > size) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(notes + name, "GNU", 4) == 0) {
      std::string text;
      for (usize i = 0; i < note.n_descsz; i++) text += fmt::format("{:02x}", notes[content + i]);
      return text;
    }
    at = content + align_up(note.n_descsz, 4);
  }
  return {};
}

// The program itself is the first object that is named.
int look_at_program(dl_phdr_info* object, size_t, void* text) {
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr)& header = object->dlpi_phdr[i];
    if (header.p_type != PT_NOTE) continue;
    const std::string id = id_in_notes(reinterpret_cast<const u8*>(object->dlpi_addr + header.p_vaddr), header.p_memsz);
    if (!id.empty()) *static_cast<std::string*>(text) = id;
  }
  return 1;
}

}  // namespace

std::string build_id() {
  std::string text;
  ::dl_iterate_phdr(look_at_program, &text);
  return text;
}

}  // namespace rhea::sys
