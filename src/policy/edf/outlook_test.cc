// SPDX-License-Identifier: Apache-2.0
#include "policy/edf/outlook.h"

#include <gtest/gtest.h>

#include <deque>

#include "engine/engine_test_util.h"

namespace duly {
namespace {

using std::chrono::milliseconds;

// A view made by hand at 0 ms: models of a NodeBuilder, each with a queue of the same number.
class OutlookTest : public testing::Test {
 protected:
  Outlook& Reset(NodeBuilder& node, EdfMargins margins = {}) {
    generations_ = node.config().generations;
    devices_.clear();
    for (const EngineDevice& device : node.config().devices) {
      devices_.emplace_back().slots.resize(device.slots);
    }
    queues_.assign(generations_.size(), {});
    heads_.assign(generations_.size(), {});
    order_ = {};
    for (GenerationIndex g = 0; g < generations_.size(); ++g) {
      const VariantMask all = (VariantMask{1} << generations_[g].variants.size()) - 1;
      queues_[g].generation = heads_[g].generation = g;
      queues_[g].variants = heads_[g].variants = all;
    }
    for (const Request& request : requests_) {
      if (&request == candidate_) continue;
      queues_[request.queue].waiting.Insert(request);
      ++heads_[request.queue].count;
      order_.Insert(request);
    }
    for (const auto& [device, slot] : busy_) devices_[device].slots[0] = slot;
    view_.generations = generations_;
    view_.devices = devices_;
    view_.queues = queues_;
    view_.heads = heads_;
    view_.order = order_;
    outlook_.Reserve(requests_.size(), queues_.size());
    outlook_.Reset(view_, margins);
    return outlook_;
  }
  Request& Wait(GenerationIndex generation, Duration deadline) {
    Request& request = requests_.emplace_back();
    request.index = static_cast<std::uint32_t>(requests_.size() - 1);
    request.sequence = request.index;
    request.generation = request.queue = generation;
    request.deadline = request.due = At(deadline);
    request.work = milliseconds(10);
    return request;
  }
  Request& Candidate(GenerationIndex generation, Duration deadline) {
    Request& request = Wait(generation, deadline);
    candidate_ = &request;
    request.work = Duration(0);
    return request;
  }
  void Busy(DeviceIndex device, Duration until, GenerationIndex generation = 0) {
    busy_.emplace_back(device, Slot{true, generation, 0, 1, At(until)});
  }

  std::deque<Request> requests_;
  Outlook outlook_;

 private:
  const Request* candidate_ = nullptr;
  std::vector<std::pair<DeviceIndex, Slot>> busy_;
  std::vector<Generation> generations_;
  std::vector<Device> devices_;
  std::vector<Queue> queues_;
  std::vector<QueueHead> heads_;
  RequestList<DueOrder> order_;
  View view_;
};

TEST_F(OutlookTest, TakesTheFirstThatTheDeviceCanRunAndTellsOfOneThatNobodyCan) {
  NodeBuilder node({1, 1});
  node.Model("here", {{1, 10}});
  node.Model("there", {{1, 10}});
  node[1].variants[0].placements.clear();
  node.Place(1, 0, 1, {{1, 10}});
  const Request& there = Wait(1, milliseconds(50));
  const Request& here = Wait(0, milliseconds(60));
  Outlook& outlook = Reset(node);
  EXPECT_EQ(outlook.Next(0).head, &here);
  EXPECT_EQ(outlook.Next(0).mean, milliseconds(10));
  EXPECT_EQ(outlook.Next(1).head, &there);
  EXPECT_EQ(outlook.NextButNot(outlook.Next(0), 0).kind, EdfStep::Kind::kNothing);
}

TEST_F(OutlookTest, MissesByTheFastestVariant) {
  NodeBuilder node;
  node.Model("m", {{1, 20}});
  node.AddVariant(0, "fast", 50, {{1, 12}});
  const Request& head = Wait(0, milliseconds(11));
  const EdfStep step = Reset(node).Next(0);
  EXPECT_EQ(step.kind, EdfStep::Kind::kMiss);
  EXPECT_EQ(step.head, &head);
  EXPECT_EQ(step.mean, milliseconds(12));
}

TEST_F(OutlookTest, LeavesWhatMissesHereToADeviceThatWillBeInTime) {
  NodeBuilder node({1, 1});
  node.Model("m", {{1, 50}});
  node.Place(0, 0, 1, {{1, 10}});
  Wait(0, milliseconds(20));
  Busy(1, milliseconds(10));
  EXPECT_EQ(Reset(node).Next(0).kind, EdfStep::Kind::kNothing);
  Busy(1, milliseconds(11));
  EXPECT_EQ(Reset(node).Next(0).kind, EdfStep::Kind::kMiss);
}

TEST_F(OutlookTest, CountsInstances) {
  NodeBuilder node({2});
  node.Model("once", {{1, 10}});
  node[0].variants[0].placements[0].instances = 1;
  node.Model("other", {{1, 10}});
  Busy(0, milliseconds(5));
  Wait(0, milliseconds(20));
  const Request& other = Wait(1, milliseconds(50));
  EXPECT_EQ(Reset(node).Next(0).head, &other);
}

TEST_F(OutlookTest, RunsForwardWithTheCandidateInItsPlace) {
  NodeBuilder node;
  node.Model("a", {{1, 10}, {2, 12}}, 2);
  node.Model("b", {{1, 7}});
  Busy(0, milliseconds(5));
  Wait(1, milliseconds(30));
  Wait(0, milliseconds(40));
  const Request& candidate = Candidate(0, milliseconds(35));
  Outlook& outlook = Reset(node);
  outlook.Add(candidate, 1, 0);
  // b from 5 to 12, then the candidate with the other as one batch.
  const Outlook::Prediction prediction = outlook.RunForward();
  EXPECT_TRUE(prediction.on_time);
  EXPECT_EQ(prediction.device, 0U);
  EXPECT_EQ(prediction.response, milliseconds(24));
  EXPECT_EQ(prediction.service, milliseconds(12));
  EXPECT_EQ(prediction.work, milliseconds(2));
  EXPECT_TRUE(outlook.misses().empty());
}

TEST_F(OutlookTest, OvertakingStretchesTheWait) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  Busy(0, milliseconds(15));
  const Request& candidate = Candidate(0, milliseconds(40));
  for (const double part : {0.5, 0.51}) {
    Outlook& outlook = Reset(node);
    outlook.Add(candidate, 1, part);
    EXPECT_EQ(outlook.RunForward().on_time, part == 0.5);
  }
}

TEST_F(OutlookTest, TellsWhoWillBeLateAndByHowMuch) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  Busy(0, milliseconds(5));
  const Request& other = Wait(0, milliseconds(17));
  const Request& candidate = Candidate(0, milliseconds(16));
  Outlook& outlook = Reset(node);
  outlook.Add(candidate, 1, 0);
  EXPECT_TRUE(outlook.RunForward().on_time);
  ASSERT_EQ(outlook.misses().size(), 1U);
  EXPECT_EQ(outlook.misses()[0].request, &other);
  EXPECT_EQ(outlook.misses()[0].late, milliseconds(8));
  EXPECT_TRUE(outlook.Missed(other.index));
  EXPECT_FALSE(outlook.Missed(candidate.index));
}

TEST_F(OutlookTest, WhatIsRemovedIsInNobodysWay) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  const Request& first = Wait(0, milliseconds(12));
  const Request& candidate = Candidate(0, milliseconds(15));
  Outlook& outlook = Reset(node);
  outlook.Add(candidate, 1, 0);
  EXPECT_FALSE(outlook.RunForward().on_time);
  Outlook& again = Reset(node);
  again.Remove(first.index);
  again.Add(candidate, 1, 0);
  EXPECT_TRUE(again.RunForward().on_time);
}

TEST_F(OutlookTest, ForOtherVariantsTheCandidateRunsAlone) {
  NodeBuilder node;
  node.Model("m", {{1, 10}, {4, 11}}, 4);
  node.AddVariant(0, "fast", -1, {{1, 3}, {4, 4}});
  Wait(0, milliseconds(100));
  Wait(0, milliseconds(101));
  const Request& candidate = Candidate(0, milliseconds(102));
  for (const VariantMask variants : {0b11U, 0b10U}) {
    Outlook& outlook = Reset(node);
    outlook.Add(candidate, variants, 0);
    const Outlook::Prediction prediction = outlook.RunForward();
    EXPECT_TRUE(prediction.on_time);
    if (variants == 0b11) {
      EXPECT_LT(prediction.service, milliseconds(11));
      EXPECT_EQ(prediction.response, prediction.service);
    } else {
      EXPECT_EQ(prediction.service, milliseconds(3));
      EXPECT_GT(prediction.response, milliseconds(13));
    }
  }
}

TEST_F(OutlookTest, ABatchIsNoLongerThanWhatArrivesCanWait) {
  NodeBuilder node;
  node.Model("m", {{1, 10}, {8, 17}}, 8);
  for (int i = 0; i < 8; ++i) Wait(0, milliseconds(1000 + i));
  EXPECT_EQ(Reset(node).Next(0).rows, 8U);
  const std::vector<Duration> longest{milliseconds(12)};
  EdfMargins margins;
  margins.longest_waits = longest;
  EXPECT_EQ(Reset(node, margins).Next(0).rows, 3U);
}

TEST_F(OutlookTest, ABatchLeavesTimeForAllThatStandBehindIt) {
  NodeBuilder node;
  node.Model("m", {{1, 10}, {8, 17}}, 8);
  node.Model("other", {{1, 10}});
  Wait(0, milliseconds(30));
  // One after the other, from 13 ms on.
  Wait(1, milliseconds(32)).work = milliseconds(9);
  Wait(1, milliseconds(32)).work = milliseconds(10);
  for (int i = 0; i < 7; ++i) Wait(0, milliseconds(1000));
  EXPECT_EQ(Reset(node).Next(0).rows, 4U);
  // What cannot be in time anyway is no reason.
  requests_[2].work = milliseconds(15);
  EXPECT_EQ(Reset(node).Next(0).rows, 8U);
}

TEST_F(OutlookTest, ABatchDoesNotTakeWhatAFreeSlotBesideCanRun) {
  NodeBuilder node({2});
  node.Model("m", {{1, 10}, {8, 17}}, 8);
  for (int i = 0; i < 4; ++i) Wait(0, milliseconds(100 + i));
  EXPECT_EQ(Reset(node).Next(0).rows, 1U);
  node[0].variants[0].placements[0].instances = 1;
  EXPECT_EQ(Reset(node).Next(0).rows, 4U);
}

TEST_F(OutlookTest, KeepsPartOfThePromiseInReserve) {
  NodeBuilder node;
  node.Model("m", {{1, 10}});
  EdfMargins margins;
  margins.reserve = milliseconds(1);
  const Outlook& outlook = Reset(node, margins);
  EXPECT_EQ(outlook.PromiseOf(Wait(0, milliseconds(50))), At(milliseconds(49)));
  EXPECT_EQ(outlook.PromiseOf(Wait(0, milliseconds(5))), At(std::chrono::microseconds(4500)));
  Request& demoted = Wait(0, milliseconds(50));
  demoted.demoted = true;
  EXPECT_EQ(outlook.PromiseOf(demoted), kNever);
}

}  // namespace
}  // namespace duly
