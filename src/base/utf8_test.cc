// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace duly {
namespace {

TEST(Utf8, SequencesHaveTheirLengths) {
  EXPECT_EQ(Utf8SequenceLength("a", 0), 1U);
  EXPECT_EQ(Utf8SequenceLength("é", 0), 2U);
  EXPECT_EQ(Utf8SequenceLength("€", 0), 3U);
  EXPECT_EQ(Utf8SequenceLength("a😀", 1), 4U);
}

TEST(Utf8, WhatIsCutOverlongASurrogateOrTooLargeIsNone) {
  for (const std::string_view bad : {"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF5\x80\x80\x80",
                                     "\xE2\x82", "\x80", "\xF0\x8F\xBF\xBF", "\xE9n0"}) {
    EXPECT_FALSE(IsUtf8(bad)) << testing::PrintToString(bad);
    EXPECT_FALSE(IsUtf8("before é" + std::string(bad)));
  }
}

TEST(Utf8, TextIs) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("tensor é € 😀\n"));
}

}  // namespace
}  // namespace duly
