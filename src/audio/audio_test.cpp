// SPDX-License-Identifier: MIT
#include "audio/audio.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "sys/file.h"
#include "util/bits.h"

namespace rhea::audio {
namespace {

std::string temporary_file() {
  std::string path = ::testing::TempDir() + "rhea-audio-XXXXXX";
  const int fd = ::mkstemp(path.data());
  EXPECT_GE(fd, 0);
  return path;
}

TEST(Audio, SpecsAreChecked) {
  const auto spec = parse_spec("wav,id=a,path=x.wav,out.frequency=8000,out.channels=1");
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->path, "x.wav");
  EXPECT_EQ(spec->frequency, 8000u);
  EXPECT_EQ(spec->channels, 1u);
  EXPECT_EQ(parse_spec("wav").error().message(), "Parameter 'id' is missing");
  EXPECT_NE(parse_spec("alsa,id=a").error().message().find("known to QEMU"), std::string::npos);
  EXPECT_NE(parse_spec("wave,id=a").error().message().find("did you mean 'wav'"), std::string::npos);
  for (const char* bad : {"", "none,id=a,path=x", "wav,id=a,out.channels=3", "wav,id=a,out.frequency=1",
                          "wav,id=a,out.format=f32", "wav,id=a,x=1"})
    EXPECT_FALSE(parse_spec(bad).ok()) << bad;
}

TEST(Audio, WavHasWhatWasPlayed) {
  const std::string path = temporary_file();
  {
    auto wav = open({.driver = "wav", .id = "a", .path = path, .frequency = 48000});
    ASSERT_TRUE(wav.ok());
    std::vector<s16> samples;
    for (s16 i = 0; i < 1000; ++i) samples.insert(samples.end(), {i, static_cast<s16>(-2 * i)});
    (*wav)->play(samples, 48000, 1.0f, 0.5f);
  }
  const auto bytes = sys::read_file(path);
  ASSERT_TRUE(bytes.ok());
  ASSERT_EQ(bytes->size(), 44u + 4000);
  EXPECT_EQ(std::string(bytes->begin(), bytes->begin() + 4), "RIFF");
  EXPECT_EQ(load_le<u32>(&(*bytes)[4]), bytes->size() - 8);
  EXPECT_EQ(load_le<u32>(&(*bytes)[24]), 48000u);
  EXPECT_EQ(load_le<u32>(&(*bytes)[40]), 4000u);
  for (s16 i = 1; i < 1000; ++i) {  // the first sample out lies before the first one in
    EXPECT_EQ(load_le<s16>(&(*bytes)[44 + usize(i) * 4]), i - 1);
    EXPECT_EQ(load_le<s16>(&(*bytes)[46 + usize(i) * 4]), -(i - 1));
  }
  std::filesystem::remove(path);
}

TEST(Audio, OtherRatesAreConverted) {
  const std::string path = temporary_file();
  {
    auto wav = open({.driver = "wav", .id = "a", .path = path, .frequency = 24000, .channels = 1});
    ASSERT_TRUE(wav.ok());
    (*wav)->play(std::vector<s16>(2 * 48000, 1000), 48000, 1, 1);
  }
  const auto bytes = sys::read_file(path);
  ASSERT_TRUE(bytes.ok());
  EXPECT_NEAR(static_cast<double>(bytes->size() - 44), 2.0 * 24000, 4);
  EXPECT_EQ(load_le<s16>(&(*bytes)[bytes->size() - 2]), 1000);
  std::filesystem::remove(path);
}

TEST(Audio, AFileThatCannotBeMadeIsNamed) {
  const auto wav = open({.driver = "wav", .id = "a", .path = "/nonexistent/x.wav"});
  ASSERT_FALSE(wav.ok());
  EXPECT_NE(wav.error().message().find("/nonexistent/x.wav"), std::string::npos);
}

}  // namespace
}  // namespace rhea::audio
