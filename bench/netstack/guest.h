// SPDX-License-Identifier: MIT
// A synthetic guest: a TCP client of few instructions that drives a stack through Ethernet frames, so that what is
// measured is the stack. It acknowledges what comes in order, once for each batch of frames or 64 KiB, as a kernel
// with receive coalescing does; it keeps to the windows, sends again after 300 ms, and sends zeros, whose checksum
// costs nothing.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "net/frame.h"
#include "subject.h"
#include "util/types.h"

namespace rhea::bench {

struct Flow {
  enum State : u8 { opening, open, ended } state = opening;
  u16 local_port = 0, remote_port = 0;
  u32 send_unacked = 0, send_next = 0, send_max = 0;
  u32 send_end = 0;      // where what is to be sent ends
  bool endless = false;  // sends as long as it is open
  u32 send_window = 0;
  unsigned send_scale = 0;
  unsigned duplicates = 0;
  u32 receive_next = 0, unacknowledged = 0;
  bool fin_wanted = false, fin_sent = false, fin_acked = false, peer_fin = false;
  bool reset_wanted = false, probe_wanted = false;
  bool in_active = false, in_acks = false;
  s64 progress_at = 0;  // of what waits for an acknowledgement
  u64 received = 0, acked = 0;
  usize turn = 0;              // bytes sent of its turn
  bool closed_window = false;  // takes nothing: a reader that has stalled
  u64 answer = 0;              // the last 8 bytes that came as one segment
  s64 mark = 0;                // the job's
  u64 resent = 0;
};

class Guest {
 public:
  enum class End : u8 { closed, refused, reset };
  Guest(Subject& subject, const SubjectOptions& options);

  // Asks for the gateway's MAC; on_ready follows.
  void start();
  // To 10.0.2.2, which is this host's loopback. Null: all local ports are in use.
  Flow* open(u16 port);
  void send(Flow& flow, u32 bytes);
  void send_endlessly(Flow& flow);
  // A program that does not read, or reads again.
  void set_reading(Flow& flow, bool reading);
  void close(Flow& flow);  // when what is to be sent is acknowledged
  void reset(Flow& flow);
  usize flows() const { return count_; }

  std::function<void()> on_ready;
  std::function<void(Flow&)> on_open;
  std::function<void(Flow&, usize)> on_data;  // bytes that came in order
  std::function<void(Flow&, End)> on_end;     // the flow is gone after this
  std::function<void()> on_tick;              // about every 20 ms

  // For the subject. The first `size` bytes of a frame of `frame_size`; headers must be among them.
  void input(const u8* head, usize size, usize frame_size);
  void pump();
  void tick();

  bool stalled = false;  // takes frames and says nothing: a guest that is stopped
  u64 frames_in = 0, frames_out = 0;

 private:
  struct Ack {
    Flow* flow;
    u32 number;
  };
  void input_arp(const u8* arp);
  void input_tcp(const u8* tcp, usize payload);
  void input_opening(Flow& flow, const u8* tcp, u8 flags);
  void take_ack(Flow& flow, u32 ack, u32 window, bool bare);
  void take_data(Flow& flow, u32 seq, usize size, bool fin);
  void activate(Flow& flow);
  void queue_ack(Flow& flow);
  bool send_some(Flow& flow, unsigned& budget);  // true: there is more that may go
  void finish(Flow& flow, End how);
  void emit(Flow& flow, u8 flags, u32 seq, u32 ack, usize payload);
  void send_arp();
  void sum(u8* headers, usize tcp_size, usize payload) const;

  Subject& subject_;
  SubjectOptions options_;
  usize mss_;
  std::array<u8, 6> gateway_mac_{};
  struct {
    bool wanted = false, reply = false;
    std::array<u8, 6> mac;
    std::array<u8, 4> address;
  } arp_;
  bool ready_ = false;
  std::vector<std::unique_ptr<Flow>> by_port_;
  std::vector<std::unique_ptr<Flow>> gone_;
  std::deque<Flow*> active_;
  std::deque<Ack> acks_;
  std::vector<Flow*> last_acks_;
  std::vector<net::Piece> pieces_;
  std::vector<u8> zeros_;
  u16 next_port_ = 10000;
  u32 next_sequence_ = 1;
  usize count_ = 0;
  unsigned ticks_ = 0;
};

s64 now_ns();

}  // namespace rhea::bench
