// SPDX-License-Identifier: Apache-2.0
#include "cli/load_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "cli/testing/scripted_server.h"

namespace duly {
namespace {

// Targets that expect the labels 1 and 0 of output "y".
LoadTarget Checked() {
  LoadTarget target;
  target.wants_report = true;
  target.rows = 2;
  target.expected.emplace();
  target.expected->output = "y";
  target.expected->labels = {1, 0};
  target.expected_rows = 2;
  return target;
}

class AnswerReaderTest : public ::testing::Test {
 protected:
  std::optional<Answer> Read(const ScriptedServer::Reply& reply, const LoadTarget& target) {
    Feed(reply);
    return reader_.Read(response_, target, 0);
  }
  std::string Reason(const ScriptedServer::Reply& reply) {
    Feed(reply);
    return reader_.ReadReason(response_);
  }

 private:
  void Feed(const ScriptedServer::Reply& reply) {
    response_.Reset();
    const std::span<char> space = response_.Space();
    ASSERT_LE(reply.bytes.size(), space.size());
    std::memcpy(space.data(), reply.bytes.data(), reply.bytes.size());
    ASSERT_EQ(response_.Add(reply.bytes.size()), HttpResponseReader::State::kDone);
  }

  HttpResponseReader response_;
  AnswerReader reader_;
};

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

TEST_F(AnswerReaderTest, ReadsWhatTheServerReports) {
  LoadTarget target;
  target.wants_report = true;
  const std::optional<Answer> answer = Read(
      ScriptedServer::Answer(
          200, R"({"model_name":"m","parameters":{"outcome":"on_time","variant":"xs","device":"cpu",
                   "batch_rows":4,"queue_us":1200,"compute_us":350.5,"predicted_us":900,
                   "accuracy":90.55,"other":{"a":[1,"x"]}},"outputs":[]})"),
      target);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->variant, "xs");
  EXPECT_EQ(answer->device, "cpu");
  EXPECT_EQ(answer->numbers.batch_rows, 4U);
  EXPECT_EQ(answer->numbers.queue_us, 1200.0F);
  EXPECT_EQ(answer->numbers.compute_us, 350.5F);
  EXPECT_EQ(answer->numbers.predicted_us, 900.0F);
  EXPECT_EQ(answer->numbers.accuracy_pct, 90.55F);
  EXPECT_EQ(answer->numbers.checked_rows, 0U);
}

TEST_F(AnswerReaderTest, WhatIsNotSaidOrOfAnotherTypeStaysUnknown) {
  LoadTarget target;
  target.wants_report = true;
  const std::optional<Answer> answer = Read(
      ScriptedServer::Answer(200, R"({"parameters":{"variant":7,"batch_rows":-1,"queue_us":"x"}})"),
      target);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->variant, "");
  EXPECT_EQ(answer->numbers.batch_rows, 0U);
  EXPECT_TRUE(std::isnan(answer->numbers.queue_us));
  EXPECT_TRUE(std::isnan(answer->numbers.compute_us));
}

TEST_F(AnswerReaderTest, ChecksTheExpectedOutputAmongBinaryOnes) {
  const std::string json = R"({"outputs":[
      {"name":"x","datatype":"UINT8","shape":[2,1],"parameters":{"binary_data_size":2}},
      {"name":"y","datatype":"FP32","shape":[2,2],"parameters":{"binary_data_size":16}}]})";
  const auto correct = [&](const std::vector<float>& y) {
    const std::optional<Answer> answer =
        Read(ScriptedServer::Binary(json, "ab" + Floats(y)), Checked());
    EXPECT_TRUE(answer);
    EXPECT_EQ(answer->numbers.checked_rows, 2U);
    return answer->numbers.correct_rows;
  };
  EXPECT_EQ(correct({0, 1, 1, 0}), 2U);
  EXPECT_EQ(correct({0, 1, 0, 1}), 1U);
  EXPECT_EQ(correct({1, 0, 0, 1}), 0U);
}

TEST_F(AnswerReaderTest, ChecksJsonData) {
  const std::optional<Answer> answer = Read(ScriptedServer::Answer(200, R"({"outputs":[
          {"name":"s","datatype":"BYTES","shape":[2],"data":["a",["b"]]},
          {"name":"y","datatype":"FP32","shape":[2,2],"data":[[0.25,0.5],[2,1e-3]]}]})"),
                                            Checked());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->numbers.checked_rows, 2U);
  EXPECT_EQ(answer->numbers.correct_rows, 2U);
}

TEST_F(AnswerReaderTest, AMissingOutputIsNotCorrect) {
  const std::optional<Answer> answer = Read(ScriptedServer::Answer(200, "{}"), Checked());
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->numbers.checked_rows, 2U);
  EXPECT_EQ(answer->numbers.correct_rows, 0U);
}

TEST_F(AnswerReaderTest, RefusesWhatIsNoInferenceResponse) {
  for (const char* body :
       {"", "hello", "[1]", R"({"parameters":5})", R"({"outputs":{}})", R"({"outputs":[5]})",
        R"({"outputs":[{"name":"y")", R"({"parameters":{"variant":"x)"}) {
    EXPECT_FALSE(Read(ScriptedServer::Answer(200, body), Checked())) << body;
  }
  const std::string json =
      R"({"outputs":[{"name":"y","datatype":"FP32","parameters":{"binary_data_size":16}}]})";
  EXPECT_FALSE(Read(ScriptedServer::Binary(json, "too short"), Checked()));
  EXPECT_FALSE(Read(ScriptedServer::Answer(200, "{}", "Inference-Header-Content-Length: 100\r\n"),
                    Checked()));
}

TEST_F(AnswerReaderTest, LooksAtNothingThatTheTargetDoesNotWant) {
  EXPECT_TRUE(Read(ScriptedServer::Answer(200, "not JSON"), LoadTarget()));
}

TEST_F(AnswerReaderTest, FindsTheReasonOfARefusal) {
  EXPECT_EQ(Reason(ScriptedServer::Answer(503, R"({"error":"no","reason":"queue_full"})")),
            "queue_full");
  EXPECT_EQ(Reason(ScriptedServer::Answer(400, R"({"error":"bad shape"})")), "HTTP 400: bad shape");
  EXPECT_EQ(Reason(ScriptedServer::Answer(500, "<html>")), "HTTP 500");
  EXPECT_EQ(Reason(ScriptedServer::Answer(500, "")), "HTTP 500");
}

}  // namespace
}  // namespace duly
