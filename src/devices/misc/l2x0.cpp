// SPDX-License-Identifier: MIT
// L2 cache controller PL310 (DDI 0246H). There is no cache here: maintenance completes at once, so its registers
// read as zero ("done").
#include <array>

#include "devices/device_type.h"
#include "devices/mmio.h"

namespace rhea::devices {
namespace {

struct Config {
  u32 cache_type = 0x1c100100;
};
constexpr Property kProperties[] = {
    property<&Config::cache_type>("cache-type", PropertyKind::number, "what reg0_cache_type reads"),
};

class L2x0 : public SysbusDevice {
 public:
  L2x0(const DeviceContext& context, const Config& config)
      : cache_type_(config.cache_type), registers_(table(), this, context.id, context.log), window_(registers_) {}

  std::span<const MmioWindow> windows() const override { return windows_; }
  void reset(ResetKind) override { registers_.reset(); }
  void fields(Visitor& visitor) override { registers_.fields(visitor); }

  u32 read_cache_type() { return cache_type_; }
  void complete(u32) {}

 private:
  static std::span<const memory::Register> table() {  // DDI 0246H table 3-1
    using D = L2x0;
    constexpr auto done = memory::hook<D, &D::complete>();
    // clang-format off
    static constexpr memory::Register table[] = {
        {0x000, "reg0_cache_id", 0x410000c8, 0},
        {0x004, "reg0_cache_type", 0, 0, memory::hook<D, &D::read_cache_type>()},
        {0x100, "reg1_control", 0, 1},
        {0x104, "reg1_aux_control", 0x02020000, 0x7fffffff},
        {0x108, "reg1_tag_ram_control", 0x777, 0x777},
        {0x10c, "reg1_data_ram_control", 0x777, 0x777},
        {0x200, "reg2_ev_counter_ctrl", 0, 1},
        {0x204, "reg2_ev_counter1_cfg", 0, 0x3f},
        {0x208, "reg2_ev_counter0_cfg", 0, 0x3f},
        {0x20c, "reg2_ev_counter1", 0, ~0u},
        {0x210, "reg2_ev_counter0", 0, ~0u},
        {0x214, "reg2_int_mask", 0, 0x1ff},
        {0x218, "reg2_int_mask_status", 0, 0},
        {0x21c, "reg2_int_raw_status", 0, 0},
        {0x220, "reg2_int_clear", 0, 0, nullptr, done},
        {0x730, "reg7_cache_sync", 0, 0, nullptr, done},
        {0x740, "reg7_cache_sync_errata", 0, 0, nullptr, done},  // the dummy that erratum 753970 asks for
        {0x770, "reg7_inv_pa", 0, 0, nullptr, done},
        {0x77c, "reg7_inv_way", 0, 0, nullptr, done},
        {0x7b0, "reg7_clean_pa", 0, 0, nullptr, done},
        {0x7b8, "reg7_clean_index", 0, 0, nullptr, done},
        {0x7bc, "reg7_clean_way", 0, 0, nullptr, done},
        {0x7f0, "reg7_clean_inv_pa", 0, 0, nullptr, done},
        {0x7f8, "reg7_clean_inv_index", 0, 0, nullptr, done},
        {0x7fc, "reg7_clean_inv_way", 0, 0, nullptr, done},
        {0x900, "reg9_d_lockdown0", 0, 0xffff}, {0x904, "reg9_i_lockdown0", 0, 0xffff},
        {0x908, "reg9_d_lockdown1", 0, 0xffff}, {0x90c, "reg9_i_lockdown1", 0, 0xffff},
        {0x910, "reg9_d_lockdown2", 0, 0xffff}, {0x914, "reg9_i_lockdown2", 0, 0xffff},
        {0x918, "reg9_d_lockdown3", 0, 0xffff}, {0x91c, "reg9_i_lockdown3", 0, 0xffff},
        {0x920, "reg9_d_lockdown4", 0, 0xffff}, {0x924, "reg9_i_lockdown4", 0, 0xffff},
        {0x928, "reg9_d_lockdown5", 0, 0xffff}, {0x92c, "reg9_i_lockdown5", 0, 0xffff},
        {0x930, "reg9_d_lockdown6", 0, 0xffff}, {0x934, "reg9_i_lockdown6", 0, 0xffff},
        {0x938, "reg9_d_lockdown7", 0, 0xffff}, {0x93c, "reg9_i_lockdown7", 0, 0xffff},
        {0x950, "reg9_lock_line_en", 0, 1},
        {0x954, "reg9_unlock_way", 0, 0, nullptr, done},
        {0xc00, "reg12_addr_filtering_start", 0, 0xfff00001},
        {0xc04, "reg12_addr_filtering_end", 0, 0xfff00000},
        {0xf40, "reg15_debug_ctrl", 0, 7},
        {0xf60, "reg15_prefetch_ctrl", 0x04000000, 0x7fe0001f},
        {0xf80, "reg15_power_ctrl", 0, 3},
    };
    // clang-format on
    return table;
  }

  u32 cache_type_;
  memory::RegisterFile registers_;
  RegisterWindow window_;
  std::array<MmioWindow, 1> windows_{{{"l2x0_cc", 0x1000, &window_, false}}};
};

Result<std::unique_ptr<Device>> create(const DeviceContext& context, const void* config) {
  return std::unique_ptr<Device>(std::make_unique<L2x0>(context, *static_cast<const Config*>(config)));
}

}  // namespace

extern const DeviceType l2x0;
const DeviceType l2x0 = {
    .name = "l2x0",
    .category = Category::misc,
    .summary = "ARM L2 cache controller (PL310), registers alone",
    .properties = kProperties,
    .make_config = default_config<Config>,
    .create = create,
};

}  // namespace rhea::devices
