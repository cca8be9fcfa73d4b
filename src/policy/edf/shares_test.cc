// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace duly {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Applications with weights on one device of one slot, in the middle of a second.
class SharesTest : public testing::Test {
 protected:
  explicit SharesTest(std::size_t slots = 1) {
    devices_.resize(1);
    devices_[0].slots.resize(slots);
  }
  void Applications(const std::vector<double>& weights) {
    applications_.resize(weights.size());
    for (std::size_t a = 0; a < weights.size(); ++a) applications_[a].weight = weights[a];
    view_.now = TimePoint(seconds(10));
    view_.devices = devices_;
    view_.applications = applications_;
    shares_.Reserve(view_);
  }
  // On-time device time of the last second.
  void Got(ApplicationIndex application, Duration time) {
    applications_[application].on_time.Add(view_.now, time);
  }
  void Sent(ApplicationIndex application, Duration promise = milliseconds(100)) {
    shares_.Sent(view_, application, promise);
  }
  // What is asked next is as of now.
  void Later() { view_.now += milliseconds(20); }

  std::vector<Device> devices_;
  std::vector<Application> applications_;
  View view_;
  Shares shares_;
};

TEST_F(SharesTest, AreByWeightAmongThoseThatWantMore) {
  Applications({1, 3});
  Got(0, milliseconds(300));
  Got(1, milliseconds(300));
  for (const ApplicationIndex a : {0U, 1U}) Sent(a);
  for (const ApplicationIndex a : {0U, 1U}) shares_.Refused(view_, a);
  Later();
  Sent(0);
  EXPECT_TRUE(shares_.Above(0));
  EXPECT_FALSE(shares_.Below(0));
  EXPECT_FALSE(shares_.Above(1));
  // 300 of 450 ms: not less than half.
  EXPECT_FALSE(shares_.Below(1));
  Got(0, milliseconds(600));
  Later();
  Sent(0);
  // 300 of 900 ms.
  EXPECT_TRUE(shares_.Below(1));
}

TEST_F(SharesTest, WhatOneDoesNotWantIsLeftToTheOthers) {
  Applications({1, 1, 1});
  Got(0, milliseconds(100));
  Got(1, milliseconds(400));
  Got(2, milliseconds(400));
  for (const ApplicationIndex a : {0U, 1U, 2U}) Sent(a);
  shares_.Refused(view_, 1);
  shares_.Refused(view_, 2);
  Later();
  Sent(0);
  // An equal share would be 300 ms; the first was refused nothing.
  for (const ApplicationIndex a : {0U, 1U, 2U}) {
    EXPECT_FALSE(shares_.Above(a)) << a;
    EXPECT_FALSE(shares_.Below(a)) << a;
  }
  shares_.Refused(view_, 0);
  Later();
  Sent(0);
  EXPECT_TRUE(shares_.Below(0));
  EXPECT_TRUE(shares_.Above(1));
}

TEST_F(SharesTest, WhatTheContentGotIsNotSharedOutAgain) {
  Applications({1, 1, 1});
  Got(0, milliseconds(200));
  Got(1, milliseconds(600));
  Got(2, milliseconds(220));
  for (const ApplicationIndex a : {0U, 1U, 2U}) Sent(a);
  shares_.Refused(view_, 1);
  shares_.Refused(view_, 2);
  Later();
  Sent(0);
  // 820 ms are shared by two: 220 is more than half of 410.
  EXPECT_FALSE(shares_.Below(2));
  EXPECT_TRUE(shares_.Above(1));
}

TEST_F(SharesTest, NobodyIsAboveWhileNothingIsRefused) {
  Applications({1, 1});
  Got(0, milliseconds(900));
  Got(1, milliseconds(10));
  for (const ApplicationIndex a : {0U, 1U}) Sent(a);
  Later();
  Sent(0);
  EXPECT_FALSE(shares_.Above(0));
  EXPECT_FALSE(shares_.Below(1));
}

TEST_F(SharesTest, WhoSentNothingForASecondHasNone) {
  Applications({1, 1});
  Got(0, milliseconds(500));
  for (const ApplicationIndex a : {0U, 1U}) Sent(a);
  shares_.Refused(view_, 0);
  shares_.Refused(view_, 1);
  Later();
  Sent(0);
  EXPECT_TRUE(shares_.Above(0));
  view_.now += seconds(1);
  Got(0, milliseconds(500));
  shares_.Refused(view_, 0);
  Sent(0);
  EXPECT_FALSE(shares_.Above(0));
}

TEST_F(SharesTest, ShorterPromisesOvertakeByWhatTheyAreEntitledTo) {
  Applications({1, 1});
  Got(0, milliseconds(300));
  Got(1, milliseconds(100));
  Sent(0, milliseconds(20));
  Sent(1, milliseconds(200));
  EXPECT_DOUBLE_EQ(shares_.Overtaking(view_, 1, milliseconds(200)), 0.3);
  EXPECT_DOUBLE_EQ(shares_.Overtaking(view_, 1, milliseconds(10)), 0);
  EXPECT_DOUBLE_EQ(shares_.Overtaking(view_, 0, milliseconds(20)), 0);
  // On another device nobody overtakes.
  devices_.push_back(devices_[0]);
  view_.devices = devices_;
  shares_.Accepted(0, 1, milliseconds(1));
  EXPECT_DOUBLE_EQ(shares_.Overtaking(view_, 1, milliseconds(200)), 0);
}

TEST_F(SharesTest, NeverOvertakeTheOwnShare) {
  Applications({3, 1});
  Got(0, milliseconds(990));
  Sent(0, milliseconds(20));
  Sent(1, milliseconds(200));
  EXPECT_DOUBLE_EQ(shares_.Overtaking(view_, 1, milliseconds(200)), 0.75);
}

TEST_F(SharesTest, WhoIsAboveIsOvertakenByAllThatAreNot) {
  Applications({1, 1});
  Got(0, milliseconds(600));
  Got(1, milliseconds(200));
  Sent(0, milliseconds(20));
  Sent(1, milliseconds(200));
  shares_.Refused(view_, 1);
  Later();
  Sent(0, milliseconds(20));
  ASSERT_TRUE(shares_.Above(0));
  EXPECT_NEAR(shares_.Overtaking(view_, 0, milliseconds(20)), 0.4, 0.01);
  // Who has half of its share leaves half as much to those before it.
  EXPECT_NEAR(shares_.Overtaking(view_, 1, milliseconds(200)), 0.4 / 2, 0.01);
}

TEST_F(SharesTest, ServerDeadlinesAreASharesWorthOfWorkApart) {
  Applications({1, 3});
  for (const ApplicationIndex a : {0U, 1U}) Sent(a);
  const TimePoint now = view_.now;
  // A quarter of one slot.
  EXPECT_EQ(shares_.ServerDeadline(view_, 0, milliseconds(10)), now + milliseconds(40));
  EXPECT_EQ(shares_.ServerDeadline(view_, 0, milliseconds(10)), now + milliseconds(80));
  EXPECT_EQ(shares_.ServerDeadline(view_, 1, milliseconds(30)), now + milliseconds(40));
  // Idle time is not saved up.
  view_.now += milliseconds(200);
  EXPECT_EQ(shares_.ServerDeadline(view_, 0, milliseconds(10)), now + milliseconds(240));
}

TEST_F(SharesTest, TheLongestWaitIsTheLeastPromiseLessItsService) {
  Applications({1, 1});
  Sent(0, milliseconds(50));
  shares_.Accepted(0, 0, milliseconds(5));
  Sent(1, milliseconds(200));
  EXPECT_THAT(shares_.longest_waits(), testing::ElementsAre(milliseconds(45)));
  view_.now += milliseconds(1100);
  Sent(1, milliseconds(200));
  EXPECT_THAT(shares_.longest_waits(), testing::ElementsAre(milliseconds(200)));
}

}  // namespace
}  // namespace duly
