// SPDX-License-Identifier: Apache-2.0
#include "sim/agenda.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace duly::sim {
namespace {

TEST(Agenda, NothingIsThereAtFirst) {
  const Agenda agenda(3);
  EXPECT_EQ(agenda.next_time(), kNever);
}

TEST(Agenda, OfTheSameTimeTheSmallestEntryComesFirst) {
  Agenda agenda(3);
  agenda.Set(2, FromNanos(5));
  agenda.Set(1, FromNanos(5));
  EXPECT_EQ(agenda.next_entry(), 1U);
  agenda.Set(1, kNever);
  EXPECT_EQ(agenda.next_entry(), 2U);
  EXPECT_EQ(agenda.next_time(), FromNanos(5));
}

TEST(Agenda, GivesTheEarliestAfterAnyChange) {
  constexpr std::uint32_t kEntries = 37;
  Agenda agenda(kEntries);
  std::vector<TimePoint> times(kEntries, kNever);
  RandomStream random(1, "agenda");
  for (int i = 0; i < 5000; ++i) {
    const auto entry = static_cast<std::uint32_t>(random.Below(kEntries));
    const std::uint64_t draw = random.Below(100);
    times[entry] = draw < 10 ? kNever : FromNanos(static_cast<std::int64_t>(draw));
    agenda.Set(entry, times[entry]);
    const auto least = std::min_element(times.begin(), times.end());
    ASSERT_EQ(agenda.next_time(), *least);
    if (*least != kNever) {
      ASSERT_EQ(agenda.next_entry(), static_cast<std::uint32_t>(least - times.begin()));
    }
  }
}

}  // namespace
}  // namespace duly::sim
