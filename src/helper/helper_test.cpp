// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <map>

#include "helper/access_list.h"
#include "helper/request.h"

namespace rhea::helper {
namespace {

AccessList list_of(const std::string& text, const std::map<std::string, std::string>& files = {}) {
  const auto read = [&](const std::string& path) -> Result<std::string> {
    const auto found = files.find(path);
    if (found == files.end()) return Error("no {}", path);
    return found->second;
  };
  auto list = AccessList::parse("x", text, read);
  EXPECT_TRUE(list.ok()) << list.error().message();
  return *list;
}

std::string error_of(const std::string& text) {
  const auto list = AccessList::parse("x", text, [&](const std::string&) { return Result(text); });
  return list.ok() ? "" : list.error().message();
}

TEST(AccessList, WhatNoLineAllowsIsRefused) {
  EXPECT_FALSE(list_of("").allows("br0"));
  const AccessList list = list_of("# comment\n allow br0\n\tallow\tvirbr0 \n\n");
  EXPECT_TRUE(list.allows("br0"));
  EXPECT_TRUE(list.allows("virbr0"));
  EXPECT_FALSE(list.allows("br00"));
  EXPECT_FALSE(list.allows("br"));
}

TEST(AccessList, ADenyHoldsWhereverItStands) {
  const AccessList list = list_of("deny br1\nallow all\n");
  EXPECT_TRUE(list.allows("br0"));
  EXPECT_FALSE(list.allows("br1"));
  EXPECT_FALSE(list_of("allow br0\ndeny all\n").allows("br0"));
}

TEST(AccessList, IncludedFilesCountWhereTheyCanBeRead) {
  const std::map<std::string, std::string> files = {{"/a", "allow br0\ninclude /b"}, {"/b", "deny br2"}};
  const AccessList list = list_of("include /a\ninclude /nobody\nallow br2\n", files);
  EXPECT_TRUE(list.allows("br0"));
  EXPECT_FALSE(list.allows("br2"));
}

TEST(AccessList, Errors) {
  EXPECT_EQ(error_of("allow"), "x:1: a line is 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'");
  EXPECT_EQ(error_of("\nallow br0 br1"), "x:2: a line is 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'");
  EXPECT_EQ(error_of("permit br0"),
            "x:1: 'permit' is not known: a line is 'allow BRIDGE', 'deny BRIDGE' or 'include FILE'");
  EXPECT_EQ(error_of("include x"), "x: files include one another more than 8 deep");
}

std::string refusal(std::vector<std::string> words) {
  const auto request = parse_request(words);
  return request.ok() ? "" : request.error().message();
}

TEST(Request, WhatItTakes) {
  const std::vector<std::string> words = {"--use-vnet", "--fd=7", "--br=br0"};
  const auto request = parse_request(words);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->header);
  EXPECT_EQ(request->fd, 7);
  EXPECT_EQ(request->bridge, "br0");
  EXPECT_FALSE(refusal({"--br=br0"}).empty());
  EXPECT_FALSE(refusal({"--br=br0", "--fd=1"}).empty());
  EXPECT_FALSE(refusal({"--br=br0", "--fd=7x"}).empty());
  EXPECT_FALSE(refusal({"--br=../x", "--fd=7"}).empty());
  EXPECT_FALSE(refusal({"--br=a-name-of-17-let", "--fd=7"}).empty());
  EXPECT_FALSE(refusal({"--br=a b", "--fd=7"}).empty());
  EXPECT_FALSE(refusal({"--br=br0", "--fd=7", "--acl=/tmp/x"}).empty());
}

}  // namespace
}  // namespace rhea::helper
