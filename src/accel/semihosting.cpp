// SPDX-License-Identifier: MIT
#include "accel/semihosting.h"

#include <chrono>
#include <thread>

#include "accel/virtual_cpu.h"
#include "guest/arm/cpu.h"

namespace rhea::accel {

namespace {

// Between two looks for input; interrupts and pauses are taken in between.
constexpr auto kLookAgain = std::chrono::milliseconds(1);

class CpuMemory final : public SemihostingMemory {
 public:
  explicit CpuMemory(VirtualCpu& cpu) : cpu_(cpu) {}
  bool read(u32 address, std::span<u8> data) override { return cpu_.read_virtual(address, data); }
  bool write(u32 address, std::span<const u8> data) override { return cpu_.write_virtual(address, data); }

 private:
  VirtualCpu& cpu_;
};

}  // namespace

void set_semihosting(Engine& engine, Semihosting& handler, bool from_user) {
  for (unsigned i = 0; i < engine.cpus(); ++i) {
    auto* cpu = dynamic_cast<VirtualCpu*>(&engine.cpu(i));
    auto* guest = cpu ? dynamic_cast<arm::Cpu*>(&cpu->guest()) : nullptr;
    if (!guest) continue;
    guest->set_semihosting(
        {.fetch = [cpu](u32 address, std::span<u8> code) { return cpu->read_virtual(address, code); },
         .call =
             [cpu, &handler](u32 operation, u32 parameter) {
               CpuMemory memory(*cpu);
               const Semihosting::Answer answer = handler.call(operation, parameter, memory);
               if (answer.again) std::this_thread::sleep_for(kLookAgain);
               return answer;
             },
         .from_user = from_user});
  }
}

}  // namespace rhea::accel
