// SPDX-License-Identifier: Apache-2.0
#include "telemetry/record_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "base/random.h"

namespace duly {
namespace {

// A record whose bytes all follow from its number.
bool Produce(RecordRing& ring, std::uint8_t number, std::size_t bytes) {
  std::byte* record = ring.Reserve(bytes);
  if (record == nullptr) return false;
  std::fill_n(record, bytes, std::byte{number});
  ring.Commit();
  return true;
}

bool IsRecord(std::span<const std::byte> record, std::uint8_t number, std::size_t bytes) {
  return record.size() == bytes &&
         std::ranges::all_of(record, [&](std::byte byte) { return byte == std::byte{number}; });
}

TEST(RecordRing, KeepsRecordsOfAnySizeInOrderAndNeverOverwritesOne) {
  RandomStream random(1, "ring");
  RecordRing ring(4096);
  std::deque<std::pair<std::uint8_t, std::size_t>> expected;
  std::uint8_t number = 0;
  int refused = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random.Below(2) == 0) {
      const std::size_t bytes = 1 + random.Below(700);
      if (Produce(ring, ++number, bytes)) {
        expected.emplace_back(number, bytes);
      } else {
        ++refused;
        // Less than half of it, with its skipped end, would always have fitted.
        EXPECT_FALSE(ring.AtMostHalfFull());
      }
    } else if (!expected.empty()) {
      const auto [wanted, bytes] = expected.front();
      expected.pop_front();
      ASSERT_TRUE(IsRecord(ring.Front(ring.produced()), wanted, bytes)) << "step " << step;
      ring.Pop();
    } else {
      ASSERT_TRUE(ring.Front(ring.produced()).empty());
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(RecordRing, RefusesWhatNeverFits) {
  RecordRing ring(4096);
  EXPECT_FALSE(Produce(ring, 1, 4096));
  EXPECT_TRUE(Produce(ring, 1, 4096 - 8));
  EXPECT_FALSE(Produce(ring, 2, 1));
  ring.Pop();
  EXPECT_TRUE(Produce(ring, 2, 1));
}

TEST(RecordRing, HandsRecordsFromOneThreadToAnother) {
  RecordRing ring(4096);
  constexpr int kRecords = 50'000;
  const auto size_of = [](int i) { return static_cast<std::size_t>(1 + (i * 37) % 300); };
  std::jthread producer([&] {
    for (int i = 0; i < kRecords; ++i) {
      while (!Produce(ring, static_cast<std::uint8_t>(i), size_of(i))) std::this_thread::yield();
    }
  });
  for (int i = 0; i < kRecords; ++i) {
    std::span<const std::byte> record;
    while ((record = ring.Front(ring.produced())).empty()) std::this_thread::yield();
    ASSERT_TRUE(IsRecord(record, static_cast<std::uint8_t>(i), size_of(i)));
    ring.Pop();
  }
}

}  // namespace
}  // namespace duly
