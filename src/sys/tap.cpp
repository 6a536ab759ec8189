// SPDX-License-Identifier: MIT
#include "sys/tap.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "util/text.h"

// Of newer kernels' headers.
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

namespace rhea::sys {

namespace {

constexpr const char* kDevice = "/dev/net/tun";

Error cannot_configure(const std::string& name, int error) {
  Error failed("could not configure {} ({}): {}", kDevice, name, errno_text(error));
  if (error == EPERM)
    return std::move(failed).with_hint(
        fmt::format("Root makes taps, and taps for others: ip tuntap add dev {} mode tap user $(whoami)", name));
  if (error == EBUSY)
    return std::move(failed).with_hint(
        fmt::format("Another program has {} open: each machine needs a tap of its own.", name));
  if (error == EINVAL)
    return std::move(failed).with_hint(
        fmt::format("An interface {} that is no tap is there, or one that was made with another number of queues "
                    "(ip tuntap add ... multi_queue goes with queues= of 2 and more).",
                    name));
  return failed;
}

}  // namespace

Result<Tap> open_tap(const std::string& name, bool header, bool multi_queue) {
  const std::string asked = name.empty() ? "tap%d" : name;
  if (asked.size() >= IFNAMSIZ)
    return Error("interface name '{}' is too long: it has at most {} letters", asked, IFNAMSIZ - 1);
  Tap tap;
  tap.fd = Fd(::open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.fd) {
    const int error = errno;
    Error failed("could not open {}: {}", kDevice, errno_text(error));
    if (error == ENOENT || error == ENODEV || error == ENXIO)
      return std::move(failed).with_hint("The host's kernel module is not there: modprobe tun, as root.");
    return failed;
  }
  ifreq request{};
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | (header ? IFF_VNET_HDR : 0) | (multi_queue ? IFF_MULTI_QUEUE : 0));
  std::memcpy(request.ifr_name, asked.c_str(), asked.size());
  if (::ioctl(tap.fd.get(), TUNSETIFF, &request) != 0) return cannot_configure(asked, errno);
  tap.name = request.ifr_name;
  tap.header = header;
  int size = kTapHeader;
  if (header && ::ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &size) != 0) return cannot_configure(tap.name, errno);
  return tap;
}

Result<void> make_persistent_tap(const std::string& name, unsigned user, const std::array<u8, 6>& mac) {
  const Tap tap = RHEA_TRY(open_tap(name, true, false));
  ifreq request{};
  std::memcpy(request.ifr_name, name.c_str(), std::min(name.size(), usize{IFNAMSIZ - 1}));
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  std::memcpy(request.ifr_hwaddr.sa_data, mac.data(), mac.size());
  if (::ioctl(tap.fd.get(), SIOCSIFHWADDR, &request) != 0) return cannot_configure(name, errno);
  if (::ioctl(tap.fd.get(), TUNSETOWNER, static_cast<unsigned long>(user)) != 0 ||
      ::ioctl(tap.fd.get(), TUNSETPERSIST, 1UL) != 0)
    return cannot_configure(name, errno);
  return {};
}

namespace {

std::string macvtap_file(u32 index) { return "/dev/tap" + std::to_string(index); }

// The device file, if it is this interface's: in another network namespace one with this number may be another's.
Result<Fd> open_macvtap_file(const std::string& name, u32 index) {
  const std::string path = macvtap_file(index);
  Fd fd(::open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    const int error = errno;
    Error failed("could not open {}, which is macvtap {}: {}", path, name, errno_text(error));
    if (error == ENOENT)
      return std::move(failed).with_hint(
          fmt::format("udev makes it; by hand, as root: mknod {} c $(tr : ' ' < /sys/class/net/{}/macvtap/tap{}/dev)",
                      path, name, index));
    if (error == EACCES)
      return std::move(failed).with_hint("It is root's: chown $(whoami) " + path +
                                         ", as root; or rhea net up macvtap ... tap=$(whoami) makes one for a user.");
    return failed;
  }
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0 || name != request.ifr_name)
    return Error("{} is not macvtap {}: it belongs to another network namespace", path, name);
  return fd;
}

}  // namespace

Result<Tap> open_macvtap(const std::string& name, u32 index, bool header) {
  Tap tap;
  tap.fd = RHEA_TRY(open_macvtap_file(name, index));
  // Whoever opens it too gets a part of the frames, and nobody is told.
  struct flock lock {};
  lock.l_type = F_WRLCK;
  if (::fcntl(tap.fd.get(), F_OFD_SETLK, &lock) != 0)
    return Error("macvtap {} is in use by another machine: each needs one of its own", name);
  ifreq request{};
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (header ? IFF_VNET_HDR : 0));
  int size = kTapHeader;
  if (::ioctl(tap.fd.get(), TUNSETIFF, &request) != 0 || (header && ::ioctl(tap.fd.get(), TUNSETVNETHDRSZ, &size) != 0))
    return Error("could not configure macvtap {}: {}", name, errno_text());
  tap.name = name;
  tap.header = header;
  return tap;
}

Result<void> give_macvtap(const std::string& name, u32 index, unsigned user) {
  const Fd fd = RHEA_TRY(open_macvtap_file(name, index));
  if (::fchown(fd.get(), user, static_cast<gid_t>(-1)) != 0)
    return Error("could not give {} to a user: {}", macvtap_file(index), errno_text());
  return {};
}

Result<Tap> adopt_tap(Fd fd) {
  Tap tap;
  ifreq request{};
  if (::ioctl(fd.get(), TUNGETIFF, &request) != 0)
    return Error("file descriptor {} is no tap: {}", fd.get(), errno_text());
  if (!(request.ifr_flags & IFF_TAP)) return Error("file descriptor {} is a tun, which carries no Ethernet", fd.get());
  if (!(request.ifr_flags & IFF_NO_PI))
    return Error("file descriptor {} is a tap with packet information: open it with IFF_NO_PI", fd.get());
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  tap.name = request.ifr_name;
  tap.header = request.ifr_flags & IFF_VNET_HDR;
  int size = kTapHeader;
  if (tap.header && ::ioctl(fd.get(), TUNSETVNETHDRSZ, &size) != 0) return cannot_configure(tap.name, errno);
  tap.fd = std::move(fd);
  return tap;
}

Result<Tap> adopt_tap(const std::string& number) {
  const auto value = parse_number(number);
  if (!value || *value > INT_MAX) return Error("File descriptor named '{}' has not been found", number);
  const int fd = static_cast<int>(*value);
  if (::fcntl(fd, F_GETFD) < 0) return Error("Can't use file descriptor {}: {}", fd, errno_text());
  return adopt_tap(Fd(fd));
}

bool set_tap_offload(int fd, const TapOffload& offload) {
  unsigned long flags = 0;
  if (offload.checksum) {
    flags |= TUN_F_CSUM;
    if (offload.tso4) flags |= TUN_F_TSO4;
    if (offload.tso6) flags |= TUN_F_TSO6;
    if (offload.tso4 || offload.tso6) flags |= TUN_F_TSO_ECN;
    if (offload.uso) flags |= TUN_F_USO4 | TUN_F_USO6;
  }
  return ::ioctl(fd, TUNSETOFFLOAD, flags) == 0;
}

Result<void> set_tap_send_buffer(int fd, u64 bytes) {
  int size = bytes == 0 || bytes > INT_MAX ? INT_MAX : static_cast<int>(bytes);
  if (::ioctl(fd, TUNSETSNDBUF, &size) != 0) return Error("TUNSETSNDBUF ioctl failed: {}", errno_text());
  return {};
}

int check_vhost() { return ::access("/dev/vhost-net", R_OK | W_OK) ? errno : 0; }

ReadSome read_tap(int fd, std::span<u8> into) {
  for (;;) {
    const ssize_t count = ::read(fd, into.data(), into.size());
    if (count > 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (count == 0 || errno == EAGAIN) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

ReadSome write_tap(int fd, std::span<const IoPiece> pieces) {
  for (;;) {
    const ssize_t count = ::writev(fd, reinterpret_cast<const iovec*>(pieces.data()), static_cast<int>(pieces.size()));
    if (count >= 0) return {ReadOutcome::data, static_cast<usize>(count)};
    if (errno == EAGAIN || errno == ENOBUFS) return {ReadOutcome::would_wait};
    if (errno != EINTR) return {ReadOutcome::failed, 0, errno};
  }
}

}  // namespace rhea::sys
