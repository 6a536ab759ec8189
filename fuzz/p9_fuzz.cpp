// SPDX-License-Identifier: MIT
// Messages of a hostile 9P client, against a folder made for each input. An input is a row of messages: a byte for the
// length of the body, a byte that chooses the type, and the body. Sizes and tags in front of them are right, but for
// the last message, which is given as it is.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "devices/virtio/p9_server.h"

using namespace rhea;
using devices::p9::Server;

namespace {

constexpr std::array<u8, 28> kTypes = {8,  12, 14, 16, 18, 20,  22,  24,  26,  30,  32,  40,  50,  52,
                                       54, 70, 72, 74, 76, 100, 102, 104, 108, 110, 116, 118, 120, 122};

void send(Server& server, u8 type, std::span<const u8> body) {
  devices::p9::Writer message;
  message.number(static_cast<u32>(7 + body.size()));
  message.number(type);
  message.number(u16{1});
  message.bytes().insert(message.bytes().end(), body.begin(), body.end());
  const std::vector<u8> reply = server.handle(message.bytes());
  if (reply.size() < 7 || load_le<u32>(reply.data()) != reply.size() || reply.size() > Server::kMostMessage)
    std::abort();
}

void attach(Server& server) {
  devices::p9::Writer version, root;
  version.number(u32{8192});
  version.text("9P2000.L");
  send(server, 100, version.bytes());
  root.number(u32{0});
  root.number(~u32{0});
  root.text("");
  root.text("");
  root.number(u32{0});
  send(server, 104, root.bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  namespace fs = std::filesystem;
  if (size < 2) return 0;
  std::string name = (fs::temp_directory_path() / "rhea-p9-fuzz-XXXXXX").string();
  if (!::mkdtemp(name.data())) return 0;
  const fs::path folder(name), share_path = folder / "share";
  fs::create_directories(share_path / "a");
  std::ofstream(folder / "outside") << "outside";
  std::ofstream(share_path / "a/f") << "contents";
  constexpr fsdev::SecurityModel kModels[] = {fsdev::SecurityModel::none, fsdev::SecurityModel::mapped_xattr,
                                              fsdev::SecurityModel::mapped_file};
  auto share = fsdev::Share::open(
      {.id = "f", .path = share_path.string(), .model = kModels[data[0] % 3], .read_only = data[0] > 250});
  if (share.ok()) {
    Log log;
    Server server(**share, log);
    attach(server);
    const std::span<const u8> input(data, size);
    usize at = 1;
    for (unsigned count = 0; at + 2 < size && count < 200; ++count) {
      const usize length = std::min<usize>(input[at], size - at - 2);
      send(server, kTypes[input[at + 1] % kTypes.size()], input.subspan(at + 2, length));
      at += 2 + length;
    }
    server.handle(input.subspan(std::min(at, size)));
  }
  std::ifstream outside(folder / "outside");
  std::string text;
  outside >> text;
  if (text != "outside") std::abort();
  std::error_code ignored;
  fs::permissions(share_path, fs::perms::owner_all, fs::perm_options::add, ignored);
  fs::remove_all(folder, ignored);
  return 0;
}
