// SPDX-License-Identifier: MIT
#include "machine/fdt.h"

#include <gtest/gtest.h>

#include "machine/board_tree.h"
#include "util/bits.h"

namespace rhea::machine {
namespace {

TEST(DeviceTree, PropertiesFromText) {
  DeviceTree tree;
  auto& node = tree.make("/a/b");
  tree.add_properties(node, "compatible=\"x,y\",\"z\"; cells=<1 0x20 &/c>; flag");
  EXPECT_TRUE(node.has_string("compatible", "z"));
  EXPECT_FALSE(node.has_string("compatible", "x"));
  const auto& cells = *node.property("cells");
  ASSERT_EQ(cells.size(), 12u);
  EXPECT_EQ(load_be<u32>(&cells[4]), 0x20u);
  EXPECT_EQ(load_be<u32>(&cells[8]), tree.phandle(*tree.find("/c")));
  EXPECT_TRUE(node.property("flag")->empty());
}

TEST(DeviceTree, SurvivesFlattening) {
  DeviceTree tree;
  tree.add_properties(tree.make("/soc/uart@1000"), "reg=<0x1000 0x100>;status=\"okay\"");
  const std::vector<u8> blob = tree.flatten();
  auto again = DeviceTree::parse(blob);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->flatten(), blob);
  EXPECT_NE(again->find("/soc/uart@1000"), nullptr);
}

TEST(DeviceTree, WhatIsNoTreeIsSaid) {
  EXPECT_FALSE(DeviceTree::parse({}).ok());
  EXPECT_FALSE(DeviceTree::parse(std::vector<u8>(100)).ok());
  std::vector<u8> blob = DeviceTree().flatten();
  EXPECT_TRUE(DeviceTree::parse(blob).ok());
  std::vector<u8> old = blob;
  store_be<u32>(&old[20], 5);
  EXPECT_NE(DeviceTree::parse(old).error().message().find("version 5; 16 is the oldest"), std::string::npos);
  for (usize size = 0; size < blob.size(); ++size)
    EXPECT_FALSE(DeviceTree::parse({blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(size)}).ok()) << size;
}

TEST(BoardTree, IsMadeFromTheTable) {
  const Board& board = *find_board("vexpress-a9");
  TreeInputs inputs{.cpus = 2,
                    .ram_size = 256u << 20,
                    .has_nic = true,
                    .command_line = "quiet",
                    .has_command_line = true,
                    .initrd_base = 0x68000000,
                    .initrd_size = 0x100};
  DeviceTree tree = make_board_tree(board, inputs);
  EXPECT_TRUE(tree.root().has_string("compatible", "arm,vexpress"));
  EXPECT_EQ(tree.compatible("arm,cortex-a9").size(), 2u);
  EXPECT_EQ(tree.compatible("virtio,mmio").size(), 4u);
  EXPECT_EQ(tree.compatible("smsc,lan9118").size(), 1u);
  EXPECT_TRUE(tree.find("/chosen")->has_string("bootargs", "quiet"));
  inputs.has_nic = false;
  EXPECT_TRUE(make_board_tree(board, inputs).compatible("smsc,lan9118").empty());
}

TEST(BoardTree, AnotherBoardsTreeIsRefused) {
  const Board& board = *find_board("vexpress-a9");
  DeviceTree tree;
  tree.add_properties(tree.root(), "compatible=\"raspberrypi,2-model-b\",\"brcm,bcm2836\"");
  const auto result = complete_tree(tree, board, {});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message().find("raspberrypi,2-model-b"), std::string::npos);
}

TEST(BoardTree, AUsersTreeIsCompleted) {
  const Board& board = *find_board("vexpress-a9");
  DeviceTree tree;
  tree.add_properties(tree.root(), "compatible=\"arm,vexpress\";#address-cells=<1>;#size-cells=<1>");
  tree.add_properties(tree.make("/gic"), "compatible=\"arm,cortex-a9-gic\"");
  tree.make("/cpus/cpu@0");
  tree.make("/cpus/cpu@1");
  tree.make("/memory@80000000");
  ASSERT_TRUE(complete_tree(tree, board, {.cpus = 1, .ram_size = 1u << 20}).ok());
  EXPECT_EQ(tree.compatible("virtio,mmio").size(), 4u);
  EXPECT_EQ(tree.find("/memory@80000000"), nullptr);
  EXPECT_NE(tree.find("/memory@60000000"), nullptr);
  EXPECT_TRUE(tree.find("/cpus/cpu@1")->has_string("status", "disabled"));
}

}  // namespace
}  // namespace rhea::machine
