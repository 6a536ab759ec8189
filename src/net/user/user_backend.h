// SPDX-License-Identifier: MIT
// `-netdev user` as a network port.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "net/backend.h"
#include "net/user/smb.h"
#include "net/user/stack.h"

namespace rhea::net::user {

class UserBackend final : public Port {
 public:
  // Opens the forwarded ports too.
  static Result<std::unique_ptr<Port>> create(const BackendContext& context, std::span<const OptionText> options);
  // `share`: of smb=, kept as long as the backend.
  UserBackend(const std::string& id, UserConfig config, const Stack::Services& services,
              const Stack::MakeSockets& make_sockets, std::optional<SmbShare> share = {});

  Caps caps() const override;
  Sent send(const Frame& frame) override;
  void on_room() override { stack_.on_room(); }
  void on_link(bool up) override { link_up_ = up; }
  std::string type() const override { return "user"; }
  std::string info() const override;

  Stack& stack() { return stack_; }
  // `info usernet`; `hub` is -1 when it is on none.
  std::string info_usernet(int hub) const;
  // The texts that the monitor prints.
  std::string hostfwd_add(const std::string& rule);
  std::string hostfwd_remove(const std::string& rule);

 private:
  std::optional<SmbShare> share_;
  Stack stack_;
  bool link_up_ = true;
};

}  // namespace rhea::net::user
