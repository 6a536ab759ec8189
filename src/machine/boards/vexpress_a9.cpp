// SPDX-License-Identifier: MIT
// ARM Versatile Express: motherboard with the legacy memory map (DUI 0447, table 4-1) and CoreTile A9x4 (DUI 0448,
// table 3-1). What stands here as "absent" answers as hardware that is not there, and is logged with -d unimp.
#include "machine/board.h"

namespace rhea::machine {

namespace {

using Irq = BoardIrq;
constexpr Irq spi(u8 number) { return {Irq::controller, number}; }

constexpr u64 kFlashSize = u64{64} << 20;
constexpr u64 kPrivate = 0x1e000000;
constexpr u64 kPrivateWindows[] = {kPrivate,         kPrivate + 0x100, kPrivate + 0x200,
                                   kPrivate + 0x600, kPrivate + 0x620, kPrivate + 0x1000};
constexpr Irq kCpuPins[] = {{Irq::cpu_pins, 0}};
constexpr Irq kMmciLines[] = {spi(9), spi(10), {Irq::device, 0, "sysregs"}, {Irq::device, 1, "sysregs"}};

// clang-format off
#define BASE(name, address) constexpr u64 name[] = {address}
#define LINES(name, ...) constexpr Irq name[] = {__VA_ARGS__}
BASE(kSysregs, 0x10000000);
BASE(kUart0, 0x10009000); LINES(kUart0Lines, spi(5));
BASE(kUart1, 0x1000a000); LINES(kUart1Lines, spi(6));
BASE(kUart2, 0x1000b000); LINES(kUart2Lines, spi(7));
BASE(kUart3, 0x1000c000); LINES(kUart3Lines, spi(8));
BASE(kTimer01, 0x10011000); LINES(kTimer01Lines, spi(2));
BASE(kTimer23, 0x10012000); LINES(kTimer23Lines, spi(3));
BASE(kRtc, 0x10017000); LINES(kRtcLines, spi(4));
BASE(kVirtio0, 0x10013000); LINES(kVirtio0Lines, spi(40));
BASE(kVirtio1, 0x10013200); LINES(kVirtio1Lines, spi(41));
BASE(kVirtio2, 0x10013400); LINES(kVirtio2Lines, spi(42));
BASE(kVirtio3, 0x10013600); LINES(kVirtio3Lines, spi(43));
BASE(kL2, 0x1e00a000);
BASE(kNic, 0x4e000000); LINES(kNicLines, spi(15));
BASE(kSram, 0x48000000);
BASE(kVram, 0x4c000000);
BASE(kAaci, 0x10004000); LINES(kAaciLines, spi(11));
BASE(kKmi0, 0x10006000); LINES(kKmi0Lines, spi(12));
BASE(kKmi1, 0x10007000); LINES(kKmi1Lines, spi(13));
BASE(kSerialBus1, 0x10016000);
BASE(kClcd, 0x1001f000); LINES(kClcdLines, spi(14));
BASE(kClcdTile, 0x10020000); LINES(kClcdTileLines, spi(44));
BASE(kTileTimer, 0x100e4000); LINES(kTileTimerLines, spi(48));
BASE(kSp810, 0x10001000); BASE(kSerialBus0, 0x10002000); BASE(kMmci, 0x10005000);
BASE(kWatchdog, 0x1000f000); BASE(kCompactFlash, 0x1001a000);
BASE(kTileDevices, 0x100e0000); BASE(kFlash0, 0x40000000); BASE(kFlash1, 0x44000000); BASE(kFlashAlias, 0);
BASE(kUsb, 0x4f000000);
#undef BASE
#undef LINES
// clang-format on

#define BUS "/bus@10000000"
#define UART_NODE                               \
  "compatible=\"arm,pl011\",\"arm,primecell\";" \
  "clocks=<&/clocks/clk24mhz &/clocks/clk24mhz>;clock-names=\"uartclk\",\"apb_pclk\""
#define TIMER_NODE                                                      \
  "compatible=\"arm,sp804\",\"arm,primecell\";"                         \
  "clocks=<&/clocks/refclk1mhz &/clocks/refclk1mhz &/clocks/clk24mhz>;" \
  "clock-names=\"timclken1\",\"timclken2\",\"apb_pclk\""
#define FLASH_NODE "compatible=\"arm,vexpress-flash\",\"cfi-flash\";bank-width=<4>"
#define KMI_NODE                                \
  "compatible=\"arm,pl050\",\"arm,primecell\";" \
  "clocks=<&/clocks/clk24mhz &/clocks/clk24mhz>;clock-names=\"KMIREFCLK\",\"apb_pclk\""
#define VIRTIO_NODE "compatible=\"virtio,mmio\""

// clang-format off
constexpr BoardDevice kDevices[] = {
    // Nothing on this board's buses answers with an error: what is not listed below reads as zero.
    {.type = "absent", .name = "unassigned", .bases = kFlashAlias, .size = u64{1} << 32},
    {.type = "a9mpcore_priv", .name = "a9mpcore", .bases = kPrivateWindows, .irqs = kCpuPins},
    {.type = "l2x0", .name = "l2", .bases = kL2, .fdt_path = BUS "/cache-controller@1e00a000",
     .fdt = "compatible=\"arm,pl310-cache\";cache-unified;cache-level=<2>;arm,data-latency=<1 1 1>;arm,tag-latency=<1 1 1>"},
    {.type = "realview_sysctl", .name = "sysregs", .bases = kSysregs, .fdt_path = BUS "/sysreg@10000000",
     .fdt = "compatible=\"arm,vexpress-sysreg\";#address-cells=<1>;#size-cells=<1>;ranges=<0 0x10000000 0x1000>"},
    {.type = "pl011", .name = "uart0", .bases = kUart0, .irqs = kUart0Lines, .slot = Slot::serial, .slot_index = 0,
     .fdt_path = BUS "/uart@10009000", .fdt = UART_NODE},
    {.type = "pl011", .name = "uart1", .bases = kUart1, .irqs = kUart1Lines, .slot = Slot::serial, .slot_index = 1,
     .fdt_path = BUS "/uart@1000a000", .fdt = UART_NODE},
    {.type = "pl011", .name = "uart2", .bases = kUart2, .irqs = kUart2Lines, .slot = Slot::serial, .slot_index = 2,
     .fdt_path = BUS "/uart@1000b000", .fdt = UART_NODE},
    {.type = "pl011", .name = "uart3", .bases = kUart3, .irqs = kUart3Lines, .slot = Slot::serial, .slot_index = 3,
     .fdt_path = BUS "/uart@1000c000", .fdt = UART_NODE},
    {.type = "sp804", .name = "timer01", .bases = kTimer01, .irqs = kTimer01Lines,
     .fdt_path = BUS "/timer@10011000", .fdt = TIMER_NODE},
    {.type = "sp804", .name = "timer23", .bases = kTimer23, .irqs = kTimer23Lines,
     .fdt_path = BUS "/timer@10012000", .fdt = TIMER_NODE},
    {.type = "pl031", .name = "rtc", .bases = kRtc, .irqs = kRtcLines, .fdt_path = BUS "/rtc@10017000",
     .fdt = "compatible=\"arm,pl031\",\"arm,primecell\";clocks=<&/clocks/clk24mhz>;clock-names=\"apb_pclk\""},
    {.type = "virtio-mmio", .name = "virtio0", .bases = kVirtio0, .irqs = kVirtio0Lines, .slot = Slot::virtio, .slot_index = 0,
     .fdt_path = BUS "/virtio_mmio@10013000", .fdt = VIRTIO_NODE},
    {.type = "virtio-mmio", .name = "virtio1", .bases = kVirtio1, .irqs = kVirtio1Lines, .slot = Slot::virtio, .slot_index = 1,
     .fdt_path = BUS "/virtio_mmio@10013200", .fdt = VIRTIO_NODE},
    {.type = "virtio-mmio", .name = "virtio2", .bases = kVirtio2, .irqs = kVirtio2Lines, .slot = Slot::virtio, .slot_index = 2,
     .fdt_path = BUS "/virtio_mmio@10013400", .fdt = VIRTIO_NODE},
    {.type = "virtio-mmio", .name = "virtio3", .bases = kVirtio3, .irqs = kVirtio3Lines, .slot = Slot::virtio, .slot_index = 3,
     .fdt_path = BUS "/virtio_mmio@10013600", .fdt = VIRTIO_NODE},
    {.type = "lan9118", .name = "lan9118", .bases = kNic, .irqs = kNicLines, .slot = Slot::nic, .slot_index = 0,
     .fdt_path = BUS "/ethernet@4e000000",
     .fdt = "compatible=\"smsc,lan9118\",\"smsc,lan9115\";phy-mode=\"mii\";reg-io-width=<4>;smsc,irq-active-high;"
            "smsc,irq-push-pull;vdd33a-supply=<&/regulator-3v3>;vddvario-supply=<&/regulator-3v3>"},
    {.type = "absent", .name = "daughterboard-controllers", .bases = kTileDevices, .size = 0x10000},
    {.type = "sp804", .name = "timer-tile", .bases = kTileTimer, .irqs = kTileTimerLines},
    {.type = "pl111", .name = "clcd-tile", .bases = kClcdTile, .irqs = kClcdTileLines, .fdt_path = BUS "/clcd@10020000",
     .fdt = "compatible=\"arm,pl111\",\"arm,primecell\";interrupt-names=\"combined\";"
            "clocks=<&/dcc/oscclk1 &/clocks/clk24mhz>;clock-names=\"clcdclk\",\"apb_pclk\""},
    {.type = "pl111", .name = "clcd", .bases = kClcd, .irqs = kClcdLines},
    {.type = "pl041", .name = "aaci", .bases = kAaci, .irqs = kAaciLines, .properties = "nc_fifo_depth=512",
     .fdt_path = BUS "/aaci@10004000",
     .fdt = "compatible=\"arm,pl041\",\"arm,primecell\";clocks=<&/clocks/clk24mhz>;clock-names=\"apb_pclk\""},
    {.type = "pl050_keyboard", .name = "kmi0", .bases = kKmi0, .irqs = kKmi0Lines, .fdt_path = BUS "/kmi@10006000",
     .fdt = KMI_NODE},
    {.type = "pl050_mouse", .name = "kmi1", .bases = kKmi1, .irqs = kKmi1Lines, .fdt_path = BUS "/kmi@10007000",
     .fdt = KMI_NODE},
    {.type = "versatile_i2c", .name = "i2c-dvi", .bases = kSerialBus1, .fdt_path = BUS "/i2c@10016000",
     .fdt = "compatible=\"arm,versatile-i2c\";#address-cells=<1>;#size-cells=<0>"},
    {.type = "ram", .name = "vexpress.sram", .bases = kSram, .size = u64{32} << 20},
    {.type = "ram", .name = "vexpress.vram", .bases = kVram, .size = u64{8} << 20},
    {.type = "pl181", .name = "mmci", .bases = kMmci, .irqs = kMmciLines, .slot = Slot::sd, .slot_index = 0,
     .fdt_path = BUS "/mmci@10005000",
     .fdt = "compatible=\"arm,pl180\",\"arm,primecell\";cd-gpios=<&" BUS "/sysreg@10000000/gpio@48 0 0>;"
            "wp-gpios=<&" BUS "/sysreg@10000000/gpio@48 1 0>;max-frequency=<12000000>;vmmc-supply=<&/regulator-3v3>;"
            "clocks=<&/clocks/clk24mhz &/clocks/clk24mhz>;clock-names=\"mclk\",\"apb_pclk\""},
    {.type = "cfi.pflash01", .name = "vexpress.flash0", .bases = kFlash0, .slot = Slot::pflash, .slot_index = 0,
     .size = kFlashSize, .fdt_path = BUS "/flash@40000000", .fdt = FLASH_NODE, .aliases = kFlashAlias},
    {.type = "cfi.pflash01", .name = "vexpress.flash1", .bases = kFlash1, .slot = Slot::pflash, .slot_index = 1,
     .size = kFlashSize, .fdt_path = BUS "/flash@44000000", .fdt = FLASH_NODE},
    {.type = "absent", .name = "sp810", .bases = kSp810, .size = 0x1000},
    {.type = "versatile_i2c", .name = "i2c-pci", .bases = kSerialBus0, .properties = "dvi=off"},
    {.type = "absent", .name = "sp805", .bases = kWatchdog, .size = 0x1000},
    {.type = "absent", .name = "compact-flash", .bases = kCompactFlash, .size = 0x1000},
    {.type = "absent", .name = "isp1761", .bases = kUsb, .size = 0x20000},
};
// clang-format on

// The monitor on the DVI connector: what Linux' driver of the PL111 takes as a panel. VESA 1024x768 at 60 Hz.
#define PANEL_PORT "/panel/port/endpoint"
#define CLCD_PORT BUS "/clcd@10020000/port/endpoint"

#define SYSCFG(function) "arm,vexpress-sysreg,func=<" function " 0>"

// clang-format off
constexpr BoardNode kNodes[] = {
    {"/aliases", "serial0=\"" BUS "/uart@10009000\";serial1=\"" BUS "/uart@1000a000\";serial2=\"" BUS
                 "/uart@1000b000\";serial3=\"" BUS "/uart@1000c000\""},
    {"/chosen", "stdout-path=\"serial0:115200n8\""},
    {BUS, "compatible=\"simple-bus\";#address-cells=<1>;#size-cells=<1>;ranges"},
    {"/interrupt-controller@1e001000",
     "compatible=\"arm,cortex-a9-gic\";#interrupt-cells=<3>;#address-cells=<0>;interrupt-controller;"
     "reg=<0x1e001000 0x1000 0x1e000100 0x100>"},
    {"/scu@1e000000", "compatible=\"arm,cortex-a9-scu\";reg=<0x1e000000 0x58>"},
    {"/timer@1e000600", "compatible=\"arm,cortex-a9-twd-timer\";reg=<0x1e000600 0x20>;interrupts=<1 13 0xf04>;"
                        "clocks=<&/clocks/periphclk>"},
    {"/watchdog@1e000620", "compatible=\"arm,cortex-a9-twd-wdt\";reg=<0x1e000620 0x20>;interrupts=<1 14 0xf04>;"
                           "clocks=<&/clocks/periphclk>"},
    {"/clocks/clk24mhz", "compatible=\"fixed-clock\";#clock-cells=<0>;clock-frequency=<24000000>;clock-output-names=\"v2m:clk24mhz\""},
    {"/clocks/refclk1mhz", "compatible=\"fixed-clock\";#clock-cells=<0>;clock-frequency=<1000000>;clock-output-names=\"v2m:refclk1mhz\""},
    {"/clocks/periphclk", "compatible=\"fixed-clock\";#clock-cells=<0>;clock-frequency=<100000000>;clock-output-names=\"periphclk\""},
    {"/regulator-3v3", "compatible=\"regulator-fixed\";regulator-name=\"3V3\";regulator-min-microvolt=<3300000>;"
                       "regulator-max-microvolt=<3300000>;regulator-always-on"},
    {BUS "/sysreg@10000000/gpio@48", "compatible=\"arm,vexpress-sysreg,sys_mci\";reg=<0x48 4>;gpio-controller;#gpio-cells=<2>"},
    {"/mcc", "compatible=\"arm,vexpress,config-bus\";arm,vexpress,site=<0>;arm,vexpress,config-bridge=<&" BUS "/sysreg@10000000>"},
    {"/mcc/reset", "compatible=\"arm,vexpress-reset\";" SYSCFG("5")},
    {"/mcc/shutdown", "compatible=\"arm,vexpress-shutdown\";" SYSCFG("8")},
    {"/mcc/reboot", "compatible=\"arm,vexpress-reboot\";" SYSCFG("9")},
    {"/dcc", "compatible=\"arm,vexpress,config-bus\";arm,vexpress,site=<0xf>;arm,vexpress,config-bridge=<&" BUS "/sysreg@10000000>"},
    {"/dcc/oscclk1", "compatible=\"arm,vexpress-osc\";arm,vexpress-sysreg,func=<1 1>;freq-range=<23750000 65000000>;"
                     "#clock-cells=<0>;clock-output-names=\"clcdclk\""},
    {CLCD_PORT, "remote-endpoint=<&" PANEL_PORT ">;arm,pl11x,tft-r0g0b0-pads=<0 8 16>"},
    {"/panel", "compatible=\"panel-dpi\""},
    {"/panel/panel-timing", "clock-frequency=<65000000>;hactive=<1024>;hfront-porch=<24>;hsync-len=<136>;hback-porch=<160>;"
                            "vactive=<768>;vfront-porch=<3>;vsync-len=<6>;vback-porch=<29>"},
    {PANEL_PORT, "remote-endpoint=<&" CLCD_PORT ">"},
};
// clang-format on

constexpr std::string_view kCpus[] = {"cortex-a9"};
constexpr std::string_view kNics[] = {"lan9118"};

}  // namespace

extern const Board vexpress_a9;
const Board vexpress_a9 = {
    .name = "vexpress-a9",
    .summary = "ARM Versatile Express for Cortex-A9",
    .default_cpu = "cortex-a9",
    .cpus = kCpus,
    .wrong_cpu_message = "Cortex-A9MPCore peripheral can only use Cortex-A9 CPU",
    .min_cpus = 1,
    .max_cpus = 4,
    .ram_base = 0x60000000,
    .default_ram = u64{128} << 20,
    .max_ram = u64{1} << 30,
    .too_much_ram_message = "vexpress-a9: cannot model more than 1GB RAM",
    .machine_id = 0x8e0,
    .private_base = kPrivate,
    .devices = kDevices,
    .nic_models = kNics,
    .secondary_boot = 0x48000000,
    .secondary_flags = 0x10000030,
    .fdt_root =
        "model=\"V2P-CA9\";compatible=\"arm,vexpress,v2p-ca9\",\"arm,vexpress\";#address-cells=<1>;#size-cells=<1>;"
        "arm,hbi=<0x191>;arm,vexpress,site=<0xf>;interrupt-parent=<&/interrupt-controller@1e001000>",
    .fdt_nodes = kNodes,
    .fdt_cpu = "device_type=\"cpu\";compatible=\"arm,cortex-a9\";next-level-cache=<&" BUS "/cache-controller@1e00a000>",
    .fdt_board_match = "arm,vexpress",
};

}  // namespace rhea::machine
