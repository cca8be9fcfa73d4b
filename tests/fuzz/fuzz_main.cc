// SPDX-License-Identifier: Apache-2.0
//
// Runs a fuzz target over the files of its corpus and over mutations of them, where there is no
// libFuzzer: with any compiler, the same inputs in every run.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace duly {
namespace {

constexpr std::size_t kMostBytes = std::size_t{16} << 10;

// A copy that ends where the memory does, so that a sanitizer sees what reads past it.
void Run(const std::string& input) {
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

// Changes one place: a bit, a byte, a piece left out, doubled or taken from another input.
void Mutate(std::string& text, const std::string& other, RandomStream& random) {
  constexpr std::string_view kBytes("\0\x01\x7f\x80\xff \n\r\"'{}[]:,-#&*%09", 24);
  const std::size_t at = random.Below(text.size() + 1);
  const std::size_t most = 1 + random.Below(16);
  switch (random.Below(6)) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random.Below(8)));
      break;
    case 1:
      if (at < text.size()) text[at] = kBytes[random.Below(kBytes.size())];
      break;
    case 2:
      text.erase(at, most);
      break;
    case 3:
      text.insert(at, text.substr(at, most));
      break;
    case 4:
      text.resize(at);
      break;
    default: {
      const std::size_t from = random.Below(other.size() + 1);
      text.insert(at, other.substr(from, 4 * most));
    }
  }
  text.resize(std::min(text.size(), kMostBytes));
}

int Main(const std::vector<std::string>& arguments) {
  if (arguments.size() != 2) {
    std::cerr << "expected: FOLDER MUTATIONS\n";
    return 2;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(arguments[0])) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> inputs;
  for (const std::filesystem::path& file : files) {
    std::ifstream stream(file, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  if (inputs.empty()) {
    std::cerr << arguments[0] << ": no files\n";
    return 2;
  }
  Run("");
  const int mutations = std::atoi(arguments[1].c_str());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    // The last line that is printed names the input that ended the process.
    std::cout << files[i].string() << std::endl;
    Run(inputs[i]);
    RandomStream random(1, files[i].filename().string());
    for (int j = 0; j < mutations; ++j) {
      std::string text = inputs[i];
      const std::string& other = inputs[random.Below(inputs.size())];
      const std::uint64_t changes = 1 + random.Below(5);
      for (std::uint64_t k = 0; k < changes; ++k) Mutate(text, other, random);
      Run(text);
    }
  }
  std::cout << inputs.size() << " inputs, " << mutations << " mutations of each\n";
  return 0;
}

}  // namespace
}  // namespace duly

int main(int argc, char** argv) { return duly::Main({argv + 1, argv + argc}); }
