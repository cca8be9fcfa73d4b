// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "profile/operating_fit.h"

namespace duly {

// The measurements of one board ("jetson-nano", "agx-xavier") in tests/data/jetson/README.md; rows
// are the requests outstanding.
inline std::vector<OperatingSample> JetsonSamples(std::string_view board) {
  const Result<std::string> file =
      ReadFile(DULY_TEST_DATA "/jetson/inception_v3_clock_concurrency.csv");
  EXPECT_TRUE(file.has_value());
  std::vector<OperatingSample> samples;
  std::string_view text = file ? std::string_view(*file) : std::string_view();
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (!line.starts_with(board)) continue;
    std::vector<double> cells;
    while (cells.size() < 4) {
      line.remove_prefix(line.find(',') + 1);
      const auto [end, error] =
          std::from_chars(line.data(), line.data() + line.size(), cells.emplace_back());
      EXPECT_EQ(error, std::errc()) << line;
    }
    samples.push_back(
        {cells[0] / 1000, static_cast<std::uint32_t>(cells[1]), cells[2] / 1000, cells[3]});
  }
  EXPECT_FALSE(samples.empty());
  return samples;
}

}  // namespace duly
