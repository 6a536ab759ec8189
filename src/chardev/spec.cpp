// SPDX-License-Identifier: MIT
#include "chardev/spec.h"

#include "util/text.h"

namespace rhea::chardev {

namespace {

struct Form {
  std::string_view name;
  bool takes_rest;  // "file:PATH"
  BackendKind kind;
  bool available;
  std::string_view summary;
};

constexpr Form kForms[] = {
    {"stdio", false, BackendKind::stdio, true, "this terminal"},
    {"null", false, BackendKind::null, true, "nothing: output is dropped, no input comes"},
    {"none", false, BackendKind::none, true, "no device"},
    {"file", true, BackendKind::file, true, "file:PATH, output written to a file"},
    {"vc", true, BackendKind::none, false, "a text console in the display"},
    {"pty", false, BackendKind::none, false, "a pseudo terminal"},
    {"pipe", true, BackendKind::none, false, "a pair of named pipes"},
    {"tcp", true, BackendKind::none, false, "a TCP connection"},
    {"telnet", true, BackendKind::none, false, "a telnet server"},
    {"websocket", true, BackendKind::none, false, "a websocket server"},
    {"udp", true, BackendKind::none, false, "UDP datagrams"},
    {"unix", true, BackendKind::none, false, "a unix socket"},
    {"chardev", true, BackendKind::none, false, "a -chardev by its id"},
    {"con", true, BackendKind::none, false, "a Windows console"},
    {"fdset", true, BackendKind::none, false, "a descriptor handed over"},
    {"/dev/", true, BackendKind::none, false, "a serial port of the host"},
    {"braille", false, BackendKind::none, false, "a braille display"},
    {"testdev", false, BackendKind::none, false, "a device for tests"},
    {"msmouse", false, BackendKind::none, false, "a serial mouse"},
    {"wctablet", false, BackendKind::none, false, "a serial tablet"},
    {"spicevmc", false, BackendKind::none, false, "a channel of a SPICE display"},
};

const Form* find_form(std::string_view word, bool has_rest) {
  for (const Form& form : kForms)
    if (form.name == word && (form.takes_rest || !has_rest)) return &form;
  return nullptr;
}

}  // namespace

std::vector<KnownForm> known_forms() {
  std::vector<KnownForm> forms;
  for (const Form& form : kForms) forms.push_back({form.name, form.available, form.summary});
  return forms;
}

Result<Spec> parse_spec(std::string_view text) {
  const std::string_view typed = text;
  Spec spec;
  if (text.starts_with("mon:")) {
    spec.with_monitor = true;
    spec.signals = false;
    text.remove_prefix(4);
  }
  const usize colon = text.find(':');
  const bool has_rest = colon != text.npos;
  const std::string_view word = text.starts_with("/dev/") ? "/dev/" : text.substr(0, colon);
  const Form* form = find_form(word, has_rest);
  if (!form) {
    std::vector<std::string> names;
    for (const Form& candidate : kForms) names.emplace_back(candidate.name);
    return Error("'{}' is not a valid char driver{}", typed, did_you_mean(word, names));
  }
  if (!form->available)
    return Error(
        "'{}' ({}) is known to QEMU, but Rhea does not have it yet; it has stdio, file:PATH, null, none "
        "and mon:stdio",
        typed, form->summary);
  spec.kind = form->kind;
  if (form->kind == BackendKind::file) {
    if (has_rest) spec.path = text.substr(colon + 1);
    if (spec.path.empty()) return Error("'{}' names no file: it is written file:PATH", typed);
  }
  if (spec.with_monitor && form->kind == BackendKind::none)
    return Error("'{}': a device that is not there cannot be shared with the monitor", typed);
  return spec;
}

}  // namespace rhea::chardev
