// SPDX-License-Identifier: MIT
// An image's properties as people and programs are shown them: rhea-img info, `info block -v`, query-block.
#pragma once

#include <string>
#include <vector>

#include "block/image.h"
#include "config/json.h"

namespace rhea::block {

// "196 KiB": three digits at least.
std::string human_size(u64 bytes);
// Lines under "Snapshot list:".
std::string snapshot_table(const std::vector<Snapshot>& snapshots);
std::string image_text(const ImageInfo& info, const std::vector<Snapshot>& snapshots);
// QMP's ImageInfo, without the image below it.
config::Json image_json(const ImageInfo& info, const std::vector<Snapshot>& snapshots);

}  // namespace rhea::block
