// SPDX-License-Identifier: MIT
// What a client says to a proxy before its connection is made, and what it hears: SOCKS5 (RFC 1928, without
// authentication, CONNECT alone), CONNECT of HTTP (RFC 9110, section 9.3.6), and HTTP requests with a whole URL, of
// which each is a connection of its own. Which of them a client speaks its first byte says. A client may say anything.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "util/types.h"

namespace rhea::tool {

class ProxyDialogue {
 public:
  static constexpr usize kMostHeader = 16 * 1024;  // bytes of an HTTP request

  enum class State : u8 {
    asking,   // more of the client is needed
    dial,     // host() and port() are known
    refused,  // answers() has what the client is told; the connection ends
  };
  // Why a connection is not made.
  enum class Failure : u8 { unknown_host, refused, silent, gone };

  // Takes what came from the client.
  State take(std::span<const u8> bytes);
  State state() const { return state_; }
  // What is to be sent to the client now; it is given once.
  std::string answers();

  // A name in lower case without a dot at its end, or an address as text (IPv6 without brackets).
  const std::string& host() const { return host_; }
  u16 port() const { return port_; }

  // The last answers: the connection is made; it is not, and why (a line for people).
  void succeed();
  void fail(Failure failure, const std::string& why);
  // What the guest gets first: the client's own bytes behind its request.
  const std::string& for_guest() const { return for_guest_; }

 private:
  enum class Kind : u8 { unknown, socks, tunnel, request };
  State take_socks();
  State take_socks_request();
  State take_http();
  State take_tunnel(std::string_view target, usize size);
  State take_url(std::string_view method, std::string_view target, std::string_view fields, usize size);
  State refuse(std::string answer);
  State refuse_http(const char* status, const std::string& why);
  State found(std::string_view host, u16 port);

  Kind kind_ = Kind::unknown;
  State state_ = State::asking;
  bool greeted_ = false;  // SOCKS: the methods were agreed on
  std::string buffer_, answers_, host_, for_guest_;
  u16 port_ = 0;
};

}  // namespace rhea::tool
