// SPDX-License-Identifier: MIT
// One TCP connection (see tcp.h).
#pragma once

#include "net/user/tcp.h"
#include "net/user/verdict.h"

namespace rhea::net::user {

enum TcpFlags : u8 { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

// A segment's header as it came.
struct Segment {
  u32 seq = 0, ack = 0;
  u8 flags = 0;
  u16 window = 0;
  u16 urgent = 0;     // with kUrg: the urgent byte is the one before seq + urgent
  usize header = 0;   // bytes, with options
  usize payload = 0;  // bytes
  // Options.
  u16 mss = 536;   // RFC 9293, section 3.7.1: when none is given
  int scale = -1;  // window scale; -1: not offered
  bool sack_permitted = false;
  bool timestamp = false;  // RFC 7323
  u32 time = 0, time_echo = 0;
  struct Block {
    u32 left, right;
  };
  std::array<Block, 4> sack;
  usize sack_count = 0;
};
// False when the header does not fit the packet.
bool parse_segment(const Packet& packet, Segment& segment);

constexpr usize kTimestampOption = 12;  // padded

// Sequence numbers compare modulo 2^32.
inline bool before(u32 a, u32 b) { return static_cast<s32>(a - b) < 0; }
inline bool after(u32 a, u32 b) { return before(b, a); }

class TcpFlow final : public SocketOwner, public Timeout {
 public:
  enum State : u8 {
    connecting,    // the host's connect() is under way; the guest waits for SYN-ACK
    syn_received,  // SYN-ACK sent
    syn_sent,      // SYN sent to the guest, for a forwarded port
    open,
    closed,
  };
  TcpFlow(Tcp& tcp, const TcpKey& key, State state, u32 initial_sequence);

  // Starts connecting for the guest's SYN. False when that failed at once, and the guest was told.
  bool connect(const Packet& packet, const Segment& syn);
  // What guestfwd has there for the guest's SYN instead: a program, another connection, a device.
  void start(const GuestForward& service, const Segment& syn);
  void ask_names(const Segment& syn);  // DNS over TCP
  // Of a forwarded port. `tells`: its first byte is the guest's verdict.
  void adopt(std::unique_ptr<Socket> socket, bool tells);
  void send_syn();

  void input(const Packet& packet, const Segment& segment);
  void on_socket(Socket& socket, u32 events) override;
  void on_timeout() override;

  // Gives the host what is buffered, and the guest its acknowledgement; unless more is about to come that goes with it.
  void flush();
  // Sends the guest up to about `budget` bytes; true when there may be more to send now.
  bool send_data(usize budget);

  const TcpKey& key() const { return key_; }
  State state() const { return state_; }
  const char* state_name() const;
  Socket* socket() const { return socket_.get(); }
  usize buffered() const { return buffer_.size() - buffer_start_; }
  s64 round_trip() const { return smoothed_rtt_; }
  TcpStats stats;
  bool flush_queued = false, send_queued = false;
  usize turn_left = 0;  // bytes of a turn that a full NIC broke off
  // Of a probe, which has no socket: whether somebody listens in the guest.
  std::function<void(bool)> on_answer;

 private:
  friend class Tcp;
  bool connect_to(const Endpoint& to);
  void join_device(const GuestForward& service);
  // tcp_input.cpp
  void take_options(const Segment& syn);
  void input_connecting(const Packet& packet, const Segment& segment);
  void input_syn_sent(const Segment& segment);
  bool check_sequence(const Segment& segment);
  void take_reset(const Segment& segment);
  bool take_ack(const Segment& segment);
  void advance(u32 ack);
  void take_sack(const Segment& segment);
  void take_duplicate(const Segment& segment);
  void take_payload(const Packet& packet, const Segment& segment);
  void take_end_of_burst(const Segment& segment);
  void append(const Packet& packet, usize offset, usize size);
  // Of a segment's payload that begins at `seq`: up to and with its urgent byte. Returns the bytes taken.
  usize append_urgent(const Packet& packet, const Segment& segment, u32 seq, usize offset, usize size);
  void hold_out_of_order(const Packet& packet, u32 seq, usize offset, usize size);
  void join_out_of_order();
  void take_fin(const Segment& segment);
  // tcp_flow.cpp
  void host_connected();
  void host_failed(int error);
  void host_broke();
  void become_open();
  void reset_both();
  void reset_host();
  void finish_if_done();
  void retransmit_syn();
  void end_probe(bool answered);
  void tell(Verdict verdict);
  bool flush_buffer();
  void release_acked(bool all);
  bool gathers();
  void arm_timeout();
  void retransmit();
  void probe();
  // tcp_output.cpp
  u32 window() const;
  void send_control(u8 flags, u32 seq);
  usize write_options(u8* at, u8 flags) const;
  usize write_timestamp(u8* at) const;
  usize header_size() const { return kTcpHeader + (timestamps_ ? kTimestampOption : 0); }
  // While the host has sent an urgent byte: true when there is nothing else to be sent now.
  bool urgent_waits(const Mac& mac);
  void acknowledge();
  // Ethernet, IP and TCP headers; the checksum over `payload` pieces, or only the pseudo-header's for an
  // offload.
  usize write_headers(u8* at, const Mac& mac, u32 seq, usize size, bool last, const Piece* payload);
  u32 sendable() const;
  bool more_to_send() const;
  // Bytes sent of the `size` from `seq` on; 0 with the reason noted (no data, end of data, NIC busy, flow
  // removed).
  usize send_from(const Mac& mac, u32 seq, usize size);
  usize send_urgent(const Mac& mac);
  usize send_in_place(const Mac& mac, u32 seq, usize size);
  usize send_whole(const Mac& mac, u32 seq, usize size);
  class Stamp;
  usize send_cut(const Mac& mac, u32 seq, usize size);
  Sent send_cut_frame(const Piece& headers, const Piece& payload, bool summed);
  usize take_peek(const IoResult& result, u32 seq, usize asked);
  Offload offload_for(usize size, bool summed) const;
  void send_fin();
  void resend_hole();
  void note_sent(u32 seq, usize size);
  usize peek_offset(u32 seq) const { return seq - head_seq_; }

  Tcp& tcp_;
  Context& context_;
  TcpKey key_;
  State state_;
  std::unique_ptr<Socket> socket_;
  bool v6_;
  bool tells_ = false;                  // and has not yet
  Verdict verdict_ = Verdict::refused;  // unless it opens

  // Guest to host.
  u32 receive_next_ = 0;
  u32 advertised_ = 0;  // right edge of the window as told
  u8 receive_scale_ = 0;
  std::vector<u8> buffer_;  // from buffer_start_ on: to be sent to the host
  usize buffer_start_ = 0;
  std::map<u32, std::vector<u8>> out_of_order_;  // few; keys relative to nothing: compare with before()
  usize out_of_order_bytes_ = 0;
  bool ack_now_ = false;    // the guest is to hear at the next flush
  u32 unacknowledged_ = 0;  // bytes taken since the guest last heard
  bool socket_full_ = false;
  bool more_follows_ = false;  // the last segment was not the end of what the guest had to send
  usize gather_ = 0;           // bytes that are worth a call of the host; 0: as they come
  bool guest_fin_ = false;     // the guest's FIN was taken
  bool shut_down_ = false;     // and the host socket told

  // Host to guest.
  u32 initial_send_;
  u32 send_unacked_, send_next_, send_max_;
  u32 head_seq_;    // of the first byte in the socket's receive queue
  u32 release_at_;  // acknowledged bytes that are worth taking from it
  u32 send_window_ = 0;
  u32 window_seq_ = 0, window_ack_ = 0;  // SND.WL1, SND.WL2
  u8 send_scale_ = 0;
  u16 mss_ = 536;
  u32 congestion_window_;
  u32 slow_start_threshold_ = ~u32{0};
  bool readable_ = false;  // the socket may have more than was peeked at
  bool hung_up_ = false;   // the host's peer ended its direction, or the connection broke
  bool broken_ = false;
  bool fin_sent_ = false, fin_acked_ = false;
  u32 fin_seq_ = 0;
  bool urgent_ = false;  // the host sent an urgent byte that has not gone on
  bool timestamps_ = false;
  u32 recent_time_ = 0, last_ack_ = 0;  // RFC 7323: TS.Recent, Last.ACK.sent
  bool sack_ = false;
  u32 sacked_left_ = 0;  // first byte that the guest has beyond a hole; valid when have_sack_
  bool have_sack_ = false;
  unsigned duplicates_ = 0;
  bool recovering_ = false;
  bool resend_ = false;  // the hole at send_unacked_ is to be sent again
  u32 recover_ = 0;

  // Timing.
  s64 retransmit_interval_;
  s64 retransmit_due_ = kNever;  // also of SYNs and window probes
  s64 ack_due_ = kNever;         // of a delayed acknowledgement
  static constexpr s64 kAnswerTime = kMillisecond;
  s64 asked_at_ = 0;           // when the guest's last burst ended; 0: it was answered
  bool answers_soon_ = false;  // the last one was answered within kAnswerTime
  s64 gather_due_ = kNever;    // what is gathered goes then at the latest
  s64 smoothed_rtt_ = 0, rtt_variance_ = 0;
  u32 timed_seq_ = 0;
  s64 timed_at_ = 0;  // 0: nothing is timed
  s64 last_heard_ = 0;
  s64 opened_at_ = 0;
  unsigned tries_ = 0;
};

}  // namespace rhea::net::user
