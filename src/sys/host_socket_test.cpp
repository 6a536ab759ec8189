// SPDX-License-Identifier: MIT
#include "sys/host_socket.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "sys/file.h"
#include "sys/process.h"

namespace rhea::sys {
namespace {

const Endpoint kAnyPort{IpAddress::v4(0x7f000001), 0, 0};

class StreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    server_.reset();
    queued_ = 0;
    int error = 0;
    auto listener = Socket::open(SocketKind::stream, false, error);
    ASSERT_EQ(listener->bind(kAnyPort), 0);
    ASSERT_EQ(listener->listen(1), 0);
    client_ = Socket::open(SocketKind::stream, false, error);
    const int connected = client_->connect(listener->local());
    ASSERT_TRUE(connected == 0 || connected == EINPROGRESS);
    Endpoint from;
    for (unsigned i = 0; i < 100000 && !server_; ++i) server_ = listener->accept(from, error);
    ASSERT_TRUE(server_);
    EXPECT_EQ(from.address, IpAddress::v4(0x7f000001));
  }
  void send(std::string text) {
    const IoPiece piece{reinterpret_cast<u8*>(text.data()), text.size()};
    ASSERT_EQ(client_->send(std::span(&piece, 1)).count, static_cast<s64>(text.size()));
    for (unsigned i = 0; i < 100000 && server_->receive_queue() < (queued_ + text.size()); ++i) {}
    queued_ += text.size();
  }
  std::string peek(usize offset, usize size) {
    std::string text(size, '?');
    const IoPiece pieces[] = {{reinterpret_cast<u8*>(text.data()), size / 2},
                              {reinterpret_cast<u8*>(text.data()) + size / 2, size - size / 2}};
    const IoResult result = server_->peek(offset, pieces);
    if (result.error) return result.again() ? "again" : "error";
    text.resize(static_cast<usize>(result.count));
    return text;
  }
  std::unique_ptr<Socket> client_, server_;
  usize queued_ = 0;
};

TEST_F(StreamTest, PeeksAtAnyOffsetInBothWays) {
  for (const bool offsets : {true, false}) {
    if (!offsets) server_->forgo_peek_offsets();
    send("0123456789");
    EXPECT_EQ(peek(0, 4), "0123");
    EXPECT_EQ(peek(4, 4), "4567");
    EXPECT_EQ(peek(8, 4), "89");
    EXPECT_EQ(peek(10, 4), "again");
    EXPECT_EQ(peek(2, 4), "2345");  // back
    EXPECT_EQ(server_->discard(5).count, 5);
    EXPECT_EQ(peek(1, 3), "678");
    EXPECT_EQ(peek(4, 3), "9");
    EXPECT_EQ(server_->discard(5).count, 5);
    queued_ = 0;
    EXPECT_EQ(peek(0, 3), "again");
    if (offsets) SetUp();  // a socket that has not used offsets
  }
}

TEST_F(StreamTest, EndOfStreamIsSeenBehindTheData) {
  send("abc");
  client_->shutdown_write();
  EXPECT_EQ(peek(0, 10), "abc");
  std::string end = "again";
  for (unsigned i = 0; i < 100000 && end == "again"; ++i) end = peek(3, 10);
  EXPECT_EQ(end, "");
}

TEST_F(StreamTest, ResetOnCloseIsSeenByThePeer) {
  client_->reset_on_close();
  client_.reset();
  int error = 0;
  for (unsigned i = 0; i < 100000 && !error; ++i) error = server_->take_error();
  EXPECT_EQ(error, ECONNRESET);
}

TEST_F(StreamTest, PollerTellsEachChangeOnce) {
  SocketPoller poller;
  ASSERT_TRUE(poller.add(server_->fd(), 42, true));
  SocketPoller::Event events[4];
  ASSERT_EQ(poller.take(events), 1u);
  EXPECT_EQ(events[0].token, 42u);
  EXPECT_EQ(events[0].events, u32{kSocketWritable});
  EXPECT_EQ(poller.take(events), 0u);
  send("x");
  ASSERT_EQ(poller.take(events), 1u);
  EXPECT_TRUE(events[0].events & kSocketReadable);
  EXPECT_EQ(poller.take(events), 0u);
  send("y");
  EXPECT_EQ(poller.take(events), 1u);
}

TEST(DatagramSocket, RefusalComesByTheErrorQueue) {
  int error = 0;
  auto closed = Socket::open(SocketKind::datagram, false, error);
  ASSERT_EQ(closed->bind(kAnyPort), 0);
  const Endpoint nobody = closed->local();
  closed.reset();
  auto socket = Socket::open(SocketKind::datagram, false, error);
  u8 data[] = {1, 2, 3};
  const IoPiece piece{data, 3};
  ASSERT_EQ(socket->send_to(nobody, std::span(&piece, 1)).count, 3);
  SocketError told;
  bool found = false;
  for (unsigned i = 0; i < 100000 && !found; ++i) found = socket->next_error(told);
  ASSERT_TRUE(found);
  EXPECT_EQ(told.error, ECONNREFUSED);
  EXPECT_TRUE(told.from_icmp);
  EXPECT_EQ(told.type, 3);
  EXPECT_EQ(told.code, 3);
  EXPECT_EQ(told.to, nobody);
  EXPECT_EQ(told.payload, (std::vector<u8>{1, 2, 3}));
}

TEST(LocalSocket, IsReachedByItsPathWhichGoesWithIt) {
  auto place = PrivateFolder::make("rhea-socket-test").take();
  const std::string path = place.path() + "/a-b";
  int error = 0;
  {
    auto listener = Socket::open(SocketKind::local, false, error);
    ASSERT_EQ(listener->bind_path(path), 0);
    ASSERT_EQ(listener->listen(1), 0);
    EXPECT_TRUE(std::filesystem::is_socket(path));
    EXPECT_EQ(Socket::open(SocketKind::local, false, error)->bind_path(std::string(200, 'x')), ENAMETOOLONG);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(write_file(path, {}).ok());
  EXPECT_EQ(Socket::open(SocketKind::local, false, error)->bind_path(path), EEXIST);
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(Process, SpeaksOverItsStreamAndIsReaped) {
  int error = 0;
  StreamPair pair = stream_pair(error);
  ASSERT_TRUE(pair.ours) << errno_text(error);
  auto child = Child::start({"cat"}, pair.theirs.get());
  ASSERT_TRUE(child.ok()) << child.error().message();
  pair.theirs.reset();
  u8 data[] = {'h', 'i'};
  const IoPiece piece{data, 2};
  ASSERT_EQ(pair.ours->send(std::span(&piece, 1)).count, 2);
  u8 back[3] = {};
  const IoPiece into{back, 3};
  IoResult result{0, EAGAIN};
  while (result.again()) result = pair.ours->peek(0, std::span(&into, 1));
  EXPECT_EQ(result.count, 2);
  EXPECT_EQ(back[1], 'i');
  EXPECT_EQ(pair.ours->discard(2).count, 2);
  pair.ours->shutdown_write();
  child->reap();  // it ended at the end of its input
  EXPECT_FALSE(Child::start({"/nonexistent/program"}, 0).ok());
}

TEST(Names, AreLookedUpOnTheHost) {
  EXPECT_EQ(addresses_of("127.0.0.5"), std::vector{IpAddress::v4(0x7f000005)});
  EXPECT_TRUE(addresses_of("no such name").empty());
}

}  // namespace
}  // namespace rhea::sys
