// SPDX-License-Identifier: MIT
// How it works.
//
// Out: the guest writes commands and data to the TX data port; the TX FIFO makes frames of them. transmit_pending()
// gives frames to the wire while the transmitter is on, a status word has room and the wire takes them; what is
// not taken stays in the FIFO, and TX_FIFO_INF tells the driver to wait.
//
// In: receive() is called with frames that fit (can_receive); the MAC's filter judges them, short ones are padded
// to 60 bytes as on a wire, and the RX FIFO keeps them with their check sequence. Reading the data port gives the
// oldest frame's words. When a frame has been taken out, fifo_has_room asks for more.
//
// Interrupts: some bits of INT_STS are events, some follow a FIFO's level (TSFL, RSFL, TDFA and the full ones);
// those come back after being cleared as long as their condition holds, so that a driver that clears first and
// looks afterwards loses nothing. The deassertion interval keeps the pin quiet for a while after each interrupt.
#include "devices/net/lan9118_chip.h"

#include <algorithm>
#include <utility>

#include "devices/net/lan9118_registers.h"
#include "net/frame.h"

namespace rhea::devices {

using namespace lan9118;

namespace {

constexpr usize kTotalFifo = 16 * 1024;
constexpr usize kTxStatusFifo = 512;
constexpr u32 kHwCfgReset = 0x00050000;
constexpr u32 kIntCfgKept = kIrqPol | kIrqType;  // by a soft reset (section 5.3.2)
constexpr usize kMinFrameOnWire = 60;
constexpr s64 kDeassertUnit = 10'000;  // ns
constexpr u64 kGptHz = 10'000;
constexpr u64 kFreeRunHz = 25'000'000;
constexpr u8 kEepromValid = 0xa5;  // at address 0: an address follows (section 4.2)

}  // namespace

std::span<const memory::Register> Lan9118Chip::table() {
  using D = Lan9118Chip;
  using memory::hook;
  static constexpr memory::Register table[] = {
      {kRxStatus, "RX_STATUS_FIFO_PORT", 0, 0, hook<D, &D::pop_rx_status>()},
      {kRxStatusPeek, "RX_STATUS_FIFO_PEEK", 0, 0, hook<D, &D::peek_rx_status>()},
      {kTxStatus, "TX_STATUS_FIFO_PORT", 0, 0, hook<D, &D::pop_tx_status>()},
      {kTxStatusPeek, "TX_STATUS_FIFO_PEEK", 0, 0, hook<D, &D::peek_tx_status>()},
      {kIdRev, "ID_REV", 0x01180001, 0},
      {kIntCfg, "IRQ_CFG", 0, 0xff004111, hook<D, &D::read_int_cfg>(), hook<D, &D::write_int_cfg>()},
      {kIntSts, "INT_STS", 0, 0, nullptr, hook<D, &D::write_int_sts>(), kAllInterrupts},
      {kIntEn, "INT_EN", 0, kAllInterrupts, nullptr, hook<D, &D::write_int_en>()},
      {kByteTest, "BYTE_TEST", 0x87654321, 0, hook<D, &D::read_byte_test>(), hook<D, &D::write_byte_test>()},
      {kFifoInt, "FIFO_INT", 0x48000000, ~0u, nullptr, hook<D, &D::write_fifo_int>()},
      {kRxCfg, "RX_CFG", 0, 0xcfff1f00, nullptr, hook<D, &D::write_rx_cfg>()},
      {kTxCfg, "TX_CFG", 0, 0x6, nullptr, hook<D, &D::write_tx_cfg>()},
      {kHwCfg, "HW_CFG", kHwCfgReset, 0x003f3000, hook<D, &D::read_hw_cfg>(), hook<D, &D::write_hw_cfg>()},
      {kRxDpCtrl, "RX_DP_CTL", 0, 0, nullptr, hook<D, &D::write_rx_dp_ctrl>()},
      {kRxFifoInf, "RX_FIFO_INF", 0, 0, hook<D, &D::read_rx_fifo_inf>()},
      {kTxFifoInf, "TX_FIFO_INF", 0, 0, hook<D, &D::read_tx_fifo_inf>()},
      {kPmtCtrl, "PMT_CTRL", 0, 0x334e, hook<D, &D::read_pmt_ctrl>(), hook<D, &D::write_pmt_ctrl>()},
      {kGpioCfg, "GPIO_CFG", 0, 0x7777071f},
      {kGptCfg, "GPT_CFG", 0x0000ffff, 0x2000ffff, nullptr, hook<D, &D::write_gpt_cfg>()},
      {kGptCnt, "GPT_CNT", 0x0000ffff, 0, hook<D, &D::read_gpt_cnt>()},
      {kWordSwap, "WORD_SWAP", 0, ~0u},
      {kFreeRun, "FREE_RUN", 0, 0, hook<D, &D::read_free_run>()},
      {kRxDrop, "RX_DROP", 0, 0, hook<D, &D::read_rx_drop>()},
      {kMacCsrCmd, "MAC_CSR_CMD", 0, 0x400000ff, nullptr, hook<D, &D::write_mac_cmd>()},
      {kMacCsrData, "MAC_CSR_DATA", 0, ~0u},
      {kAfcCfg, "AFC_CFG", 0, 0x00ffffff},
      {kE2pCmd, "E2P_CMD", 0, 0x700000ff, nullptr, hook<D, &D::write_e2p_cmd>()},
      {kE2pData, "E2P_DATA", 0, 0xff},
  };
  return table;
}

Lan9118Chip::Lan9118Chip(Clock& clock, std::string name, std::array<u8, 6> address, bool bus_16bit, Wiring wiring,
                         Log& log)
    : clock_(clock), wiring_(std::move(wiring)), log_(log), bus_16bit_(bus_16bit),
      registers_(table(), this, std::move(name), log),
      general_timer_(clock, kGptHz, 1, [this] { return raise(kGpt), true; }),
      deassert_timer_(clock.timer([this] { update_irq(); })) {
  eeprom_.fill(0xff);
  eeprom_[0] = kEepromValid;
  std::copy(address.begin(), address.end(), eeprom_.begin() + 1);
}

void Lan9118Chip::reset(bool power_on) {
  if (power_on) registers_[kIntCfg] = 0;
  soft_reset();
}

void Lan9118Chip::soft_reset() {
  const u32 kept = registers_[kIntCfg] & kIntCfgKept;
  registers_.reset();
  registers_[kIntCfg] = kept;
  mac_.reset();
  mac_.phy.reset();
  rx_.clear();
  tx_.clear_data();
  tx_.clear_status();
  set_fifo_sizes();
  general_timer_.reset();
  general_timer_.set_mode(DownCounter::Mode::periodic);
  general_timer_.set_value(0xffff);
  deassert_timer_->cancel();
  deasserted_until_ = 0;
  asserted_ = false;
  rx_dropped_ = rx_dma_count_ = 0;
  read_latch_ = write_latch_ = 0;
  eeprom_writable_ = false;
  free_run_base_ = clock_.now();
  load_address();
  wiring_.was_reset();
  update_levels();
  update_irq();
  set_pin(asserted_);
}

void Lan9118Chip::load_address() {
  if (eeprom_[0] != kEepromValid) return;
  mac_.set_address(std::span<const u8, 6>(eeprom_.data() + 1, 6));
  registers_[kE2pCmd] |= kAddressLoaded;
}

void Lan9118Chip::fields(Visitor& visitor) {
  registers_.fields(visitor);
  mac_.fields(visitor);
  rx_.fields(visitor);
  tx_.fields(visitor);
  visitor.field("eeprom", eeprom_);
  visitor.field("eeprom_writable", eeprom_writable_);
  general_timer_.fields(visitor, "general_timer");
  visitor.field("deasserted_until", deasserted_until_);
  visitor.field("asserted", asserted_);
  visitor.field("rx_dropped", rx_dropped_);
  visitor.field("rx_dma_count", rx_dma_count_);
  visitor.field("read_latch", read_latch_);
  visitor.field("write_latch", write_latch_);
  visitor.field("free_run_base", free_run_base_);
  if (visitor.restoring()) {
    set_fifo_sizes();
    wiring_.receiver_changed();
    update_irq();
    set_pin(asserted_);
  }
}

// Section 5.3.9: TX_FIF_SZ is the transmit side's share in KiB, 2 to 14; a sixteenth of the receive side's is for
// status words.
void Lan9118Chip::set_fifo_sizes() {
  const usize share = std::clamp<usize>(registers_[kHwCfg] >> 16 & 15, 2, 14) * 1024;
  const usize receive = kTotalFifo - share;
  tx_.set_size(share - kTxStatusFifo);
  rx_.set_size(receive - receive / 16, receive / 16);
}

// --- access -------------------------------------------------------------------------------------------------------

u32 Lan9118Chip::read_slow(u32 offset, unsigned size) {
  if (bus_16bit_ && size == 2) return read_half(offset);
  if (offset >= kTxFifoEnd) return registers_.read(offset, size);
  if (offset < kRxFifoEnd) log_.guest_error("lan9118: read of {} bytes of the RX data port: it takes words", size);
  else log_.guest_error("lan9118: read of the TX data port");
  return 0;
}

void Lan9118Chip::write_slow(u32 offset, u32 value, unsigned size) {
  if (bus_16bit_ && size == 2) write_half(offset, value);
  else if (offset >= kTxFifoEnd) registers_.write(offset, value, size);
  else log_.guest_error("lan9118: write of {} bytes at {:#x}: the TX data port takes words at 0x20", size, offset);
}

// 16-bit mode (section 3.6): a register is read and written in two halves, low first. Reading the first half
// latches the other; the second write completes. With WORD_SWAP of all ones the halves change places.
u32 Lan9118Chip::read_half(u32 offset) {
  const bool upper = static_cast<bool>(offset & 2) != (registers_[kWordSwap] == 0xffffffff);
  if (!(offset & 2)) read_latch_ = read(offset & ~3u, 4);
  return upper ? read_latch_ >> 16 : read_latch_ & 0xffff;
}

void Lan9118Chip::write_half(u32 offset, u32 value) {
  const bool upper = static_cast<bool>(offset & 2) != (registers_[kWordSwap] == 0xffffffff);
  write_latch_ = with_bits(write_latch_, upper ? 16 : 0, 16, value & 0xffff);
  if (offset & 2) write(offset & ~3u, write_latch_, 4);
}

u32 Lan9118Chip::read_rx_data() {
  if (!rx_.is_open()) {
    static constexpr std::array<u8, 4> kAlignments = {4, 16, 32, 32};  // RX_CFG, section 5.3.7
    const u32 config = registers_[kRxCfg];
    if (!rx_.open(config >> 8 & 0x1f, kAlignments[config >> 30])) {
      log_.guest_error("lan9118: read of the RX data FIFO, which is empty");
      return 0;
    }
  }
  const u32 word = rx_.read_word();
  if (rx_dma_count_ && --rx_dma_count_ == 0) raise(kRxDma);
  if (!rx_.is_open()) wiring_.fifo_has_room();
  return word;
}

void Lan9118Chip::write_tx_data(u32 word) {
  const Lan9118TxFifo::Event event = tx_.write(word);
  if (event.frame_complete || event.interrupt_on_completion || event.error || event.overrun) tx_event(event);
}

void Lan9118Chip::tx_event(const Lan9118TxFifo::Event& event) {
  if (event.error) log_.guest_error("lan9118: transmit commands that contradict each other");
  if (event.overrun) log_.guest_error("lan9118: the TX data FIFO is overrun");
  raise(bits_if(event.interrupt_on_completion, kTxIoc) | bits_if(event.error, kTxe) |
        bits_if(event.overrun, kTdfo | kTxe));
  if (event.frame_complete) transmit_pending();
}

// --- transmit -----------------------------------------------------------------------------------------------------

void Lan9118Chip::transmit_pending() {
  while (tx_.has_frame() && mac_.transmits() && (registers_[kTxCfg] & kTxOn)) {
    if (tx_.status_full() && !(registers_[kTxCfg] & kTxsao)) break;  // until a status is read
    if (!send_front()) break;
    const u16 tag = tx_.front().tag();
    const bool carrier = mac_.phy.link() || mac_.loopback();
    if (!tx_.status_full()) tx_.push_status(u32{tag} << 16 | bits_if(!carrier, kTxError | kLostCarrier | kNoCarrier));
    else raise(kTxso);
    tx_.pop_frame();
  }
  update_levels();
}

bool Lan9118Chip::send_front() {
  const Lan9118TxFifo::Frame& front = tx_.front();
  std::span<const u8> frame(front.data);
  if (front.crc_disabled()) frame = frame.first(frame.size() - std::min<usize>(frame.size(), 4));
  if (frame.size() < net::kEthernetHeader) {
    log_.guest_error("lan9118: a frame of {} bytes, less than an Ethernet header, is not sent", frame.size());
    return true;
  }
  if (frame.size() < kMinFrameOnWire && !front.padding_disabled()) {
    padded_.assign(frame.begin(), frame.end());
    padded_.resize(kMinFrameOnWire);
    frame = padded_;
  }
  if (mac_.loopback()) {
    loop_back(frame);
    return true;
  }
  return !mac_.phy.link() || wiring_.transmit(frame);
}

void Lan9118Chip::loop_back(std::span<const u8> frame) {
  if (!mac_.receives()) return;
  const std::vector<u8> copy(frame.begin(), frame.end());
  if (rx_.fits(std::max(copy.size(), kMinFrameOnWire))) {
    receive(copy);
    return;
  }
  if (++rx_dropped_ == 0x80000000) raise(kRxDfh);
  raise(kRxDf);
}

void Lan9118Chip::transmit_again() { transmit_pending(); }

// --- receive ------------------------------------------------------------------------------------------------------

bool Lan9118Chip::can_receive(usize frame_size) const {
  return mac_.receives() && rx_.fits(std::max(frame_size, kMinFrameOnWire));
}

void Lan9118Chip::receive(std::span<const u8> frame) {
  const Lan9118Mac::Judgement judged = mac_.judge(frame);
  if (!judged.accepted) {
    ++filtered_;
    return;
  }
  if (frame.size() < kMinFrameOnWire) {
    padded_.assign(frame.begin(), frame.end());
    padded_.resize(kMinFrameOnWire);
    frame = padded_;
  }
  rx_.push(frame.first(mac_.stripped_size(frame)), judged.status);
  update_levels();
}

void Lan9118Chip::set_link(bool up) {
  mac_.phy.set_link(up);
  update_levels();
  if (up) transmit_pending();
}

u32 Lan9118Chip::pop_rx_status() {
  const u32 status = rx_.pop_status();
  wiring_.fifo_has_room();
  return status;
}

u32 Lan9118Chip::pop_tx_status() {
  const bool was_full = tx_.status_full();
  const u32 status = tx_.pop_status();
  if (was_full) transmit_pending();
  return status;
}

// --- interrupts ---------------------------------------------------------------------------------------------------

void Lan9118Chip::raise(u32 interrupts) {
  if (!interrupts) return;
  registers_[kIntSts] |= interrupts;
  update_irq();
}

// Sets the bits that follow a level. RX_STS_LEVEL and TX_STS_LEVEL count status words, TX_AVAIL_LEVEL 64 bytes
// (section 5.3.6).
void Lan9118Chip::update_levels() {
  const u32 levels = registers_[kFifoInt];
  registers_[kIntSts] |= bits_if(rx_.status_count() > (levels & 0xff), kRsfl) |
                         bits_if(rx_.has_status() && !rx_.fits(kMinFrameOnWire), kRsff) |
                         bits_if(tx_.status_count() > (levels >> 16 & 0xff), kTsfl) |
                         bits_if(tx_.status_full(), kTsff) | bits_if(tx_.data_free() > (levels >> 24) * 64, kTdfa) |
                         bits_if(mac_.phy.interrupt(), kPhy);
  update_irq();
}

void Lan9118Chip::update_irq() {
  const u32 config = registers_[kIntCfg];
  bool assert_it = (registers_[kIntSts] & registers_[kIntEn]) && (config & kIrqEn);
  if (assert_it && !asserted_) {
    const s64 now = clock_.now();
    if (now < deasserted_until_) {
      deassert_timer_->arm(deasserted_until_);
      assert_it = false;
    }
  } else if (!assert_it && asserted_) {
    deasserted_until_ = clock_.now() + (config >> 24) * kDeassertUnit;
  }
  if (assert_it == asserted_) return;
  asserted_ = assert_it;
  set_pin(asserted_);
}

// The pin is active low unless it is configured as push-pull and active high (section 5.3.2).
void Lan9118Chip::set_pin(bool level) {
  constexpr u32 kActiveHigh = kIrqPol | kIrqType;
  const bool active_high = (registers_[kIntCfg] & kActiveHigh) == kActiveHigh;
  const bool pin = level == active_high;
  pin_ = pin;
  wiring_.set_irq(pin);
}

u32 Lan9118Chip::read_int_cfg() {
  return registers_[kIntCfg] | bits_if(registers_[kIntSts] & registers_[kIntEn], kIrqInt) |
         bits_if(clock_.now() < deasserted_until_, kDeasSts);
}

void Lan9118Chip::write_int_cfg(u32 value) {
  registers_[kIntCfg] &= ~u32{kDeasClr};
  if (value & kDeasClr) deasserted_until_ = 0;
  update_irq();
  set_pin(asserted_);
}

void Lan9118Chip::write_int_sts(u32) { update_levels(); }

void Lan9118Chip::write_int_en(u32) {
  // SW_INT is raised as long as its enable bit is set (section 5.3.4).
  if (registers_[kIntEn] & kSwInt) registers_[kIntSts] |= kSwInt;
  update_irq();
}

void Lan9118Chip::write_fifo_int(u32) { update_levels(); }

// --- configuration ------------------------------------------------------------------------------------------------

void Lan9118Chip::write_byte_test(u32) { registers_[kPmtCtrl] &= ~u32{kPmMode}; }  // wakes up (section 3.10)

void Lan9118Chip::write_rx_cfg(u32 value) {
  rx_dma_count_ = registers_[kRxCfg] >> 16 & 0xfff;
  if (!(value & kRxDump)) return;
  rx_.clear();
  wiring_.fifo_has_room();
}

void Lan9118Chip::write_tx_cfg(u32 value) {
  if (value & kTxdDump) tx_.clear_data();
  if (value & kTxsDump) tx_.clear_status();
  if (value & kStopTx) {
    registers_[kTxCfg] &= ~u32{kTxOn};
    raise(kTxStop);
  }
  transmit_pending();
}

u32 Lan9118Chip::read_hw_cfg() { return registers_[kHwCfg] | bits_if(!bus_16bit_, k32BitMode); }

void Lan9118Chip::write_hw_cfg(u32 value) {
  if (value & kSoftReset) {
    soft_reset();
    return;
  }
  set_fifo_sizes();
  update_levels();
}

void Lan9118Chip::write_rx_dp_ctrl(u32 value) {
  if (!(value & kFastForward)) return;
  rx_.skip_frame();
  wiring_.fifo_has_room();
}

u32 Lan9118Chip::read_rx_fifo_inf() {
  return static_cast<u32>(std::min<usize>(rx_.status_count(), 255) << 16 | rx_.data_used());
}

u32 Lan9118Chip::read_tx_fifo_inf() { return static_cast<u32>(tx_.status_count() << 16 | tx_.data_free()); }

u32 Lan9118Chip::read_pmt_ctrl() { return registers_[kPmtCtrl] | kReady; }

void Lan9118Chip::write_pmt_ctrl(u32 value) {
  if (value & kPhyReset) mac_.phy.reset();
  update_levels();
}

void Lan9118Chip::write_gpt_cfg(u32 value) {
  const bool on = registers_[kGptCfg] & kTimerEn;
  general_timer_.set_reload(registers_[kGptCfg] & 0xffff);
  if (!on) {
    general_timer_.set_running(false);
    general_timer_.set_notify(false);
    general_timer_.set_value(0xffff);
  } else if (!general_timer_.running()) {
    general_timer_.set_value(registers_[kGptCfg] & 0xffff);
    general_timer_.set_running(true);
    general_timer_.set_notify(true);
  }
}

u32 Lan9118Chip::read_gpt_cnt() { return static_cast<u32>(general_timer_.value()) & 0xffff; }

u32 Lan9118Chip::read_free_run() {
  return static_cast<u32>(static_cast<u128>(clock_.now() - free_run_base_) * kFreeRunHz / kSecond);
}

u32 Lan9118Chip::read_rx_drop() { return std::exchange(rx_dropped_, 0); }

// Bus cycles to the MAC end at once: the busy bit never stays.
void Lan9118Chip::write_mac_cmd(u32 value) {
  if (!(value & kBusy)) return;
  const unsigned index = value & 0xff;
  if (value & kRead) {
    registers_[kMacCsrData] = mac_.read(index);
    return;
  }
  const bool received = mac_.receives(), transmitted = mac_.transmits();
  mac_.write(index, registers_[kMacCsrData]);
  if (received && !mac_.receives()) raise(kRxStop);
  if (transmitted && !mac_.transmits()) raise(kTxStop);
  if (received != mac_.receives()) wiring_.receiver_changed();
  if (!transmitted && mac_.transmits()) transmit_pending();
  update_levels();
}

// --- EEPROM (93C46, section 5.3.23) -------------------------------------------------------------------------------

void Lan9118Chip::write_e2p_cmd(u32 value) {
  if (value & kBusy) eeprom_command(value >> 28 & 7, value & 0x7f);
}

void Lan9118Chip::eeprom_command(u32 command, u32 address) {
  enum Command : u32 { kReadByte, kWriteDisable, kWriteEnable, kWriteByte, kWriteAll, kEraseByte, kEraseAll, kReload };
  switch (command) {
    case kReadByte: registers_[kE2pData] = eeprom_[address]; break;
    case kWriteDisable: eeprom_writable_ = false; break;
    case kWriteEnable: eeprom_writable_ = true; break;
    case kWriteByte:
      if (eeprom_writable_) eeprom_[address] = static_cast<u8>(registers_[kE2pData]);
      break;
    case kWriteAll:
      if (eeprom_writable_) eeprom_.fill(static_cast<u8>(registers_[kE2pData]));
      break;
    case kEraseByte:
      if (eeprom_writable_) eeprom_[address] = 0xff;
      break;
    case kEraseAll:
      if (eeprom_writable_) eeprom_.fill(0xff);
      break;
    case kReload:
      registers_[kE2pCmd] &= ~u32{kAddressLoaded};
      load_address();
      break;
    default: break;
  }
}

}  // namespace rhea::devices
