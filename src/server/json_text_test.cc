// SPDX-License-Identifier: Apache-2.0
#include "server/json_text.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace duly {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

TEST(JsonString, EveryCharacterReadsBack) {
  std::string text = "tensor \"a\\b\" é € 😀\n";
  for (int c = 0; c < 0x80; ++c) text += static_cast<char>(c);
  EXPECT_EQ(nlohmann::json::parse(Quoted(text)).get<std::string>(), text);
}

TEST(JsonString, BytesThatAreNotUtf8AreReplaced) {
  for (const std::string_view bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                                     "\xE2\x82", "\x80", "\xF0\x8F\xBF\xBF"}) {
    const std::string quoted = Quoted(std::string("a") + std::string(bad) + "b");
    ASSERT_TRUE(nlohmann::json::accept(quoted)) << quoted;
    const std::string back = nlohmann::json::parse(quoted).get<std::string>();
    EXPECT_EQ(back.front(), 'a');
    EXPECT_EQ(back.back(), 'b');
    EXPECT_NE(back.find("\xEF\xBF\xBD"), std::string::npos);
  }
}

TEST(AppendNumber, IsShortestAndExact) {
  std::string out;
  AppendNumber(out, 0.1F);
  EXPECT_EQ(out, "0.1");
  out.clear();
  AppendNumber(out, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(out, "18446744073709551615");
  out.clear();
  AppendNumber(out, std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(nlohmann::json::parse(out).get<double>(), std::numeric_limits<double>::denorm_min());
}

}  // namespace
}  // namespace duly
