// SPDX-License-Identifier: MIT
// From a name and options to an open image: the protocol, the format, the chain, the temporary overlay.
#include <array>

#include "block/node.h"
#include "block/probe.h"
#include "util/text.h"

namespace rhea::block {

bool is_known_format(const std::string& name) { return name == "raw"; }
std::vector<std::string> known_formats() { return {"raw"}; }

Result<std::unique_ptr<Image>> open_image(const ImageSpec& spec) {
  auto file = RHEA_TRY(open_file_node(spec.filename, spec));
  std::string format = spec.format;
  if (format.empty()) {
    std::vector<u8> start(kProbeSize);
    const Segment all{start.data(), start.size()};
    RHEA_TRY(file->read(0, {&all, 1}));
    format = probe_format(start, spec.filename);
  }
  if (format != "raw") return Error("Unknown driver '{}'", format);
  auto node = RHEA_TRY(open_raw_node(std::move(file), spec, spec.format.empty()));
  return std::make_unique<Image>(std::move(node), spec);
}

}  // namespace rhea::block
