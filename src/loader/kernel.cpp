// SPDX-License-Identifier: MIT
// Formats are tried in this order: ELF (System V gABI chapter 4), U-Boot's legacy image (its image.h), zImage (the
// kernel's Documentation/arm/booting: magic 0x016f2818 at 0x24, start and end behind it), raw. Before a file is
// taken as raw code it is looked at for what it certainly is not: text, an archive, a kernel of another machine.
#include "loader/kernel.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "util/bits.h"

namespace rhea::loader {

namespace {

constexpr u64 kKernelOffset = 0x10000;  // from the start of RAM
constexpr u32 kZImageMagic = 0x016f2818;
constexpr u32 kFdtMagic = 0xd00dfeed;

using File = std::shared_ptr<sys::InputFile>;

Result<std::vector<u8>> slice(const File& file, u64 offset, u64 size) {
  std::vector<u8> data(static_cast<usize>(size));
  RHEA_TRY(file->read_at(offset, data));
  return data;
}

// The names of files that are often given as a kernel and are none.
std::string known_stranger(const std::vector<u8>& head) {
  const auto starts = [&](std::string_view magic, usize at = 0) {
    return head.size() >= at + magic.size() && !std::memcmp(head.data() + at, magic.data(), magic.size());
  };
  using namespace std::string_view_literals;
  if (starts("\xd0\x0d\xfe\xed"sv)) return "a device tree (give it with -dtb)";
  if (starts("\x1f\x8b"sv)) return "gzip data (an initrd belongs to -initrd; a compressed kernel must be unpacked)";
  if (starts("\xfd"
             "7zXZ"sv))
    return "xz data";
  if (starts("\x28\xb5\x2f\xfd"sv)) return "zstd data";
  if (starts("070701"sv) || starts("070702"sv)) return "a cpio archive (give it with -initrd)";
  if (starts("QFI\xfb"sv)) return "a qcow2 disk image";
  if (starts("HdrS"sv, 0x202)) return "a Linux kernel for x86 (bzImage); this machine needs one for ARM";
  if (starts("ARM\x64"sv, 0x38)) return "a Linux kernel for 64-bit ARM; this machine has 32-bit CPUs";
  if (starts("MZ"sv)) return "a Windows or EFI program";
  if (starts("!<arch>\n"sv)) return "an archive (a Debian package? unpack it)";
  if (starts("\x89PNG"sv) || starts("\xff\xd8\xff"sv)) return "a picture";
  if (starts("PK\x03\x04"sv)) return "a zip archive";
  return {};
}

bool looks_like_text(const std::vector<u8>& head) {
  return !head.empty() && std::all_of(head.begin(), head.end(), [](u8 c) {
    return (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\r' || c == '\t' || c >= 0x80;
  });
}

struct ElfHeader {
  u16 type, machine, phentsize, phnum;
  u32 entry, phoff;
};

std::string elf_machine_name(u16 machine) {
  switch (machine) {
    case 3: return "x86";
    case 8: return "MIPS";
    case 20: return "PowerPC";
    case 62: return "x86-64";
    case 183: return "64-bit ARM";
    case 243: return "RISC-V";
    default: return fmt::format("machine number {}", machine);
  }
}

Result<Kernel> load_elf(const File& file, const std::vector<u8>& head, BlobList& blobs) {
  if (head.size() < 52) return Error("the ELF header is cut off after {} bytes", head.size());
  if (head[5] != 1) return Error("it is a big-endian ELF file; this machine starts little-endian");
  const ElfHeader elf{load_le<u16>(&head[16]), load_le<u16>(&head[18]), load_le<u16>(&head[42]),
                      load_le<u16>(&head[44]), load_le<u32>(&head[24]), load_le<u32>(&head[28])};
  if (elf.machine != 40)
    return Error("it is an ELF file for {}; this machine has ARM CPUs", elf_machine_name(elf.machine));
  if (head[4] != 1) return Error("it is a 64-bit ELF file; this machine has 32-bit CPUs");
  if (elf.type != 2 && elf.type != 3)
    return Error("it is an ELF file, but no program (type {}): link it first", elf.type);
  if (elf.phentsize < 32 || !elf.phnum) return Error("the ELF file has no program headers");
  Kernel kernel{.kind = KernelKind::elf, .entry = elf.entry};
  for (unsigned i = 0; i < elf.phnum; ++i) {
    auto header = slice(file, elf.phoff + u64{i} * elf.phentsize, 32);
    if (!header.ok()) return Error("the ELF program headers are cut off: {}", header.error().message());
    const u8* at = header->data();
    if (load_le<u32>(at) != 1) continue;  // PT_LOAD
    const u32 offset = load_le<u32>(at + 4), paddr = load_le<u32>(at + 12);
    const u32 file_size = load_le<u32>(at + 16), size = load_le<u32>(at + 20);
    if (file_size > size || u64{offset} + file_size > file->size())
      return Error("segment {} of the ELF file reaches to byte {}, but the file has {}: it is cut off", i,
                   u64{offset} + file_size, file->size());
    if (!size) continue;
    blobs.add_file(fmt::format("segment {} of kernel '{}'", i, file->path()), paddr, file, offset, file_size, size);
    kernel.end = std::max<u64>(kernel.end, u64{paddr} + size);
  }
  if (!kernel.end) return Error("the ELF file has nothing to load");
  return kernel;
}

Result<std::vector<u8>> gunzip(const std::vector<u8>& packed, u64 limit) {
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) return Error("zlib cannot start");
  std::vector<u8> data;
  stream.next_in = const_cast<u8*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  while (status == Z_OK && data.size() < limit) {
    const usize old = data.size();
    data.resize(old + (usize{1} << 20));
    stream.next_out = data.data() + old;
    stream.avail_out = 1u << 20;
    status = inflate(&stream, Z_NO_FLUSH);
    data.resize(data.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END) return Error("its gzip data is damaged or cut off");
  return data;
}

Result<Kernel> load_uimage(const File& file, const std::vector<u8>& head, u64 ram_base, BlobList& blobs) {
  const u32 size = load_be<u32>(&head[12]), load = load_be<u32>(&head[16]), entry = load_be<u32>(&head[20]);
  const u8 os = head[28], arch = head[29], type = head[30], compression = head[31];
  if (u64{size} + 64 > file->size())
    return Error("the uImage says it has {} bytes of data, but the file has {}: it is cut off", size,
                 file->size() - 64);
  if (arch != 2) return Error("it is a uImage for another architecture (number {}); this machine has ARM CPUs", arch);
  if (type != 2 && type != 1 && type != 14)
    return Error("it is a uImage, but of type {}: a kernel (2) or a standalone program (1) can be started", type);
  auto payload = slice(file, 64, size);
  if (!payload.ok()) return payload.error();
  std::vector<u8> data = payload.take();
  if (crc32(0, data.data(), static_cast<uInt>(data.size())) != load_be<u32>(&head[24]))
    return Error("the checksum of the uImage's data is wrong: the file is damaged");
  if (compression == 1) data = RHEA_TRY(gunzip(data, u64{1} << 30));
  else if (compression != 0)
    return Error("the uImage is compressed by method {}: none (0) and gzip (1) are known", compression);
  const bool no_load = load == 0xffffffff || type == 14;
  const u64 address = no_load ? ram_base + kKernelOffset : load;
  Kernel kernel{.kind = KernelKind::uimage, .linux_boot = os == 5, .takes_device_tree = os == 5};
  kernel.entry = no_load ? address + (entry == 0xffffffff ? 0 : entry) : entry;
  kernel.end = address + data.size();
  blobs.add_bytes(fmt::format("kernel '{}'", file->path()), address, std::move(data));
  return kernel;
}

// Whether a kernel inside a zImage knows device trees. Newer ones (3.17 on) say their byte order at 0x30; of older
// ones the unpacked text tells, if it is gzip's.
bool knows_device_tree(const File& file, const std::vector<u8>& head, u64 size) {
  if (load_le<u32>(&head[0x30]) == 0x04030201) return true;
  auto all = slice(file, 0, size);
  if (!all.ok()) return true;
  const u8 magic[] = {0x1f, 0x8b, 0x08};
  const auto at = std::search(all->begin(), all->end(), std::begin(magic), std::end(magic));
  if (at == all->end()) return true;
  const std::vector<u8> packed(at, all->end());
  const auto unpacked = gunzip(packed, u64{256} << 20);
  if (!unpacked.ok()) return true;
  const std::string_view board = "arm,vexpress";
  return std::search(unpacked->begin(), unpacked->end(), board.begin(), board.end()) != unpacked->end();
}

Result<Kernel> load_zimage(const File& file, const std::vector<u8>& head, u64 ram_base, BlobList& blobs) {
  const u32 start = load_le<u32>(&head[0x28]), end = load_le<u32>(&head[0x2c]);
  const u64 size = end > start ? end - start : 0;
  if (size < 0x40)
    return Error("the zImage header says it ends (0x{:x}) before it starts (0x{:x}): it is damaged", end, start);
  if (size > file->size())
    return Error("the zImage header says it has {} bytes, but the file has {}: it is cut off", size, file->size());
  Kernel kernel{.kind = KernelKind::zimage, .linux_boot = true};
  kernel.takes_device_tree = knows_device_tree(file, head, size);
  kernel.entry = ram_base + kKernelOffset;
  kernel.end = kernel.entry + size;
  if (file->size() >= size + 40) {
    const auto header = slice(file, size, 8);
    if (header.ok() && load_be<u32>(header->data()) == kFdtMagic) {
      const u32 fdt_size = load_be<u32>(header->data() + 4);
      if (fdt_size < 40 || size + fdt_size > file->size())
        return Error("the device tree appended to the zImage says it has {} bytes, but {} follow: it is cut off",
                     fdt_size, file->size() - size);
      kernel.appended_dtb = RHEA_TRY(slice(file, size, fdt_size));
    }
  }
  blobs.add_file(fmt::format("kernel '{}'", file->path()), kernel.entry, file, 0, size, size);
  return kernel;
}

Result<Kernel> load_raw(const File& file, const std::vector<u8>& head, u64 ram_base, BlobList& blobs) {
  if (const std::string stranger = known_stranger(head); !stranger.empty()) return Error("it is {}", stranger);
  if (looks_like_text(head)) return Error("it is text, no kernel");
  Kernel kernel{.kind = KernelKind::raw, .linux_boot = true, .takes_device_tree = true};
  kernel.entry = ram_base + kKernelOffset;
  kernel.end = kernel.entry + file->size();
  kernel.warnings.push_back(
      fmt::format("warning: '{}' is neither ELF, uImage nor zImage: it is taken as raw code "
                  "for 0x{:x}",
                  file->path(), kernel.entry));
  blobs.add_file(fmt::format("kernel '{}'", file->path()), kernel.entry, file, 0, file->size(), file->size());
  return kernel;
}

}  // namespace

Result<Kernel> load_kernel(const std::string& path, u64 ram_base, BlobList& blobs) {
  auto opened = sys::InputFile::open(path);
  if (!opened.ok()) return Error("could not load kernel '{}': {}", path, opened.error().message());
  const File file = opened.take();
  if (!file->size()) return Error("could not load kernel '{}': the file is empty", path);
  const std::vector<u8> head = RHEA_TRY(slice(file, 0, std::min<u64>(file->size(), 1024)));
  const auto load = [&]() -> Result<Kernel> {
    if (head.size() >= 16 && !std::memcmp(head.data(),
                                          "\x7f"
                                          "ELF",
                                          4))
      return load_elf(file, head, blobs);
    if (head.size() >= 64 && load_be<u32>(&head[0]) == 0x27051956) return load_uimage(file, head, ram_base, blobs);
    if (head.size() >= 0x40 && load_le<u32>(&head[0x24]) == kZImageMagic)
      return load_zimage(file, head, ram_base, blobs);
    return load_raw(file, head, ram_base, blobs);
  };
  auto kernel = load();
  if (!kernel.ok()) return Error("could not load kernel '{}': {}", path, kernel.error().message());
  return kernel;
}

}  // namespace rhea::loader
