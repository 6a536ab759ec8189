// SPDX-License-Identifier: MIT
// Walks a board's table and a configuration and makes a machine of them.
#pragma once

#include "loader/blob.h"
#include "loader/kernel.h"
#include "machine/board_tree.h"
#include "machine/machine.h"

namespace rhea::machine {

class Builder {
 public:
  Builder(Machine& machine, const MachineConfig& config);
  Result<void> build();
  // A device for a bus that another one owns, while the machine runs.
  Result<void> plug(const DeviceConfig& config);

 private:
  struct NewDevice {
    const devices::DeviceType* type = nullptr;
    std::string id;
    std::vector<PropertyText> properties;
    std::vector<IrqLine> lines;
    std::vector<LineChange> line_targets;  // of each line, for those that are watched
    chardev::Backend* chardev = nullptr;
    net::Port* netdev = nullptr;
    u64 mac = 0;
    block::Drive* drive = nullptr;
    memory::RamBlock* ram = nullptr;
  };

  Result<void> check_board_limits();
  void plan_nics();
  Result<void> make_engine();
  void set_rtc();
  Result<void> make_replay();
  chardev::Backend* recorded(chardev::Backend* backend);
  net::Port* recorded(net::Port* backend);
  Result<void> add_ram(u64 base, u64 size, const std::string& name);
  Result<memory::RamBlock*> make_ram(u64 size, const std::string& name);
  Result<memory::RamBlock*> make_main_ram(const std::string& name);
  Result<memory::RamBlock*> take_ram(Result<std::unique_ptr<memory::RamBlock>> block);
  Result<void> fill_slot(const BoardDevice& row, NewDevice& wanted);
  Result<void> wire(const BoardDevice& row, NewDevice& wanted);
  void map_windows(const BoardDevice& row, devices::SysbusDevice& device, DeviceNode& node);
  Result<void> find_drive(const DeviceConfig& config, NewDevice& wanted);
  Result<void> check_drives();
  Result<void> load_firmware();
  Result<void> add_board_rows();
  Result<void> add_row(const BoardDevice& row);
  Result<void> add_plugged();
  Result<void> add_to_bus(NewDevice& wanted);
  Result<DeviceNode*> create(NewDevice& wanted);
  Result<void> apply_properties(DeviceNode& node, const NewDevice& wanted);
  DeviceNode* find_node(std::string_view id);
  Result<IrqLine> line(const BoardIrq& irq);
  void watch_lines(NewDevice& wanted, const DeviceNode* node);
  u64 next_mac();

  Result<void> load_files();
  Result<void> load_initrd(TreeInputs& inputs);
  Result<void> prepare_boot(const loader::Kernel& kernel, TreeInputs& inputs);
  Result<std::vector<u8>> device_tree(const loader::Kernel* kernel, const TreeInputs& inputs);
  TreeInputs tree_inputs() const;
  void warn(std::string text) { machine_.warnings_.push_back(std::move(text)); }

  Machine& machine_;
  const MachineConfig& config_;
  const Board& board_;
  u64 ram_size_;
  std::vector<NicConfig> board_nics_;
  std::vector<DeviceConfig> plugged_;
  std::vector<u64> macs_;
  devices::SysbusDevice* interrupt_controller_ = nullptr;
  const DeviceNode* interrupt_controller_node_ = nullptr;
  std::vector<devices::SysbusDevice*> virtio_slots_;
  u32 next_page_index_ = 0;
  memory::RamBlock* boot_flash_ = nullptr;
  bool boot_flash_given_ = false;  // it has a drive
  std::map<std::string, unsigned> used_names_;
  std::shared_ptr<loader::BlobList> blobs_ = std::make_shared<loader::BlobList>();
};

}  // namespace rhea::machine
