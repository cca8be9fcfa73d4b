// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <inference.pb.h>

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/zlib_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

class GrpcMessage : public ::testing::Test {
 protected:
  StatusCode Read(GrpcCoding coding, std::string_view text) {
    GrpcInput input{Buffer::CopyOf(std::as_bytes(std::span(text))), coding};
    status_ = ReadMessage(input, limit_, message_);
    EXPECT_EQ(input.bytes.size(), 0U);
    return status_.code();
  }

  std::size_t limit_ = std::size_t{1} << 20;
  Status status_;
  inference::ModelInferRequest message_;
};

TEST_F(GrpcMessage, IsReadHoweverItWasCompressed) {
  inference::ModelInferRequest sent;
  sent.set_model_name("m");
  sent.add_raw_input_contents(std::string(200000, 'x'));
  const std::string text = sent.SerializeAsString();
  for (const auto& [coding, coded] : {std::pair{GrpcCoding::kIdentity, text},
                                      {GrpcCoding::kGzip, Deflated(text)},
                                      {GrpcCoding::kDeflate, Deflated(text, ZlibFormat::kZlib)}}) {
    message_.Clear();
    EXPECT_EQ(Read(coding, coded), StatusCode::kOk) << status_.message();
    EXPECT_EQ(message_.SerializeAsString(), text);
  }
}

TEST_F(GrpcMessage, MustBeOneWholeStream) {
  const std::string gzip = Deflated(std::string("\x0a\x01m", 3));
  for (std::size_t size = 0; size < gzip.size(); ++size) {
    EXPECT_EQ(Read(GrpcCoding::kGzip, gzip.substr(0, size)), StatusCode::kInvalidArgument) << size;
  }
  EXPECT_EQ(Read(GrpcCoding::kGzip, gzip + "x"), StatusCode::kInvalidArgument);
  EXPECT_THAT(status_.message(), HasSubstr("something follows its end"));
  EXPECT_EQ(Read(GrpcCoding::kGzip, "xyz"), StatusCode::kInvalidArgument);
  EXPECT_EQ(Read(GrpcCoding::kDeflate, gzip), StatusCode::kInvalidArgument);
  EXPECT_EQ(Read(GrpcCoding::kGzip, Deflated("\xff\xff")), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_.message(), "the message is no ModelInferRequest");
}

TEST_F(GrpcMessage, ABombEndsAtTheLimit) {
  EXPECT_EQ(Read(GrpcCoding::kGzip, GzipBomb(2000)), StatusCode::kResourceExhausted);
  EXPECT_THAT(status_.message(), HasSubstr("more than 1048576 bytes"));
  // A message of exactly the limit: key, length in three bytes, data.
  inference::ModelInferRequest sent;
  sent.add_raw_input_contents(std::string(limit_ - 4, 'x'));
  const std::string text = sent.SerializeAsString();
  ASSERT_EQ(text.size(), limit_);
  EXPECT_EQ(Read(GrpcCoding::kGzip, Deflated(text)), StatusCode::kOk) << status_.message();
  limit_ -= 1;
  EXPECT_EQ(Read(GrpcCoding::kGzip, Deflated(text)), StatusCode::kResourceExhausted);
}

TEST(GrpcTimeout, IsANumberAndAUnit) {
  EXPECT_EQ(ParseGrpcTimeout("100m"), std::chrono::milliseconds(100));
  EXPECT_EQ(ParseGrpcTimeout("1H"), std::chrono::hours(1));
  EXPECT_EQ(ParseGrpcTimeout("2M"), std::chrono::minutes(2));
  EXPECT_EQ(ParseGrpcTimeout("99999999S"), std::chrono::seconds(99999999));
  EXPECT_EQ(ParseGrpcTimeout("5u"), std::chrono::microseconds(5));
  EXPECT_EQ(ParseGrpcTimeout("7n"), std::chrono::nanoseconds(7));
  EXPECT_GT(ParseGrpcTimeout("99999999H"), std::chrono::hours(100000));
  for (const char* text : {"", "m", "1", "-1m", "1 m", "123456789m", "1x", "1mm"}) {
    EXPECT_EQ(ParseGrpcTimeout(text), std::nullopt) << text;
  }
}

TEST(GrpcText, IsPrintableAscii) {
  EXPECT_EQ(EncodeGrpcText("no model 'a'"), "no model 'a'");
  EXPECT_EQ(EncodeGrpcText("100 %\n\x7f\xc3\xa9"), "100 %25%0A%7F%C3%A9");
}

}  // namespace
}  // namespace duly
