// SPDX-License-Identifier: MIT
// Options of the user network, rules of hostfwd, addresses and resolv.conf as text.
#include <string>
#include <string_view>

#include "net/user/config.h"
#include "net/user/policy.h"
#include "net/user/sockets.h"
#include "util/ip_address.h"
#include "util/text.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size) {
  using namespace rhea;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::vector<net::OptionText> options;
  for (const std::string& part : split(text, ',')) {
    const usize equals = part.find('=');
    if (equals != std::string::npos) options.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  }
  std::vector<std::string> warnings;
  (void)net::user::parse_user_options(options, warnings);
  (void)net::user::parse_forward(text);
  (void)net::user::parse_forward_removal(text);
  (void)net::user::parse_guest_forward(text);
  (void)net::user::parse_access("allow", text);
  (void)net::user::parse_dns_answer(std::span(data, size));
  (void)net::user::parse_resolv_conf(text);
  if (const auto address = parse_ip(text)) {
    const auto again = parse_ip(address->text());
    if (!again || *again != *address) __builtin_trap();
  }
  return 0;
}
