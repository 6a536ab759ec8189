// SPDX-License-Identifier: MIT
#include "sys/shared_library.h"

#include <gtest/gtest.h>

namespace rhea::sys {
namespace {

TEST(SharedLibrary, FindsFunctions) {
  const auto library = SharedLibrary::load("libc.so.6");
  ASSERT_TRUE(library.ok()) << library.error().message();
  int (*absolute)(int) = nullptr;
  ASSERT_TRUE(library->find("abs", absolute).ok());
  EXPECT_EQ(absolute(-5), 5);
  EXPECT_EQ(library->find("no_such_function", absolute).error().message(),
            "libc.so.6 has no function no_such_function");
}

TEST(SharedLibrary, SaysWhatIsMissing) {
  const auto library = SharedLibrary::load("librhea-is-not-here.so.1");
  ASSERT_FALSE(library.ok());
  EXPECT_NE(library.error().message().find("librhea-is-not-here.so.1"), std::string::npos);
}

}  // namespace
}  // namespace rhea::sys
