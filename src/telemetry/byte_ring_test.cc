// SPDX-License-Identifier: Apache-2.0
#include "telemetry/byte_ring.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/random.h"

namespace duly {
namespace {

constexpr std::uint8_t kPadding = 0xFF;

// A record: its length (1 to 250) and as many bytes of a running number.
bool Produce(ByteRing& ring, std::uint8_t length, std::uint8_t number) {
  // More than is used, as the recorder does.
  std::uint8_t* out = ring.Reserve(std::size_t{length} + 60);
  if (out == nullptr) return false;
  *out = length;
  std::fill_n(out + 1, length, number);
  ring.Commit(std::size_t{length} + 1);
  return true;
}

// Takes all that is readable; the records must be whole, and their numbers run on.
class Consumer {
 public:
  explicit Consumer(ByteRing& ring) : ring_(ring) {}

  void TakeAll() {
    const std::span<const std::uint8_t> bytes = ring_.Readable();
    for (std::size_t at = 0; at < bytes.size();) {
      const std::uint8_t length = bytes[at];
      if (length == kPadding) break;
      ASSERT_LE(at + 1 + length, bytes.size());
      ++next_;
      for (const std::uint8_t byte : bytes.subspan(at + 1, length)) ASSERT_EQ(byte, next_);
      at += 1 + std::size_t{length};
      ++records_;
    }
    ring_.Release(bytes.size());
  }
  std::size_t records() const { return records_; }

 private:
  ByteRing& ring_;
  std::uint8_t next_ = 0;
  std::size_t records_ = 0;
};

TEST(ByteRing, KeepsRecordsWholeAndInOrderAndNeverOverwritesOne) {
  RandomStream random(1, "ring");
  ByteRing ring(4096, kPadding);
  Consumer consumer(ring);
  std::size_t produced = 0;
  std::size_t refused = 0;
  for (int step = 0; step < 50'000; ++step) {
    if (random.Below(20) == 0) {
      consumer.TakeAll();
      continue;
    }
    const auto length = static_cast<std::uint8_t>(1 + random.Below(250));
    if (Produce(ring, length, static_cast<std::uint8_t>(produced + 1))) {
      ++produced;
    } else {
      ++refused;
    }
  }
  // Once for the bytes up to the ring's end, once for those at its beginning.
  consumer.TakeAll();
  consumer.TakeAll();
  EXPECT_EQ(consumer.records(), produced);
  EXPECT_GT(refused, 100U);
  EXPECT_GT(produced, 1000U);
  EXPECT_TRUE(ring.Readable().empty());
}

TEST(ByteRing, RefusesAfterARefusalUntilItIsHalfEmpty) {
  ByteRing ring(4096, kPadding);
  for (int i = 0; i < 40; ++i) {
    ASSERT_NE(ring.Reserve(100), nullptr);
    ring.Commit(100);
  }
  EXPECT_EQ(ring.Reserve(97), nullptr);
  EXPECT_EQ(ring.Reserve(1), nullptr);
  ring.Release(2000);
  EXPECT_EQ(ring.Reserve(96), nullptr);
  ring.Release(96);
  EXPECT_NE(ring.Reserve(96), nullptr);
}

TEST(ByteRing, TakesWhatFitsExactlyAndRefusesWhatNeverFits) {
  ByteRing ring(4096, kPadding);
  ASSERT_NE(ring.Reserve(4096), nullptr);
  ring.Commit(4096);
  EXPECT_EQ(ring.Reserve(1), nullptr);
  ring.Release(4096);
  EXPECT_EQ(ring.Reserve(4097), nullptr);
  EXPECT_NE(ring.Reserve(1), nullptr);
}

TEST(ByteRing, HandsRecordsFromOneThreadToAnother) {
  ByteRing ring(4096, kPadding);
  Consumer consumer(ring);
  constexpr std::size_t kRecords = 20'000;
  std::jthread producer([&] {
    for (std::size_t i = 1; i <= kRecords; ++i) {
      const auto length = static_cast<std::uint8_t>(1 + i * 37 % 250);
      while (!Produce(ring, length, static_cast<std::uint8_t>(i))) std::this_thread::yield();
    }
  });
  while (consumer.records() < kRecords && !testing::Test::HasFatalFailure()) {
    consumer.TakeAll();
    std::this_thread::yield();
  }
}

}  // namespace
}  // namespace duly
