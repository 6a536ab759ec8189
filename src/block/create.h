// SPDX-License-Identifier: MIT
// New images.
#pragma once

#include <string>

#include "block/image.h"
#include "block/node.h"
#include "util/result.h"

namespace rhea::block {

struct CreateSpec {
  std::string filename;
  std::string format = "raw";
  u64 size = 0;  // bytes; rounded up to sectors of 512
  Preallocation preallocation = Preallocation::off;
  // qcow2
  u64 cluster_size = 65536;    // 512 to 2 MiB, a power of two
  std::string compat = "1.1";  // "1.1" (or "v3"), "0.10" ("v2")
  bool lazy_refcounts = false;
  unsigned refcount_bits = 16;            // 1, 2, 4, ... 64
  std::string compression_type = "zlib";  // or "zstd"
  std::string backing_file, backing_format;
};

// Makes the file, or empties it. Errors: what is wrong with the options; what the file system says; another
// process uses the file.
Result<void> create_image(const CreateSpec& spec);

// An empty qcow2 image in an empty file; what it opens to can be written.
Result<std::unique_ptr<Node>> create_qcow2(std::unique_ptr<Node> file, const CreateSpec& spec);

}  // namespace rhea::block
