// SPDX-License-Identifier: Apache-2.0
#include "model/tensor.h"

#include <gtest/gtest.h>

#include <limits>

namespace duly {
namespace {

TEST(DataType, NamesReadBack) {
  for (int i = 0; i <= static_cast<int>(DataType::kBytes); ++i) {
    const auto type = static_cast<DataType>(i);
    EXPECT_EQ(ParseDataType(ToString(type)), type);
  }
  EXPECT_FALSE(ParseDataType("FP8").has_value());
}

TEST(ElementCount, RefusesNegativeAndOverflowingShapes) {
  EXPECT_EQ(ElementCount(Shape{2, 3, 4}), 24);
  EXPECT_EQ(ElementCount(Shape{}), 1);
  EXPECT_EQ(ElementCount(Shape{0, 7}), 0);
  EXPECT_FALSE(ElementCount(Shape{-1, 3}).has_value());
  EXPECT_FALSE(ElementCount(Shape{(1LL << 60) + 1, 16}).has_value());
  EXPECT_FALSE(ElementCount(Shape{0, 1LL << 62, 1LL << 62}).has_value());
  EXPECT_EQ(ElementCount(Shape{std::numeric_limits<std::int64_t>::max()}),
            std::numeric_limits<std::int64_t>::max());
}

TEST(Buffer, SlicesShareTheOwner) {
  Buffer slice;
  {
    auto [buffer, bytes] = Buffer::Allocate(8);
    for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(i);
    slice = buffer.Slice(4, 2);
  }
  EXPECT_EQ(slice.size(), 2U);
  EXPECT_EQ(slice.data()[1], static_cast<std::byte>(5));
}

std::vector<std::byte> Bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

TEST(SplitBytesTensor, AcceptsExactlyWhatLengthsAndCountSay) {
  using std::string_view_literals::operator""sv;
  const std::vector<std::byte> good = Bytes("\x02\0\0\0ab\0\0\0\0"sv);
  const auto elements = SplitBytesTensor(good, 2);
  ASSERT_TRUE(elements.has_value());
  EXPECT_EQ((*elements)[0], "ab");
  EXPECT_EQ((*elements)[1], "");
  EXPECT_FALSE(SplitBytesTensor(good, 1).has_value());
  EXPECT_FALSE(SplitBytesTensor(good, 1LL << 60).has_value());
  EXPECT_FALSE(SplitBytesTensor(Bytes("\x05\0\0\0ab"sv), 1).has_value());
  EXPECT_FALSE(SplitBytesTensor(Bytes("\x02\0"sv), 1).has_value());
}

}  // namespace
}  // namespace duly
