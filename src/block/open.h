// SPDX-License-Identifier: MIT
// Names of images: protocols, formats, backing files.
#pragma once

#include <memory>
#include <string>

#include "block/node.h"

namespace rhea::block {

// "Unknown driver 'foo'", and what is known or was probably meant.
Error unknown_format(const std::string& format);
// "http" of "http://host/x"; empty for a path. ("dir/a:b" is a path, "a:b" is not.)
std::string protocol_of(const std::string& filename);
// A backing file's name as seen from the image that names it.
std::string resolve_backing(const std::string& image, const std::string& backing);

// A file for a new image, made or opened for writing, and locked; not yet emptied.
Result<std::unique_ptr<Node>> open_new_file(const std::string& filename);
// The file or URL itself, without a format.
Result<std::unique_ptr<Node>> open_protocol(const ImageSpec& spec);
Result<std::unique_ptr<Node>> open_url_node(const std::string& url, const ImageSpec& spec);

}  // namespace rhea::block
