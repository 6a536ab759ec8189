// SPDX-License-Identifier: MIT
// Blocks are numbered from 1 here without end; on the wire with 16 bits that go round, which lets files of
// any size pass. A transfer sends a window of blocks, and the next one from the block after the one
// acknowledged.
#include "net/user/tftp.h"

#include <algorithm>
#include <cerrno>

#include "net/user/udp.h"
#include "sys/file.h"
#include "util/text.h"

namespace rhea::net::user {

namespace {

constexpr u16 kReadRequest = 1, kWriteRequest = 2, kData = 3, kAcknowledge = 4, kError = 5, kOptions = 6;
constexpr u16 kNotFound = 1, kAccess = 2, kIllegal = 4;
constexpr usize kMaxTransfers = 64;
constexpr usize kLongestName = 512;
constexpr usize kPlainBlock = 512, kSmallestBlock = 8;
constexpr u64 kLargestWindow = 64;
constexpr unsigned kTries = 30;

// Takes the text up to a zero byte; nothing when there is none.
std::optional<std::string> take_text(std::span<const u8>& rest) {
  const auto zero = std::find(rest.begin(), rest.end(), u8{0});
  if (zero == rest.end()) return std::nullopt;
  std::string text(rest.begin(), zero);
  rest = rest.subspan(text.size() + 1);
  return text;
}

}  // namespace

struct Tftp::Request {
  std::string name, mode;
  usize block = kPlainBlock;
  u64 window = 1;
  unsigned timeout = 1;  // seconds
  std::vector<std::pair<std::string, std::string>> accepted;

  // A number that an option may have, brought down to `highest`; nothing when it may not.
  static std::optional<u64> within(const std::string& text, u64 lowest, u64 highest) {
    const auto number = parse_number(text);
    if (!number || *number < lowest) return std::nullopt;
    return std::min(*number, highest);
  }
  void take_option(const std::string& option, const std::string& value, u64 file_size, usize largest_block) {
    std::optional<u64> taken;
    if (option == "blksize") {
      if ((taken = within(value, kSmallestBlock, largest_block))) block = *taken;
    } else if (option == "tsize") {
      taken = file_size;
    } else if (option == "timeout") {
      if ((taken = within(value, 1, 255))) timeout = static_cast<unsigned>(*taken);
    } else if (option == "windowsize") {
      if ((taken = within(value, 1, kLargestWindow))) window = *taken;
    }
    if (taken) accepted.emplace_back(option, std::to_string(*taken));
  }
};

class Tftp::Transfer final : public Timeout {
 public:
  Transfer(Tftp& tftp, const Endpoint& guest, const IpAddress& server, std::shared_ptr<sys::InputFile> file,
           Request request)
      : Timeout(tftp.context_.timeouts), tftp_(tftp), guest_(guest), server_(server), file_(std::move(file)),
        request_(std::move(request)), last_(file_->size() / request_.block + 1) {}
  const Endpoint& guest() const { return guest_; }

  void start() {
    if (request_.accepted.empty()) return send_window();
    options_wait_ = true;
    send_options();
  }
  void acknowledged(u16 number) {
    if (options_wait_) {
      if (number != 0) return;
      options_wait_ = false;
      return send_window();
    }
    const u64 block = acked_ + static_cast<u16>(number - static_cast<u16>(acked_));
    if (block > sent_) return;
    if (block == acked_) {
      // Said twice. With windows that means a gap; without it is an echo of our own repetition (RFC 1123,
      // section 4.2.3.1), and is answered by nothing.
      if (request_.window == 1 || acked_ == 0 || gap_at_ == acked_) return;
      gap_at_ = acked_;
    }
    acked_ = block;
    tries_ = 0;
    if (acked_ == last_) return tftp_.end(guest_);
    send_window();
  }
  void on_timeout() override {
    if (++tries_ > kTries) return tftp_.end(guest_);
    options_wait_ ? send_options() : send_window();
  }

 private:
  void wait() { set_timeout(tftp_.context_.now() + s64{request_.timeout} * kSecond); }
  void send_options() {
    std::vector<u8> message(2);
    store_be<u16>(message.data(), kOptions);
    for (const auto& [option, value] : request_.accepted) {
      message.insert(message.end(), option.begin(), option.end());
      message.push_back(0);
      message.insert(message.end(), value.begin(), value.end());
      message.push_back(0);
    }
    tftp_.send(server_, guest_, message);
    wait();
  }
  void send_window() {
    const u64 end = std::min(acked_ + request_.window, last_);
    std::vector<u8> message;
    for (u64 block = acked_ + 1; block <= end; ++block) {
      const u64 offset = (block - 1) * request_.block;
      const usize size = static_cast<usize>(std::min<u64>(request_.block, file_->size() - offset));
      message.resize(4 + size);
      store_be<u16>(message.data(), kData);
      store_be<u16>(message.data() + 2, static_cast<u16>(block));
      if (auto read = file_->read_at(offset, std::span(message).subspan(4)); !read) {
        tftp_.send_error(server_, guest_, 0, read.error().message());
        return tftp_.end(guest_);
      }
      tftp_.send(server_, guest_, message);
    }
    sent_ = std::max(sent_, end);
    wait();
  }

  Tftp& tftp_;
  Endpoint guest_;
  IpAddress server_;
  std::shared_ptr<sys::InputFile> file_;
  Request request_;
  u64 last_;              // the number of the last block, which is not full
  u64 acked_ = 0;         // up to here
  u64 sent_ = 0;          // the highest sent
  u64 gap_at_ = ~u64{0};  // where a gap was filled already
  unsigned tries_ = 0;
  bool options_wait_ = false;  // for their acknowledgement, which is that of block 0
};

Tftp::Tftp(Context& context) : context_(context) {}
Tftp::~Tftp() = default;

void Tftp::input(const Endpoint& guest, const IpAddress& server, std::span<const u8> message) {
  if (message.size() < 4 || guest.port == 0) return;
  const u16 operation = load_be<u16>(message.data());
  if (operation == kReadRequest) return read(guest, server, message.subspan(2));
  if (operation == kWriteRequest) return send_error(server, guest, kAccess, "Access violation");
  const auto found = std::find_if(transfers_.begin(), transfers_.end(),
                                  [&](const auto& transfer) { return transfer->guest() == guest; });
  if (operation != kAcknowledge && operation != kError) return send_error(server, guest, kIllegal, "Illegal operation");
  if (found == transfers_.end()) return;
  if (operation == kError) return end(guest);
  (*found)->acknowledged(load_be<u16>(message.data() + 2));
}

void Tftp::read(const Endpoint& guest, const IpAddress& server, std::span<const u8> message) {
  Request request;
  const auto name = take_text(message);
  const auto mode = take_text(message);
  if (!name || !mode || name->size() > kLongestName) return send_error(server, guest, kIllegal, "Malformed request");
  if (to_lower(*mode) != "octet") return send_error(server, guest, kIllegal, "Unsupported transfer mode");
  if (context_.config.tftp.empty()) return send_error(server, guest, kAccess, "Access violation");
  usize start = 0;
  while (start < name->size() && (*name)[start] == '/') ++start;
  const std::string path = name->substr(start);
  int error = ENOENT;
  auto file = path.empty() ? nullptr : sys::open_beneath(context_.config.tftp, path, error);
  context_.log.write(LogItem::net, "tftp: {} asks for '{}'{}", guest.text(), path, file ? "" : ": refused");
  if (!file) {
    const bool missing = error == ENOENT || error == ENOTDIR;
    return send_error(server, guest, missing ? kNotFound : kAccess, missing ? "File not found" : "Access violation");
  }
  const usize headers = (server.is_v4() ? kIpv4Header : kIpv6Header) + kUdpHeader + 4;
  const usize mtu = context_.config.mtu ? context_.config.mtu : kMtu;
  while (!message.empty()) {
    const auto option = take_text(message);
    const auto value = option ? take_text(message) : std::nullopt;
    if (!value) break;
    request.take_option(to_lower(*option), *value, file->size(), mtu - headers);
  }
  end(guest);  // asked again: begin again
  if (transfers_.size() >= kMaxTransfers) end(transfers_.front()->guest());
  transfers_.push_back(std::make_unique<Transfer>(*this, guest, server, std::move(file), std::move(request)));
  transfers_.back()->start();
}

void Tftp::send(const IpAddress& server, const Endpoint& guest, std::vector<u8>& message) {
  udp_->send_to_guest({server, 69, 0}, guest, message);
}

void Tftp::send_error(const IpAddress& server, const Endpoint& guest, u16 code, std::string_view text) {
  std::vector<u8> message(4);
  store_be<u16>(message.data(), kError);
  store_be<u16>(message.data() + 2, code);
  message.insert(message.end(), text.begin(), text.end());
  message.push_back(0);
  send(server, guest, message);
}

void Tftp::end(const Endpoint& guest) {
  const auto found = std::find_if(transfers_.begin(), transfers_.end(),
                                  [&](const auto& transfer) { return transfer->guest() == guest; });
  if (found == transfers_.end()) return;
  (*found)->set_timeout(kNever);
  gone_.push_back(std::move(*found));
  transfers_.erase(found);
  context_.schedule();
}

void Tftp::run() { gone_.clear(); }

}  // namespace rhea::net::user
