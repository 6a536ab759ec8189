// SPDX-License-Identifier: MIT
#include "sys/netlink.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "util/bits.h"

namespace rhea::sys {

namespace {

constexpr usize kAligned = 4;
constexpr usize kLargest = 256 * 1024;
constexpr int kPatience = 10;  // seconds for the kernel's answer

usize padded(usize size) { return (size + kAligned - 1) / kAligned * kAligned; }

Error kernel_error(int number) { return Error("{}", errno_text(number)).with_hint(std::to_string(number)); }

}  // namespace

NetlinkMessage::NetlinkMessage(u16 type, u16 flags) : data_(sizeof(nlmsghdr)) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<u16>(flags | NLM_F_REQUEST);
  std::memcpy(data_.data(), &header, sizeof header);
}

void NetlinkMessage::pad() { data_.resize(padded(data_.size())); }

NetlinkMessage& NetlinkMessage::put(std::span<const u8> fixed) {
  data_.insert(data_.end(), fixed.begin(), fixed.end());
  pad();
  return *this;
}

NetlinkMessage& NetlinkMessage::bytes(u16 type, std::span<const u8> value) {
  nlattr header{static_cast<u16>(NLA_HDRLEN + value.size()), type};
  put_struct(header);
  return put(value);
}

NetlinkMessage& NetlinkMessage::text(u16 type, std::string_view value) {
  std::vector<u8> data(value.begin(), value.end());
  data.push_back(0);
  return bytes(type, data);
}

NetlinkMessage& NetlinkMessage::number(u16 type, u32 value) {
  u8 data[4];
  std::memcpy(data, &value, sizeof data);
  return bytes(type, data);
}

NetlinkMessage& NetlinkMessage::big_endian(u16 type, u32 value) {
  u8 data[4];
  store_be<u32>(data, value);
  return bytes(type, data);
}

NetlinkMessage& NetlinkMessage::nested(u16 type, const std::function<void(NetlinkMessage&)>& inside) {
  const usize at = data_.size();
  put_struct(nlattr{0, static_cast<u16>(type | NLA_F_NESTED)});
  inside(*this);
  const u16 size = static_cast<u16>(data_.size() - at);
  std::memcpy(&data_[at], &size, sizeof size);
  return *this;
}

const std::vector<u8>& NetlinkMessage::finish(u32 sequence) {
  nlmsghdr header;
  std::memcpy(&header, data_.data(), sizeof header);
  header.nlmsg_len = static_cast<u32>(data_.size());
  header.nlmsg_seq = sequence;
  std::memcpy(data_.data(), &header, sizeof header);
  return data_;
}

u32 NetlinkAttribute::number() const {
  u32 result = 0;
  if (value.size() >= sizeof result) std::memcpy(&result, value.data(), sizeof result);
  return result;
}

u32 NetlinkAttribute::big_endian() const { return value.size() >= 4 ? load_be<u32>(value.data()) : 0; }

std::string NetlinkAttribute::text() const {
  return std::string(value.begin(), std::find(value.begin(), value.end(), u8{0}));
}

std::vector<NetlinkAttribute> netlink_attributes(std::span<const u8> data) {
  std::vector<NetlinkAttribute> list;
  while (data.size() >= sizeof(nlattr)) {
    nlattr header;
    std::memcpy(&header, data.data(), sizeof header);
    if (header.nla_len < sizeof header || header.nla_len > data.size()) break;
    list.push_back({static_cast<u16>(header.nla_type & NLA_TYPE_MASK),
                    data.subspan(sizeof header, header.nla_len - sizeof header)});
    data = data.subspan(std::min(padded(header.nla_len), data.size()));
  }
  return list;
}

const u16 Netlink::kDump = NLM_F_DUMP;

Result<Netlink> Netlink::open(int family) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family));
  if (!fd) return Error("netlink: {}", errno_text());
  const timeval patience{kPatience, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  return Netlink(std::move(fd));
}

Result<void> Netlink::send(std::span<const u8> data) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd_.get(), data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel) < 0)
    return kernel_error(errno);
  return {};
}

Result<std::vector<u8>> Netlink::receive() {
  std::vector<u8> buffer(kLargest);
  ssize_t count;
  do { count = ::recv(fd_.get(), buffer.data(), buffer.size(), 0); } while (count < 0 && errno == EINTR);
  if (count < 0) return kernel_error(errno);
  buffer.resize(static_cast<usize>(count));
  return buffer;
}

namespace {

// The messages of a packet; false from `each` ends the walk.
void walk(std::span<const u8> data, const std::function<bool(const nlmsghdr&, std::span<const u8>)>& each) {
  while (data.size() >= sizeof(nlmsghdr)) {
    nlmsghdr header;
    std::memcpy(&header, data.data(), sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > data.size()) return;
    if (!each(header, data.subspan(sizeof header, header.nlmsg_len - sizeof header))) return;
    data = data.subspan(std::min(padded(header.nlmsg_len), data.size()));
  }
}

int error_of(std::span<const u8> body) {
  s32 number = 0;
  if (body.size() >= sizeof number) std::memcpy(&number, body.data(), sizeof number);
  return -number;
}

}  // namespace

Result<void> Netlink::run(std::span<NetlinkMessage> messages) {
  std::vector<u8> all;
  u32 last_wanted = 0;
  for (NetlinkMessage& message : messages) {
    const std::vector<u8>& data = message.finish(sequence_);
    nlmsghdr header;
    std::memcpy(&header, data.data(), sizeof header);
    if (header.nlmsg_flags & NLM_F_ACK) last_wanted = sequence_;
    all.insert(all.end(), data.begin(), data.end());
    ++sequence_;
  }
  RHEA_TRY(send(all));
  int error = 0;
  for (bool done = last_wanted == 0; !done;) {
    const std::vector<u8> packet = RHEA_TRY(receive());
    walk(packet, [&](const nlmsghdr& header, std::span<const u8> body) {
      if (header.nlmsg_type != NLMSG_ERROR) return true;
      error = error_of(body);
      done = error || header.nlmsg_seq == last_wanted;
      return !done;
    });
  }
  if (error) return kernel_error(error);
  return {};
}

Result<void> Netlink::list(NetlinkMessage message, const std::function<void(u16, std::span<const u8>)>& each) {
  const u32 sequence = sequence_++;
  RHEA_TRY(send(message.finish(sequence)));
  int error = 0;
  for (bool done = false; !done;) {
    const std::vector<u8> packet = RHEA_TRY(receive());
    walk(packet, [&](const nlmsghdr& header, std::span<const u8> body) {
      if (header.nlmsg_seq != sequence) return true;
      if (header.nlmsg_type == NLMSG_DONE) done = true;
      else if (header.nlmsg_type == NLMSG_ERROR) error = error_of(body), done = true;
      else each(header.nlmsg_type, body);
      return !done;
    });
  }
  if (error) return kernel_error(error);
  return {};
}

}  // namespace rhea::sys
