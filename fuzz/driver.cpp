// SPDX-License-Identifier: MIT
// Runs a fuzz target without libFuzzer: every file of the corpus, then changes of them and made-up inputs from a
// fixed seed, so that each build's tests exercise every target the same way.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "util/types.h"

extern "C" int LLVMFuzzerTestOneInput(const rhea::u8* data, rhea::usize size);

namespace {

using Input = std::vector<rhea::u8>;

std::vector<Input> read_corpus(const char* folder) {
  std::vector<Input> corpus;
  std::error_code error;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

Input mutate(Input input, std::mt19937& random) {
  const unsigned changes = 1 + random() % 8;
  for (unsigned i = 0; i < changes; ++i) {
    const rhea::usize at = input.empty() ? 0 : random() % input.size();
    switch (random() % 4) {
      case 0:
        if (!input.empty()) input[at] = static_cast<rhea::u8>(random());
        break;
      case 1:
        if (!input.empty()) input[at] ^= static_cast<rhea::u8>(1u << (random() % 8));
        break;
      case 2: input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), static_cast<rhea::u8>(random())); break;
      default:
        if (!input.empty()) input.resize(at);
        break;
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  const char* runs_text = std::getenv("RHEA_FUZZ_RUNS");
  const unsigned runs = runs_text ? static_cast<unsigned>(std::atoi(runs_text)) : 3000;
  const std::vector<Input> corpus = argc > 1 ? read_corpus(argv[1]) : std::vector<Input>();
  for (const Input& input : corpus) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937 random(20260101);
  for (unsigned i = 0; i < runs; ++i) {
    Input input;
    if (!corpus.empty() && random() % 4) {
      input = corpus[random() % corpus.size()];
    } else {
      input.resize(random() % 512);
      for (rhea::u8& byte : input) byte = static_cast<rhea::u8>(random());
    }
    input = mutate(std::move(input), random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu corpus inputs and %u made-up ones: no failure\n", corpus.size(), runs);
  return 0;
}
