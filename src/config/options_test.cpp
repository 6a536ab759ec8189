// SPDX-License-Identifier: MIT
#include "config/options.h"

#include <gtest/gtest.h>

namespace rhea::config {
namespace {

constexpr Parameter kTable[] = {
    {"type", Kind::text},   {"id", Kind::identifier}, {"server", Kind::boolean},         {"wait", Kind::boolean},
    {"port", Kind::number}, {"size", Kind::size},     {"hostfwd", Kind::text, "", true}, {"node", Kind::boolean},
};

std::string message(std::string_view text) {
  const auto values = read_options(text, "type", kTable);
  return values ? "no error" : values.error().message();
}

TEST(Options, CommasAreDoubled) {
  const auto parsed = parse_options("a,,b,path=x,,y,z=", "type");
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->parts.size(), 3u);
  EXPECT_EQ(parsed->parts[0].value, "a,b");
  EXPECT_TRUE(parsed->parts[0].implied);
  EXPECT_EQ(*parsed->find("path"), "x,y");
  EXPECT_EQ(*parsed->find("z"), "");
  EXPECT_EQ(quote_value("x,y"), "x,,y");
}

TEST(Options, ValuesKeepEqualSignsAndOrder) {
  const auto values = read_options("user,hostfwd=tcp::1-:2,hostfwd=a=b", "type", kTable);
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->text("type"), "user");
  EXPECT_EQ(values->all("hostfwd"), (std::vector<std::string>{"tcp::1-:2", "a=b"}));
}

TEST(Options, ShortBooleans) {
  const auto values = read_options("x,server,nowait,node", "type", kTable);
  ASSERT_TRUE(values.ok());
  EXPECT_TRUE(values->boolean("server", false));
  EXPECT_FALSE(values->boolean("wait", true));
  EXPECT_TRUE(values->boolean("node", false));
  EXPECT_EQ(values->short_booleans().size(), 3u);
  EXPECT_EQ(parse_options("4,cores", "cpus", Style::strict).error().message(), "Expected '=' after parameter 'cores'");
  EXPECT_EQ(message("x,port"), "Parameter 'port' needs a value: port=<num>");
}

TEST(Options, HelpWords) {
  EXPECT_TRUE(parse_options("help", "type")->help);
  EXPECT_TRUE(parse_options("?", "type")->help);
  EXPECT_TRUE(parse_options("user,help", "type")->help);
  EXPECT_FALSE(parse_options("type=help", "type")->help);
}

TEST(Options, UnknownAndWrong) {
  EXPECT_EQ(message("user,hostfw=1"), "Invalid parameter 'hostfw' (did you mean 'hostfwd'?)");
  EXPECT_EQ(message("user,zzzz=1"), "Invalid parameter 'zzzz'");
  EXPECT_EQ(message("user,server=maybe"), "Parameter 'server' expects 'on' or 'off'");
  EXPECT_EQ(message("user,port=x"), "Parameter 'port' expects a number");
  EXPECT_EQ(message("user,port=99999999999999999999"),
            "Value '99999999999999999999' is too large for parameter 'port'");
  EXPECT_EQ(message("user,id=1bad"), "Parameter 'id' expects an identifier");
  EXPECT_EQ(message("user,=x"), "Expected a parameter's name before '=x'");
}

TEST(Options, LastValueCounts) {
  const auto values = read_options("user,port=1,port=0x10", "type", kTable);
  ASSERT_TRUE(values.ok());
  EXPECT_EQ(values->number("port", 0), 16u);
}

TEST(Size, Suffixes) {
  EXPECT_EQ(*parse_size("size", "512", 'M'), u64{512} << 20);
  EXPECT_EQ(*parse_size("size", "0512", 'M'), u64{512} << 20);
  EXPECT_EQ(*parse_size("size", "1g"), u64{1} << 30);
  EXPECT_EQ(*parse_size("size", "1.5G"), u64{3} << 29);
  EXPECT_EQ(*parse_size("size", "0x10k"), u64{16} << 10);
  EXPECT_EQ(*parse_size("size", "0", 'M'), 0u);
  EXPECT_EQ(*parse_size("size", "0x1f"), 31u);
  EXPECT_EQ(*parse_size("size", "15E"), u64{15} << 60);
}

TEST(Size, Errors) {
  for (const char* text : {"", "abc", "1Z", "-1", "1.5", "M", "1..5G", "1.x5G", "raspi2b", "1 G", "0x"}) {
    const auto size = parse_size("size", text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_EQ(size.error().message(), "Parameter 'size' expects a non-negative number below 2^64") << text;
    EXPECT_EQ(size.error().hint(),
              "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
              "and exabytes, respectively.");
  }
  EXPECT_EQ(parse_size("size", "17179869184G").error().message(),
            "Value '17179869184G' is out of range for parameter 'size'");
}

TEST(Identifier, Rule) {
  EXPECT_TRUE(is_identifier("n0"));
  EXPECT_TRUE(is_identifier("a-b.c_d"));
  for (const char* text : {"", "0n", "a b", "-a", "a,b"}) EXPECT_FALSE(is_identifier(text)) << text;
}

TEST(PrintSize, Units) {
  EXPECT_EQ(print_size(u64{512} << 20), "512 MiB");
  EXPECT_EQ(print_size(1000), "1000 B");
  EXPECT_EQ(print_size(0), "0 B");
}

}  // namespace
}  // namespace rhea::config
