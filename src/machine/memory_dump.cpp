// SPDX-License-Identifier: MIT
// The file (System V ABI, chapter 5; ELF for the Arm Architecture): a header, program headers, a note segment with the
// registers of each CPU as Linux's core files have them, then RAM, each range once. Loadable segments point into it:
// one for a range at its physical address, or one for each run of pages that the guest's tables map.
#include "machine/memory_dump.h"

#include <algorithm>
#include <cstring>

#include "machine/snapshots.h"
#include "util/bits.h"

namespace rhea::machine {

namespace {

constexpr u32 kHeaderSize = 52, kProgramHeaderSize = 32;
constexpr u32 kTypeLoad = 1, kTypeNote = 4;
constexpr u16 kCore = 4, kArm = 40;
constexpr usize kMostSegments = 0xfffe;  // e_phnum, of which 0xffff means something else
constexpr u64 kAddresses = u64{1} << 32;
constexpr u32 kNotePrstatus = 1, kNoteVfp = 0x400;
constexpr u32 kPage = 4096;

// RAM in the file.
struct Stored {
  const memory::Range* range;
  u64 base, size;  // physical
  u64 offset = 0;  // in the file
};

struct Segment {
  u64 virtual_address, physical, size;
};

class Writer {
 public:
  void put16(u16 value) { put(&value, 2); }
  void put32(u64 value) {
    const u32 word = static_cast<u32>(value);
    put(&word, 4);
  }
  void put64(u64 value) { put(&value, 8); }
  void zeros(usize count) { bytes.resize(bytes.size() + count); }
  void text(std::string_view text) { bytes.insert(bytes.end(), text.begin(), text.end()); }
  void align() { bytes.resize((bytes.size() + 3) & ~usize{3}); }
  std::vector<u8> bytes;

 private:
  // Hosts are little endian, as the guest is.
  void put(const void* value, usize size) {
    const u8* from = static_cast<const u8*>(value);
    bytes.insert(bytes.end(), from, from + size);
  }
};

void put_note(Writer& writer, std::string_view name, u32 type, const Writer& content) {
  writer.put32(name.size() + 1);
  writer.put32(content.bytes.size());
  writer.put32(type);
  writer.text(name);
  writer.zeros(1);
  writer.align();
  writer.bytes.insert(writer.bytes.end(), content.bytes.begin(), content.bytes.end());
  writer.align();
}

u64 register_of(const Cpu& cpu, const std::string& name) {
  u64 value = 0;
  cpu.register_value(name, value);
  return value;
}

// struct elf_prstatus and the VFP registers of 32-bit Arm Linux.
void put_cpu(Writer& notes, const Cpu& cpu) {
  constexpr usize kBeforePid = 24, kAfterPid = 44;
  Writer status;
  status.zeros(kBeforePid);
  status.put32(cpu.index() + 1);
  status.zeros(kAfterPid);
  for (unsigned i = 0; i < 16; ++i) status.put32(register_of(cpu, fmt::format("r{}", i)));
  status.put32(register_of(cpu, "cpsr"));
  status.put32(0);  // r0 at the system call
  status.put32(1);  // there are floating-point registers
  put_note(notes, "CORE", kNotePrstatus, status);
  Writer vfp;
  for (unsigned i = 0; i < 32; ++i) vfp.put64(register_of(cpu, fmt::format("d{}", i)));
  vfp.put32(register_of(cpu, "fpscr"));
  put_note(notes, "LINUX", kNoteVfp, vfp);
}

std::vector<Stored> ram_of(const std::vector<memory::Range>& ranges, const DumpRequest& request) {
  std::vector<Stored> list;
  for (const memory::Range& range : ranges) {
    if (!range.writes_ram() || range.read_only || range.base >= kAddresses) continue;
    u64 begin = range.base, end = std::min(range.end(), kAddresses);
    if (request.part) {
      begin = std::max(begin, request.part->begin);
      const u64 most = ~u64{0} - request.part->begin;
      end = std::min(end, request.part->begin + std::min(request.part->length, most));
    }
    if (begin < end) list.push_back({&range, begin, end - begin});
  }
  return list;
}

// Where the tables of a CPU map what is stored, joined to runs.
std::vector<Segment> mapped_segments(const Cpu& cpu, const std::vector<Stored>& ram) {
  std::vector<Segment> list;
  for (u64 address = 0; address < kAddresses && list.size() <= kMostSegments; address += kPage) {
    u64 physical = 0;
    if (!cpu.physical_address(address, physical)) continue;
    const auto inside = [&](const Stored& one) {
      return physical >= one.base && physical + kPage <= one.base + one.size;
    };
    const auto stored = std::find_if(ram.begin(), ram.end(), inside);
    if (stored == ram.end()) continue;
    Segment* last = list.empty() ? nullptr : &list.back();
    if (last && last->virtual_address + last->size == address && last->physical + last->size == physical &&
        last->physical >= stored->base)
      last->size += kPage;
    else list.push_back({address, physical, kPage});
  }
  return list;
}

void put_header(Writer& writer, usize segments) {
  constexpr u8 kIdent[16] = {0x7f, 'E', 'L', 'F', 1, 1, 1};  // 32 bits, little endian, version 1
  writer.bytes.insert(writer.bytes.end(), kIdent, kIdent + sizeof kIdent);
  writer.put16(kCore);
  writer.put16(kArm);
  writer.put32(1);
  writer.put32(0);            // no entry
  writer.put32(kHeaderSize);  // where the program headers are
  writer.put32(0);            // no sections
  writer.put32(0);
  writer.put16(kHeaderSize);
  writer.put16(kProgramHeaderSize);
  writer.put16(static_cast<u16>(segments));
  for (int i = 0; i < 3; ++i) writer.put16(0);
}

void put_segment(Writer& writer, u32 type, u64 offset, const Segment& segment) {
  writer.put32(type);
  writer.put32(offset);
  writer.put32(segment.virtual_address);
  writer.put32(segment.physical);
  writer.put32(segment.size);
  writer.put32(segment.size);
  writer.put32(0);
  writer.put32(0);
}

Result<void> write(sys::Output& output, std::span<const u8> bytes) {
  const int error = output.write(bytes);
  if (error) return Error("dump: failed to write: {}", sys::errno_text(error));
  return {};
}

}  // namespace

Result<u64> dump_memory(Machine& machine, const DumpRequest& request, sys::Output& output) {
  const Standstill standstill(machine);
  const std::vector<memory::Range> ranges = machine.memory().ranges();
  std::vector<Stored> ram = ram_of(ranges, request);
  if (ram.empty()) return Error("dump: there is no RAM in that part");
  Writer notes;
  for (unsigned i = 0; i < machine.cpu_count(); ++i) put_cpu(notes, machine.engine().cpu(i));
  std::vector<Segment> segments;
  if (request.by_tables) segments = mapped_segments(machine.engine().cpu(*request.by_tables), ram);
  else
    for (const Stored& one : ram) segments.push_back({one.base, one.base, one.size});
  if (segments.size() >= kMostSegments)
    return Error("dump: the tables map RAM in more than {} pieces: dump it without paging", kMostSegments);
  const u64 notes_at = kHeaderSize + (segments.size() + 1) * kProgramHeaderSize;
  u64 end = notes_at + notes.bytes.size(), total = 0;
  for (Stored& one : ram) {
    one.offset = end;
    end += one.size;
    total += one.size;
  }
  if (end >= kAddresses) return Error("dump: {} bytes of RAM are more than a 32-bit core file holds", total);
  Writer head;
  put_header(head, segments.size() + 1);
  put_segment(head, kTypeNote, notes_at, {0, 0, notes.bytes.size()});
  for (const Segment& segment : segments) {
    const auto stored = std::find_if(ram.begin(), ram.end(), [&](const Stored& one) {
      return segment.physical >= one.base && segment.physical + segment.size <= one.base + one.size;
    });
    put_segment(head, kTypeLoad, stored->offset + (segment.physical - stored->base), segment);
  }
  RHEA_TRY(write(output, head.bytes));
  RHEA_TRY(write(output, notes.bytes));
  for (const Stored& one : ram) RHEA_TRY(write(output, {one.range->host(one.base), one.size}));
  return total;
}

}  // namespace rhea::machine
