// SPDX-License-Identifier: MIT
// -drive and its short forms, and -blockdev: what they say, and the drives made of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "block/drive.h"
#include "cli/settings.h"

namespace rhea::cli {

// Options by dotted name ("file.filename"), in the order of the names.
using FlatOptions = std::map<std::string, std::string>;

// The options of a JSON object, its members' objects with dots; booleans as on and off. The error says where.
Result<FlatOptions> flatten_json(const std::string& text);

// Makes the drives of the command line in the machine's table.
class DrivePlan {
 public:
  DrivePlan(Settings& settings, machine::Machine& machine) : settings_(settings), machine_(machine) {}
  Result<void> make();
  // While the machine runs: a drive by the text of -drive (without a bus of its own), a node by that of -blockdev, and
  // a node taken away. Lines for the user go to the log.
  Result<void> add_drive(const std::string& options);
  Result<void> add_node(const std::string& options);
  Result<void> delete_node(const std::string& name);
  // After the machine was built: those that no device took although the user may think so.
  void warn_of_orphans();

 private:
  struct NodeText {
    Typed typed;
    FlatOptions options;
    bool has_parent = false;
  };
  Result<void> make_drive(const Typed& typed);
  Result<void> read_nodes();
  Result<FlatOptions> node_options(const Typed& typed) const;
  Result<void> list_node(const Typed& typed, FlatOptions options);
  NodeText* find_node(const std::string& name);
  bool is_unused(const std::string& name) const;
  Result<void> take_child(const std::string& name);
  Result<void> free_children(const NodeText& node);
  void tell_lines();
  Result<void> make_node(const NodeText& node);
  Result<block::ImageSpec> node_spec(const NodeText& node);
  Result<block::ImageSpec> throttled_spec(const NodeText& node);
  Result<void> read_format_node(const NodeText& node, block::ImageSpec& spec);
  Result<void> read_protocol(FlatOptions options, block::ImageSpec& spec);
  Result<void> read_null(FlatOptions& options, const std::string& driver, block::ImageSpec& spec);
  Result<void> read_common(FlatOptions& options, block::ImageSpec& spec);
  Result<FlatOptions> child(const std::string& name, FlatOptions& options);
  Result<void> add(const Typed& typed, block::DriveConfig config, block::ImageSpec spec);
  Result<void> plug_virtio(const std::string& id);

  Settings& settings_;
  machine::Machine& machine_;
  std::vector<NodeText> nodes_;
  std::vector<std::pair<Typed, std::string>> defaulted_;  // -drive without if=: what was typed, and the drive
};

// Shared by both spellings.
Result<void> set_cache_flags(const std::string& name, bool value, block::ImageSpec& spec);
// "Parameter 'X' ... is known to QEMU" for what Rhea does not do, or an unknown key.
Error unknown_block_option(const std::string& format, const std::string& key);

}  // namespace rhea::cli
