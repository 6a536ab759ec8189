// SPDX-License-Identifier: MIT
#include "accel/arm_cpu.h"

#include "guest/arm/cpu.h"
#include "util/text.h"

namespace rhea::accel {

namespace {

class ArmCpu final : public GuestCpu {
 public:
  explicit ArmCpu(std::unique_ptr<arm::Cpu> cpu) : cpu_(std::move(cpu)) {}
  ir::Guest& guest() override { return *cpu_; }
  std::string registers_text() const override { return cpu_->registers_text(); }
  bool register_value(std::string_view name, u64& value) const override { return cpu_->register_value(name, value); }
  std::string architecture() const override { return "arm"; }
  std::span<const RegisterFeature> register_features() const override { return cpu_->register_features(); }
  bool read_register(unsigned number, std::vector<u8>& bytes) const override {
    return cpu_->read_register(number, bytes);
  }
  bool write_register(unsigned number, std::span<const u8> bytes) override {
    return cpu_->write_register(number, bytes);
  }
  Cpu::Disassembly disassemble(u64 address, std::span<const u8> bytes) const override {
    Cpu::Disassembly result;
    result.text = cpu_->disassemble(address, bytes, result.length);
    return result;
  }
  void set_reset_pc(u64 pc) override { cpu_->set_reset_pc(pc); }
  void fields(Visitor& visitor) override { cpu_->fields(visitor); }

 private:
  std::unique_ptr<arm::Cpu> cpu_;
};

}  // namespace

Result<std::unique_ptr<GuestCpu>> make_arm_cpu(const CpuConfig& config, unsigned index, Log& log) {
  std::unique_ptr<arm::Cpu> cpu =
      arm::make_cpu(config.model, index, config.count, config.reset_pc, config.private_base, log);
  if (!cpu) {
    return Error("CPU model '{}' is unknown{}; there are: {}", config.model,
                 did_you_mean(config.model, arm::model_names()), join(arm::model_names(), ", "));
  }
  return std::unique_ptr<GuestCpu>(std::make_unique<ArmCpu>(std::move(cpu)));
}

std::vector<std::string> cpu_models() { return arm::model_names(); }

}  // namespace rhea::accel
