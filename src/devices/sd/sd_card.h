// SPDX-License-Identifier: MIT
// An SD memory card (SD Physical Layer Simplified Specification 6.00): what it answers on its command line, and the
// bytes on its data lines. The medium is a drive's image: up to 2 GiB it is a standard capacity card, above that
// high or extended capacity. SPI mode and UHS-I are not there.
//
// Data goes through a window of up to 64 KiB. Reading, the host says how much more it is going to take, so that
// the window is filled in one go; writing, it says how much more is to come, so that what belongs together is
// written at once. The image may take its time: read() gives nothing and busy() is true meanwhile, and `changed` is
// called when there is news.
//
// A host that knows the card's cache (version 6.00, performance enhancement function) turns it on and then asks for
// flushes. With the cache off, data is safe when the card is no longer busy.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/drive.h"
#include "core/snapshot.h"
#include "devices/sd/sd_registers.h"
#include "util/log.h"

namespace rhea::devices::sd {

// What comes back on the command line.
struct Reply {
  enum class Kind : u8 { r1, r1b, r2, r3, r6, r7 } kind = Kind::r1;
  std::array<u8, 16> bytes{};  // without start bits and CRC: 4 of them, 16 with r2
  u32 word() const;            // of the short ones
};

class SdCard {
 public:
  struct Wiring {
    std::function<void()> changed;       // data came, or the card is no longer busy
    std::function<void()> slot_changed;  // another card or none
  };
  // `drive` may be nullptr: there is no card, ever.
  SdCard(block::Drive* drive, std::string name, Wiring wiring, Log& log);
  ~SdCard();
  SdCard(const SdCard&) = delete;
  SdCard& operator=(const SdCard&) = delete;

  // Before the machine runs.
  void set_drive(block::Drive* drive) { drive_ = drive; }
  bool inserted() const { return capacity_ != 0; }
  bool write_protected() const { return inserted() && drive_->read_only(); }
  // The medium is another one (or none, or has another size). What cannot be a card is none, and logged.
  void medium_changed();
  void power_cycle();
  // At a reset of the machine: besides, what the image has not done yet is forgotten.
  void machine_reset();
  void fields(Visitor& visitor);

  // A command with its argument. Nothing: the card is silent.
  std::optional<Reply> command(u8 index, u32 argument);

  // --- the data lines
  bool sending() const { return state_ == State::sending; }
  bool receiving() const { return state_ == State::receiving; }
  // It holds the data line low: it is writing, erasing or flushing.
  bool busy() const { return in_flight_ && !fetching_; }  // also while a stopped machine waits for its disk
  // Takes up to to.size() bytes; 0: there are none now. `ahead`: how many the host will take after these.
  usize read(std::span<u8> to, usize ahead);
  // Gives bytes; those that were taken. `ahead`: how many the host will give after these.
  usize write(std::span<const u8> from, usize ahead);

  // Bytes can still come (sending), or be taken (receiving), if not now.
  bool delivers() const { return state_ == State::sending && !silent_; }
  bool accepts() const { return state_ == State::receiving || busy(); }

  State state() const { return state_; }
  u64 capacity() const { return capacity_; }

 private:
  struct Row;
  enum class Incoming : u8 { nothing, blocks, csd, lock, vendor, extension };
  static std::span<const Row> table();
  const Row* find(u8 index) const;
  bool locked_out(u8 index, bool app) const;
  std::optional<Reply> answer(Reply::Kind kind, State before);
  Register128 csd() const;

  // Handlers; false: the command is not legal now.
  bool go_idle(u32), send_cid_all(u32), send_rca(u32), set_dsr(u32), switch_function(u32), select(u32);
  bool interface_condition(u32), read_csd(u32), read_cid(u32), stop(u32), send_status(u32), go_inactive(u32);
  bool set_block_length(u32), read_single(u32), read_multiple(u32), set_block_count(u32), write_single(u32);
  bool write_multiple(u32), program_csd(u32), erase_first(u32), erase_last(u32), erase(u32), lock_unlock(u32);
  bool read_extension(u32), write_extension(u32), app_command(u32), general_command(u32);
  bool app_bus_width(u32), app_status(u32), app_written_blocks(u32), app_erase_count(u32), app_conditions(u32);
  bool app_card_detect(u32), app_scr(u32);

  // Data (sd_data.cpp).
  void send_bytes(std::span<const u8> bytes);
  void receive_bytes(Incoming what, usize size);
  u64 address_of(u32 argument) const { return high_capacity_ ? u64{argument} * kBlock : argument; }
  bool start_reading(u32 argument, u64 blocks);
  bool start_writing(u32 argument, u64 blocks);
  bool write_forbidden() const;
  u64 unit() const { return high_capacity_ ? kBlock : block_length_; }
  void fetch(usize wanted);
  usize collect(std::span<const u8> from);
  usize collect_blocks(std::span<const u8> from, usize ahead);
  void store();
  void received();
  void received_csd(std::span<const u8> data);
  void received_lock(std::span<const u8> data);
  void change_password(std::span<const u8> given, u8 flags);
  void received_extension(std::span<const u8> data);
  void begin(block::Request request);
  void ended(block::Op op, const block::IoResult& result);
  void wind_up();
  void abort_data();
  std::array<u8, kBlock> extension_page(unsigned function, unsigned page) const;

  block::Drive* drive_;
  std::string name_;
  Wiring wiring_;
  Log& log_;
  u64 capacity_ = 0;  // bytes; 0: no card
  bool high_capacity_ = false;

  // What a power cycle resets.
  State state_ = State::idle;
  u32 status_ = 0;              // error bits to be sent
  bool expecting_app_ = false;  // after CMD55
  bool powered_up_ = false, seen_cmd8_ = false, wide_ = false;
  u16 rca_ = 0, dsr_ = 0x404;
  u32 block_length_ = kBlock;
  u64 block_count_ = 0;  // of CMD23; 0: none
  bool erase_first_set_ = false, erase_last_set_ = false;
  u64 erase_first_ = 0, erase_last_ = 0;
  std::array<u8, 6> functions_{};  // selected by CMD6
  u32 written_blocks_ = 0;         // of the last write
  bool cache_on_ = false;
  Register128 reply_{};  // of R2; the first four bytes for R3, R6 and R7

  // What outlives it.
  u8 csd_writable_ = 0;  // bits 15 to 8 of the CSD
  std::vector<u8> password_;
  bool locked_ = false;
  std::array<u8, kBlock> vendor_{};

  // The transfer.
  Incoming incoming_ = Incoming::nothing;
  u64 position_ = 0;     // bytes from the medium's start: of the window's first byte
  u64 blocks_left_ = 0;  // after the window
  std::shared_ptr<std::vector<u8>> window_;
  usize at_ = 0;         // read so far of the window
  bool silent_ = false;  // reading failed: nothing comes any more
  u32 extension_argument_ = 0;

  // The image.
  bool in_flight_ = false, fetching_ = false;
  bool unsafe_ = false;            // the image holds data back that a flush would make safe
  bool buffers_ = false;           // it is of a kind that does so
  u64 generation_ = 0;             // of the request that counts
  std::shared_ptr<SdCard*> self_;  // callbacks that come later find out whether the card is still there
};

}  // namespace rhea::devices::sd
