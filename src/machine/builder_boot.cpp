// SPDX-License-Identifier: MIT
// The guest's files: where kernel, initrd, device tree or ATAGs and the boot code go, and where the CPUs start.
//
// A kernel that knows device trees gets one: the file given with -dtb, else the tree that is appended to a zImage,
// else one that is made from the board's table; each is completed with what the command line says. An older kernel
// without -dtb gets ATAGs.
#include "loader/arm_boot.h"
#include "machine/builder.h"
#include "sys/file.h"
#include "util/bits.h"

namespace rhea::machine {

TreeInputs Builder::tree_inputs() const {
  TreeInputs inputs;
  inputs.cpus = config_.cpus;
  inputs.ram_size = ram_size_;
  inputs.has_nic = !board_nics_.empty();
  inputs.command_line = config_.append;
  inputs.has_command_line = config_.has_append;
  return inputs;
}

Result<void> Builder::load_initrd(TreeInputs& inputs) {
  if (config_.initrd.empty()) return {};
  auto file = sys::InputFile::open(config_.initrd);
  if (!file.ok()) return Error("could not load initrd '{}': {}", config_.initrd, file.error().message());
  const u64 size = (*file)->size();
  if (!size) return Error("could not load initrd '{}': the file is empty", config_.initrd);
  const u64 base = loader::initrd_address(board_.ram_base, ram_size_);
  if (base + size > board_.ram_base + ram_size_)
    return Error(
        "could not load initrd '{}': its {} bytes do not fit between 0x{:x} and the end of the {} MiB of RAM: give the "
        "machine more (-m)",
        config_.initrd, size, base, ram_size_ >> 20);
  inputs.initrd_base = base;
  inputs.initrd_size = size;
  blobs_->add_file(fmt::format("initrd '{}'", config_.initrd), base, file.take(), 0, size, size);
  return {};
}

// The tree for a kernel, or an empty blob when it is to have none.
Result<std::vector<u8>> Builder::device_tree(const loader::Kernel* kernel, const TreeInputs& inputs) {
  if (!config_.dtb.empty() || (kernel && !kernel->appended_dtb.empty())) {
    std::vector<u8> blob;
    std::string source = "the device tree appended to the kernel";
    if (!config_.dtb.empty()) {
      auto file = sys::read_file(config_.dtb, u64{16} << 20);
      if (!file.ok()) return Error("Couldn't open dtb file {}: {}", config_.dtb, file.error().message());
      blob = file.take();
      source = fmt::format("dtb file {}", config_.dtb);
    } else {
      blob = kernel->appended_dtb;
    }
    auto tree = DeviceTree::parse(blob);
    if (!tree.ok()) return Error("{}: {}", source, tree.error().message());
    const Result<void> completed = complete_tree(*tree, board_, inputs);
    if (!completed.ok()) return Error("{}: {}", source, completed.error().message());
    return tree->flatten();
  }
  if (kernel && !kernel->takes_device_tree) return std::vector<u8>();
  return make_board_tree(board_, inputs).flatten();
}

Result<void> Builder::prepare_boot(const loader::Kernel& kernel, TreeInputs& inputs) {
  std::vector<u8> tree = RHEA_TRY(device_tree(&kernel, inputs));
  const u64 behind = inputs.initrd_size ? inputs.initrd_base + inputs.initrd_size
                                        : std::max(loader::initrd_address(board_.ram_base, ram_size_), kernel.end);
  u64 parameters = board_.ram_base + 0x100;
  if (tree.empty()) {
    loader::AtagParameters atags{board_.ram_base, ram_size_, inputs.initrd_base, inputs.initrd_size, config_.append};
    blobs_->add_bytes("ATAGs", parameters, loader::atags(atags));
  } else {
    parameters = align_up(behind, memory::kPageSize);
    blobs_->add_bytes("device tree", parameters, std::move(tree));
  }
  blobs_->add_bytes("bootloader", board_.ram_base,
                    loader::boot_stub(board_.machine_id, static_cast<u32>(parameters), static_cast<u32>(kernel.entry)));
  machine_.engine_->cpu(0).set_reset_pc(board_.ram_base);
  if (config_.cpus > 1)
    blobs_->add_bytes("smpboot", board_.secondary_boot,
                      loader::secondary_stub(static_cast<u32>(board_.private_base + 0x100),
                                             static_cast<u32>(board_.secondary_flags)));
  for (unsigned cpu = 1; cpu < config_.cpus; ++cpu) machine_.engine_->cpu(cpu).set_reset_pc(board_.secondary_boot);
  return {};
}

// -bios: the contents of the flash that the CPUs start from. What the guest programs over it stays until the end.
Result<void> Builder::load_firmware() {
  if (config_.firmware.empty()) return {};
  if (!boot_flash_) return Error("-bios: {} has no flash to start from", board_.name);
  if (boot_flash_given_)
    return Error("the first flash's contents come from -bios or from a -drive if=pflash (-pflash): give one of them");
  auto file = sys::InputFile::open(config_.firmware);
  if (!file.ok()) return Error("Could not find ROM image '{}': {}", config_.firmware, file.error().message());
  const u64 size = (*file)->size();
  if (size > boot_flash_->size())
    return Error("Couldn't load ROM image '{}': its {} bytes do not fit into the flash's {}", config_.firmware, size,
                 boot_flash_->size());
  const auto read = (*file)->read_at(0, {boot_flash_->data(), size});
  if (!read.ok()) return Error("Couldn't load ROM image '{}': {}", config_.firmware, read.error().message());
  return {};
}

Result<void> Builder::load_files() {
  TreeInputs inputs = tree_inputs();
  RHEA_TRY(load_firmware());
  if (config_.kernel.empty()) {
    if (config_.has_append) return Error("-append only allowed with -kernel option");
    if (!config_.initrd.empty()) return Error("-initrd only allowed with -kernel option");
    if (!config_.dtb.empty() && config_.dumpdtb.empty()) return Error("-dtb only allowed with -kernel option");
    if (config_.dumpdtb.empty() && config_.cpus && config_.firmware.empty() && !boot_flash_given_)
      warn(
          fmt::format("warning: no -kernel was given: the CPU starts at address 0, where {} has nothing: give it a "
                      "kernel, or firmware (-bios, -pflash)",
                      board_.name));
  }
  std::optional<loader::Kernel> kernel;
  if (!config_.kernel.empty()) {
    kernel = RHEA_TRY(loader::load_kernel(config_.kernel, board_.ram_base, *blobs_));
    for (const std::string& text : kernel->warnings) warn(text);
    RHEA_TRY(load_initrd(inputs));
  }
  if (!config_.dumpdtb.empty()) {
    const std::vector<u8> tree = RHEA_TRY(device_tree(kernel ? &*kernel : nullptr, inputs));
    const std::vector<u8> made = tree.empty() ? make_board_tree(board_, inputs).flatten() : tree;
    const Result<void> written = sys::write_file(config_.dumpdtb, made);
    if (!written.ok())
      return Error("cannot write the device tree to '{}': {}", config_.dumpdtb, written.error().message());
    machine_.dumped_dtb_ = true;
    return {};
  }
  if (kernel && kernel->linux_boot) {
    RHEA_TRY(prepare_boot(*kernel, inputs));
  } else if (kernel) {
    for (unsigned cpu = 0; cpu < config_.cpus; ++cpu) machine_.engine_->cpu(cpu).set_reset_pc(kernel->entry);
  }
  RHEA_TRY(blobs_->check(*machine_.memory_));
  RHEA_TRY(blobs_->load(*machine_.memory_));
  for (const loader::Blob& blob : blobs_->blobs()) machine_.roms_.push_back({blob.address, blob.size, blob.name});
  machine_.reload_ = [machine = &machine_, blobs = blobs_]() -> Result<void> { return blobs->load(*machine->memory_); };
  return {};
}

}  // namespace rhea::machine
