// SPDX-License-Identifier: MIT
#include "config/json.h"

#include <gtest/gtest.h>

namespace rhea::config {
namespace {

// What a text gives, byte by byte: values as text, errors as "!".
std::vector<std::string> read(std::string_view text) {
  JsonStream stream;
  std::vector<std::string> found;
  for (const char c : text)
    stream.feed(std::string_view(&c, 1),
                [&](Result<Json> value) { found.push_back(value.ok() ? json_text(*value) : "!"); });
  return found;
}
using Found = std::vector<std::string>;

TEST(JsonStream, Values) {
  EXPECT_EQ(read(R"({"a":1,'b':[true,null,-2.5,"x\n\u00e4\ud83d\ude00"]})"),
            (Found{"{\"a\": 1, \"b\": [true, null, -2.5, \"x\\nä😀\"]}"}));
  EXPECT_EQ(read("{}{} []\n{ }"), (Found{"{}", "{}", "[]", "{}"}));
  EXPECT_EQ(read("18446744073709551615 "), (Found{"18446744073709551615"}));
  EXPECT_EQ(read("null\n"), (Found{"null"}));
}

TEST(JsonStream, AnUnbalancedBraceCostsItsOwnCommandAlone) {
  EXPECT_EQ(read("{\"a\":1\n{\"b\":2}\n"), (Found{"!", "{\"b\": 2}"}));
  EXPECT_EQ(read("{\n{\"b\":2}\n"), (Found{"!", "{\"b\": 2}"}));
  EXPECT_EQ(read("{\"a\":[1,2\n{\"b\":2}\n"), (Found{"!", "{\"b\": 2}"}));
  EXPECT_EQ(read("{\"a\":1}}\n{\"b\":2}\n"), (Found{"{\"a\": 1}", "!", "{\"b\": 2}"}));
  EXPECT_EQ(read("{\"a\":\n{\"b\":2}\n{\"c\":3}\n"), (Found{"!", "{\"c\": 3}"}));
}

TEST(JsonStream, EachErrorIsToldOnce) {
  for (const char* text :
       {"{]\n", "{\xff", "{\x01", "{'bad \xff", "{'a': 'b', 'id':'\n", "{\"a\": bad, \"b\": {\"c\": 1}}", "{\"a\" 1}",
        "{\"a\": 01}", "{\"a\": 1e999}", "{\"a\":1,}", "[1,,2]", "{\"a\":1,\"a\":2}", "{\"a\":\"\\q\"}",
        "{\"a\":\"\\ud800x\"}", "%\n", ":\n", "{\"a\":\"\xe4\"}"}) {
    const Found found = read(std::string(text) + "{'execute': 'no'}\n");
    EXPECT_EQ(found, (Found{"!", "{\"execute\": \"no\"}"})) << text;
  }
}

TEST(JsonStream, Limits) {
  EXPECT_EQ(read(std::string(JsonStream::kMostDepth + 1, '[') + "\n{}"), (Found{"!", "{}"}));
  EXPECT_EQ(read("{\"a\":\"" + std::string(JsonStream::kMostBytes, 'x') + "\"}\n{}"), (Found{"!", "{}"}));
}

TEST(Json, Pretty) {
  EXPECT_EQ(json_text(*parse_json("{'a':[1,{}]}"), true), "{\n    \"a\": [\n        1,\n        {}\n    ]\n}");
}
TEST(Json, Whole) {
  EXPECT_EQ(parse_json("12")->get<int>(), 12);
  EXPECT_FALSE(parse_json("").ok());
  EXPECT_FALSE(parse_json("{").ok());
  EXPECT_FALSE(parse_json("{} {}").ok());
}

}  // namespace
}  // namespace rhea::config
