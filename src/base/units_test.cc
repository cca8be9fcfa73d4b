// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <gtest/gtest.h>

namespace duly {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(ParseDuration, ReadsEveryUnit) {
  EXPECT_EQ(ParseDuration("250us"), microseconds(250));
  EXPECT_EQ(ParseDuration("20 ms"), milliseconds(20));
  EXPECT_EQ(ParseDuration("1.5s"), milliseconds(1500));
  EXPECT_EQ(ParseDuration("2min"), milliseconds(120000));
  EXPECT_EQ(ParseDuration("0"), Duration(0));
}

TEST(ParseDuration, RefusesWhatWouldBeAGuess) {
  for (const char* text : {"20", "ms", "-1ms", "1e400s", "nan s", "20 parsecs", "", "1e300h"}) {
    EXPECT_FALSE(ParseDuration(text).has_value()) << text;
  }
}

TEST(FormatDuration, ReadsBackAsTheSameDuration) {
  for (const Duration d :
       {Duration(1), Duration(1500), Duration(20000000), Duration(90000000000)}) {
    EXPECT_EQ(ParseDuration(FormatDuration(d)), d) << FormatDuration(d);
  }
  EXPECT_EQ(FormatDuration(milliseconds(1500)), "1.5s");
}

TEST(ParseSize, ReadsBinaryAndDecimalPrefixes) {
  EXPECT_EQ(ParseSize("8MiB"), 8388608U);
  EXPECT_EQ(ParseSize("64kB"), 64000U);
  EXPECT_EQ(ParseSize("512"), 512U);
  EXPECT_FALSE(ParseSize("8Mb").has_value());
}

TEST(ParseRate, ReadsPerSecondAndPerMinute) {
  EXPECT_DOUBLE_EQ(ParseRate("100").value(), 100);
  EXPECT_DOUBLE_EQ(ParseRate("600/min").value(), 10);
  EXPECT_FALSE(ParseRate("-3").has_value());
}

TEST(ParseFrequency, NeedsAUnit) {
  EXPECT_EQ(ParseFrequency("921.6MHz"), 921600000U);
  EXPECT_EQ(ParseFrequency("1.377 GHz"), 1377000000U);
  EXPECT_EQ(ParseFrequency("345600kHz"), 345600000U);
  EXPECT_FALSE(ParseFrequency("921.6").has_value());
  EXPECT_FALSE(ParseFrequency("-1MHz").has_value());
  EXPECT_FALSE(ParseFrequency("9999GHz").has_value());
  EXPECT_EQ(FormatFrequency(1300500000), "1300.5MHz");
  EXPECT_EQ(FormatFrequency(114750000), "114.75MHz");
}

}  // namespace
}  // namespace duly
