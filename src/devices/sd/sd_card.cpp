// SPDX-License-Identifier: MIT
// The command line of the card: one table says which command is legal in which state (specification table 4-35) and
// what is answered; a method each does it. A response carries the state in which the command was received, and the
// errors that the command itself caused. What is not legal is answered by silence, and the next response says so.
#include "devices/sd/sd_card.h"

#include <algorithm>

#include "util/bits.h"

namespace rhea::devices::sd {
namespace {

constexpr u16 in(std::initializer_list<State> states) {
  u16 mask = 0;
  for (const State state : states) mask = static_cast<u16>(mask | 1u << static_cast<unsigned>(state));
  return mask;
}
constexpr u16 kAny = 0x1ff;  // all but inactive
constexpr u16 kTransfer = in({State::transfer});
constexpr u16 kAddressed =
    in({State::standby, State::transfer, State::sending, State::receiving, State::programming, State::disconnect});
// Commands between the two that set an erase range and the erase itself that do not disturb it.
constexpr bool keeps_erase(u8 index) { return index == 32 || index == 33 || index == 38 || index == 13 || index == 0; }

constexpr u16 kRcaStep = 0x1d37;

}  // namespace

struct SdCard::Row {
  u8 index;
  bool app;
  u16 states;
  enum Target : u8 { everyone, addressed, plain } target;  // `addressed`: bits 31 to 16 of the argument are the RCA
  std::optional<Reply::Kind> reply;
  bool (SdCard::*handler)(u32 argument);
};

std::span<const SdCard::Row> SdCard::table() {
  using Kind = Reply::Kind;
  using C = SdCard;
  static constexpr Row rows[] = {
      {0, false, kAny, Row::everyone, std::nullopt, &C::go_idle},
      {2, false, in({State::ready}), Row::everyone, Kind::r2, &C::send_cid_all},
      {3, false, in({State::identification, State::standby}), Row::everyone, Kind::r6, &C::send_rca},
      {4, false, in({State::standby}), Row::everyone, std::nullopt, &C::set_dsr},
      {6, false, kTransfer, Row::plain, Kind::r1, &C::switch_function},
      {7, false, kAddressed, Row::plain, Kind::r1b, &C::select},
      {8, false, in({State::idle}), Row::everyone, Kind::r7, &C::interface_condition},
      {9, false, in({State::standby}), Row::addressed, Kind::r2, &C::read_csd},
      {10, false, in({State::standby}), Row::addressed, Kind::r2, &C::read_cid},
      {12, false, in({State::sending, State::receiving}), Row::plain, Kind::r1b, &C::stop},
      {13, false, kAddressed, Row::addressed, Kind::r1, &C::send_status},
      {15, false, kAddressed, Row::addressed, std::nullopt, &C::go_inactive},
      {16, false, kTransfer, Row::plain, Kind::r1, &C::set_block_length},
      {17, false, kTransfer, Row::plain, Kind::r1, &C::read_single},
      {18, false, kTransfer, Row::plain, Kind::r1, &C::read_multiple},
      {23, false, kTransfer, Row::plain, Kind::r1, &C::set_block_count},
      {24, false, kTransfer, Row::plain, Kind::r1, &C::write_single},
      {25, false, kTransfer, Row::plain, Kind::r1, &C::write_multiple},
      {27, false, kTransfer, Row::plain, Kind::r1, &C::program_csd},
      {32, false, kTransfer, Row::plain, Kind::r1, &C::erase_first},
      {33, false, kTransfer, Row::plain, Kind::r1, &C::erase_last},
      {38, false, kTransfer, Row::plain, Kind::r1b, &C::erase},
      {42, false, kTransfer, Row::plain, Kind::r1, &C::lock_unlock},
      {48, false, kTransfer, Row::plain, Kind::r1, &C::read_extension},
      {49, false, kTransfer, Row::plain, Kind::r1, &C::write_extension},
      {55, false, kAddressed | in({State::idle}), Row::addressed, Kind::r1, &C::app_command},
      {56, false, kTransfer, Row::plain, Kind::r1, &C::general_command},
      {6, true, kTransfer, Row::plain, Kind::r1, &C::app_bus_width},
      {13, true, kTransfer, Row::plain, Kind::r1, &C::app_status},
      {22, true, kTransfer, Row::plain, Kind::r1, &C::app_written_blocks},
      {23, true, kTransfer, Row::plain, Kind::r1, &C::app_erase_count},
      {41, true, in({State::idle}), Row::everyone, Kind::r3, &C::app_conditions},
      {42, true, kTransfer, Row::plain, Kind::r1, &C::app_card_detect},
      {51, true, kTransfer, Row::plain, Kind::r1, &C::app_scr},
  };
  return rows;
}

u32 Reply::word() const { return load_be<u32>(bytes.data()); }

SdCard::SdCard(block::Drive* drive, std::string name, Wiring wiring, Log& log)
    : drive_(drive), name_(std::move(name)), wiring_(std::move(wiring)), log_(log),
      window_(std::make_shared<std::vector<u8>>()), self_(std::make_shared<SdCard*>(this)) {}

SdCard::~SdCard() {
  *self_ = nullptr;
  if (drive_) drive_->drain();
}

void SdCard::medium_changed() {
  capacity_ = 0;
  if (drive_ && drive_->has_medium()) {
    const Result<void> usable = check_capacity(drive_->size(), drive_->image()->info().filename);
    buffers_ = drive_->image()->info().format != "raw";
    if (usable.ok()) capacity_ = drive_->size();
    else
      log_.write_text(fmt::format("{}: {}: there is no card in the slot\n{}", name_, usable.error().message(),
                                  usable.error().hint()));
  }
  high_capacity_ = capacity_ > kMostStandard;
  csd_writable_ = 0;
  password_.clear();
  locked_ = false;
  vendor_ = {};
  power_cycle();
  if (wiring_.slot_changed) wiring_.slot_changed();
}

void SdCard::power_cycle() {
  abort_data();
  state_ = State::idle;
  status_ = 0;
  expecting_app_ = powered_up_ = seen_cmd8_ = wide_ = cache_on_ = false;
  rca_ = 0;
  dsr_ = 0x404;
  block_length_ = kBlock;
  block_count_ = 0;
  erase_first_set_ = erase_last_set_ = false;
  functions_ = {};
  written_blocks_ = 0;
  locked_ = !password_.empty();
}

void SdCard::machine_reset() {
  if (drive_) {
    drive_->cancel_held();
    drive_->drain();
  }
  in_flight_ = fetching_ = unsafe_ = false;
  ++generation_;
  power_cycle();
}

const SdCard::Row* SdCard::find(u8 index) const {
  const auto rows = table();
  const auto is = [index](bool app) { return [=](const Row& row) { return row.index == index && row.app == app; }; };
  // An application command that is none is the ordinary one of that number (section 4.3.9.1).
  auto row = expecting_app_ ? std::find_if(rows.begin(), rows.end(), is(true)) : rows.end();
  if (row == rows.end()) row = std::find_if(rows.begin(), rows.end(), is(false));
  return row == rows.end() ? nullptr : &*row;
}

// A locked card takes the basic commands, those of class 7 and few others (section 4.3.7).
bool SdCard::locked_out(u8 index, bool app) const {
  if (!locked_) return false;
  if (app) return index != 41 && index != 42;
  return index == 6 || (index > 16 && index != 42 && index != 55);
}

std::optional<Reply> SdCard::command(u8 index, u32 argument) {
  if (!inserted()) return std::nullopt;
  const Row* row = find(index);
  const State before = state_;
  const bool app = row && row->app;
  const bool legal = row && bit<u32>(row->states, static_cast<unsigned>(before)) && !locked_out(index, app);
  log_.write(LogItem::trace, "{}: {}CMD{} {:#010x} in state {}{}", name_, app ? "A" : "", index, argument,
             static_cast<unsigned>(before), legal ? "" : ": not legal");
  if (state_ == State::inactive) return std::nullopt;
  if (!legal) {
    expecting_app_ = false;
    status_ |= kIllegalCommand;
    return std::nullopt;
  }
  if (row->target == Row::addressed && argument >> 16 != rca_) return std::nullopt;
  if ((erase_first_set_ || erase_last_set_) && !app && !keeps_erase(index) && index != 55) {
    erase_first_set_ = erase_last_set_ = false;
    status_ |= kEraseReset;
  }
  if (!app && index != 55 && index != 18 && index != 25 && index != 23 && index != 13) block_count_ = 0;
  const bool accepted = (this->*row->handler)(argument);
  if (index != 55) expecting_app_ = false;
  if (!accepted) {
    status_ |= kIllegalCommand;
    return std::nullopt;
  }
  if (!row->reply || (index == 7 && argument >> 16 != rca_)) return std::nullopt;
  if (app) status_ |= kAppCommand;
  return answer(*row->reply, before);
}

std::optional<Reply> SdCard::answer(Reply::Kind kind, State before) {
  u32 status =
      status_ | static_cast<u32>(before) << 9 | bits_if(!busy(), kReadyForData) | bits_if(locked_, kCardIsLocked);
  if (expecting_app_) status |= kAppCommand;
  Reply reply{.kind = kind, .bytes = {}};
  switch (kind) {
    case Reply::Kind::r2: reply.bytes = reply_; break;
    case Reply::Kind::r3:
    case Reply::Kind::r7: std::copy_n(reply_.begin(), 4, reply.bytes.begin()); break;
    case Reply::Kind::r6:  // bits 23, 22, 19 and 12 to 0 of the status (section 4.9.5)
      store_be<u32>(reply.bytes.data(),
                    u32{rca_} << 16 | bits(status, 22, 2) << 14 | bits(status, 19, 1) << 13 | bits(status, 0, 13));
      status_ &= ~u32{kCommandCrcError | kIllegalCommand | kGeneralError};
      break;
    default:
      store_be<u32>(reply.bytes.data(), status);
      status_ &= ~kClearedByRead;
      break;
  }
  status_ &= ~u32{kAppCommand};
  return reply;
}

Register128 SdCard::csd() const {
  Register128 value = make_csd(capacity_, high_capacity_);
  value[14] = csd_writable_;
  if (functions_[0] == 1) value[3] = 0x5a;  // TRAN_SPEED: 50 MHz in high speed mode
  seal(value);
  return value;
}

// --- identification -----------------------------------------------------------------------------------------------

bool SdCard::go_idle(u32) {
  power_cycle();
  return true;
}

bool SdCard::interface_condition(u32 argument) {
  seen_cmd8_ = true;
  if (bits(argument, 8, 4) != 1) return false;  // not 2.7 to 3.6 V
  store_be<u32>(reply_.data(), argument & 0xfff);
  return true;
}

// ACMD41. An argument without voltages only asks (section 4.2.3.1).
bool SdCard::app_conditions(u32 argument) {
  if (argument & 0x00ffffff) {
    if (!(argument & kVoltages)) {
      state_ = State::inactive;
      return false;
    }
    if (!high_capacity_ || (seen_cmd8_ && (argument & kHighCapacity))) {
      powered_up_ = true;
      state_ = State::ready;
    }
  }
  const u32 ocr = kVoltages | bits_if(powered_up_, kPoweredUp) | bits_if(powered_up_ && high_capacity_, kHighCapacity);
  store_be<u32>(reply_.data(), ocr);
  return true;
}

bool SdCard::send_cid_all(u32) {
  reply_ = make_cid(static_cast<u32>(capacity_ >> 12) ^ 0x52484541);
  state_ = State::identification;
  return true;
}

bool SdCard::send_rca(u32) {
  rca_ = static_cast<u16>(rca_ + kRcaStep);
  if (rca_ == 0) rca_ = kRcaStep;
  state_ = State::standby;
  return true;
}

bool SdCard::set_dsr(u32 argument) {
  dsr_ = static_cast<u16>(argument >> 16);
  return true;
}

bool SdCard::select(u32 argument) {
  const bool mine = argument >> 16 == rca_ && rca_ != 0;
  switch (state_) {
    case State::standby:
      if (mine) state_ = State::transfer;
      return true;
    case State::transfer:
    case State::sending:
      if (mine) return false;
      abort_data();
      state_ = State::standby;
      return true;
    case State::programming:
      if (mine) return false;
      state_ = State::disconnect;
      return true;
    case State::disconnect:
      if (mine) state_ = busy() ? State::programming : State::transfer;
      return true;
    default: return false;
  }
}

bool SdCard::read_csd(u32) {
  reply_ = csd();
  return true;
}

bool SdCard::read_cid(u32) {
  reply_ = make_cid(static_cast<u32>(capacity_ >> 12) ^ 0x52484541);
  return true;
}

bool SdCard::send_status(u32) { return true; }

bool SdCard::go_inactive(u32) {
  abort_data();
  state_ = State::inactive;
  return true;
}

bool SdCard::app_command(u32) {
  expecting_app_ = true;
  return true;
}

// --- settings -----------------------------------------------------------------------------------------------------

// CMD6: mode 0 asks, mode 1 switches, if every group can (section 4.3.10).
bool SdCard::switch_function(u32 argument) {
  std::array<u8, 6> groups{};
  bool possible = true;
  for (unsigned group = 0; group < 6; ++group) {
    const u8 wanted = static_cast<u8>(bits(argument, 4 * group, 4));
    const u8 most = group == 0 ? 1 : 0;
    groups[group] = wanted == 0xf ? functions_[group] : wanted <= most ? wanted : u8{0xf};
    possible &= groups[group] != 0xf;
  }
  if (bit(argument, 31) && possible) functions_ = groups;
  send_bytes(make_switch_status(groups));
  return true;
}

bool SdCard::set_block_length(u32 argument) {
  if (argument == 0 || argument > kBlock) status_ |= kBlockLengthError;
  else block_length_ = argument;
  return true;
}

bool SdCard::set_block_count(u32 argument) {
  block_count_ = argument;
  return true;
}

bool SdCard::app_bus_width(u32 argument) {
  if ((argument & 3) == 0) wide_ = false;
  else if ((argument & 3) == 2) wide_ = true;
  else status_ |= kOutOfRange;
  return true;
}

bool SdCard::app_status(u32) {
  send_bytes(make_ssr(capacity_, wide_));
  return true;
}

bool SdCard::app_written_blocks(u32) {
  std::array<u8, 4> count;
  store_be(count.data(), written_blocks_);
  send_bytes(count);
  return true;
}

bool SdCard::app_erase_count(u32) { return true; }  // a hint
bool SdCard::app_card_detect(u32) { return true; }  // the pull-up of the data line

bool SdCard::app_scr(u32) {
  send_bytes(make_scr());
  return true;
}

void SdCard::fields(Visitor& visitor) {
  visitor.begin("card", 1);
  visitor.field("state", state_);
  visitor.field("status", status_);
  visitor.field("expecting_app", expecting_app_);
  visitor.field("powered_up", powered_up_);
  visitor.field("seen_cmd8", seen_cmd8_);
  visitor.field("wide", wide_);
  visitor.field("rca", rca_);
  visitor.field("dsr", dsr_);
  visitor.field("block_length", block_length_);
  visitor.field("block_count", block_count_);
  visitor.field("erase_first_set", erase_first_set_);
  visitor.field("erase_last_set", erase_last_set_);
  visitor.field("erase_first", erase_first_);
  visitor.field("erase_last", erase_last_);
  visitor.field("functions", functions_);
  visitor.field("written_blocks", written_blocks_);
  visitor.field("cache_on", cache_on_);
  visitor.field("csd_writable", csd_writable_);
  visitor.bytes("password", password_, 16);
  visitor.field("locked", locked_);
  visitor.field("vendor", vendor_);
  visitor.field("incoming", incoming_);
  visitor.field("position", position_);
  visitor.field("blocks_left", blocks_left_);
  std::vector<u8> window = *window_;
  visitor.bytes("window", window, 64 * 1024);
  u64 at = at_;
  visitor.field("at", at);
  visitor.field("silent", silent_);
  visitor.field("extension_argument", extension_argument_);
  visitor.end();
  if (!visitor.restoring()) return;
  // Hostile streams are possible: what the code counts on is made true.
  if (state_ > State::inactive) state_ = State::idle;
  if (incoming_ > Incoming::extension) incoming_ = Incoming::nothing;
  block_length_ = std::clamp<u32>(block_length_, 1, kBlock);
  if (window.size() > 64 * 1024) window.resize(64 * 1024);
  at_ = std::min<u64>(at, window.size());
  position_ = std::min(position_, capacity_);
  blocks_left_ = std::min(blocks_left_, kOpenEnded);
  if (state_ == State::programming) state_ = State::transfer;
  window_ = std::make_shared<std::vector<u8>>(std::move(window));
  in_flight_ = fetching_ = unsafe_ = false;
  ++generation_;
}

}  // namespace rhea::devices::sd
