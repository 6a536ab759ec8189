// SPDX-License-Identifier: MIT
// What `rhea net` reads: its command line (after a byte 'p'), lines of a journal (after 'j'), and frames from the
// network that its own DHCP server looks at (anything else).
#include <string>
#include <vector>

#include "tool/net_service.h"
#include "tool/net_steps.h"
#include "util/text.h"

using namespace rhea;

namespace {

void read_plan(const std::string& text) {
  const auto plan = tool::read_net_plan(split(text, '\n'));
  if (!plan.ok()) return;
  if (plan->name.empty() || plan->name.size() > 15 || plan->length > 32) __builtin_trap();
  const auto record = config::parse_json(tool::service_record(*plan, "").dump());
  if (!record.ok() || !tool::is_record(*record)) __builtin_trap();
}

void read_journal(const std::string& text) {
  for (const std::string& line : split(text, '\n'))
    if (const auto record = config::parse_json(line); record.ok() && tool::is_record(*record))
      if (!record->is_object() || !record->contains("do")) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] == 'p') read_plan(text);
  else if (data[0] == 'j') read_journal(text);
  const std::vector<u8> frame(data, data + size);
  const IpAddress server = IpAddress::v4(0x0a000001);
  tool::is_for_server(frame, server);
  tool::is_from_server(frame, server);
  return 0;
}
