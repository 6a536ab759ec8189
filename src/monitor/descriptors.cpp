// SPDX-License-Identifier: MIT
#include "monitor/descriptors.h"

#include <cctype>

#include "monitor/commands.h"
#include "monitor/qmp.h"
#include "util/text.h"

namespace rhea::monitor {

namespace {

bool is_number(const std::string& name) { return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])); }

}  // namespace

Result<void> keep_descriptor(Context& context, chardev::Backend& from, const std::string& name) {
  sys::Fd fd = from.take_descriptor();
  if (!fd) return Error("No file descriptor supplied via SCM_RIGHTS");
  if (name.empty() || is_number(name)) return Error("Parameter 'fdname' expects a name not starting with a digit");
  context.descriptors[name] = std::move(fd);
  return {};
}

Result<void> close_descriptor(Context& context, const std::string& name) {
  if (context.descriptors.erase(name)) return {};
  return Error("File descriptor named '{}' not found", name);
}

Result<std::string> descriptor_number(Context& context, const std::string& name) {
  if (is_number(name)) return name;
  const auto found = context.descriptors.find(name);
  if (found == context.descriptors.end()) {
    std::vector<std::string> names;
    for (const auto& [known, fd] : context.descriptors) names.push_back(known);
    return Error("File descriptor named '{}' has not been found{}", name, did_you_mean(name, names));
  }
  const int number = found->second.release();
  context.descriptors.erase(found);
  return std::to_string(number);
}

Result<std::string> migration_uri(Context& context, const std::string& uri) {
  if (!uri.starts_with("fd:")) return uri;
  return "fd:" + RHEA_TRY(descriptor_number(context, uri.substr(3)));
}

void run_getfd(Monitor& monitor, const Arguments& arguments) {
  monitor.report(keep_descriptor(monitor.context(), monitor.backend(), arguments.texts[0]));
}
void run_closefd(Monitor& monitor, const Arguments& arguments) {
  monitor.report(close_descriptor(monitor.context(), arguments.texts[0]));
}

Result<Json> qmp_getfd(QmpCall& call) {
  RHEA_TRY(keep_descriptor(call.context, call.monitor.backend(), call.text("fdname")));
  return Json::object();
}
Result<Json> qmp_closefd(QmpCall& call) {
  RHEA_TRY(close_descriptor(call.context, call.text("fdname")));
  return Json::object();
}

}  // namespace rhea::monitor
