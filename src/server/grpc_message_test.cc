// SPDX-License-Identifier: Apache-2.0
#include "server/grpc_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <inference.pb.h>

#include <string>
#include <string_view>
#include <vector>

#include "server/grpc_message_test_util.h"
#include "server/zlib_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

class GrpcMessage : public ::testing::Test {
 protected:
  StatusCode Read(grpc_compression_algorithm compression, std::string_view text,
                  std::size_t slice_bytes = 1 << 20) {
    grpc::ByteBuffer bytes = Received(compression, text, slice_bytes);
    status_ = ReadMessage(bytes, limit_, message_);
    EXPECT_FALSE(bytes.Valid());
    return status_.code();
  }

  std::size_t limit_ = std::size_t{1} << 20;
  Status status_;
  inference::ModelInferRequest message_;
};

TEST_F(GrpcMessage, IsReadHoweverItWasCompressedAndCut) {
  inference::ModelInferRequest sent;
  sent.set_model_name("m");
  sent.add_raw_input_contents(std::string(200000, 'x'));
  const std::string text = sent.SerializeAsString();
  for (const std::size_t slice : {std::size_t{1} << 20, std::size_t{100000}, std::size_t{7}}) {
    for (const auto& [compression, coded] :
         {std::pair{GRPC_COMPRESS_NONE, text},
          {GRPC_COMPRESS_GZIP, Deflated(text)},
          {GRPC_COMPRESS_DEFLATE, Deflated(text, ZlibFormat::kZlib)}}) {
      message_.Clear();
      EXPECT_EQ(Read(compression, coded, slice), StatusCode::kOk) << status_.message();
      EXPECT_EQ(message_.SerializeAsString(), text);
    }
  }
}

TEST_F(GrpcMessage, MustBeOneWholeStream) {
  const std::string gzip = Deflated(std::string("\x0a\x01m", 3));
  for (const std::size_t slice : {std::size_t{100}, std::size_t{1}}) {
    for (std::size_t size = 0; size < gzip.size(); ++size) {
      EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, gzip.substr(0, size), slice), StatusCode::kInvalidArgument)
          << size;
    }
    EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, gzip + "x", slice), StatusCode::kInvalidArgument);
    EXPECT_THAT(status_.message(), HasSubstr("something follows its end"));
    EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, "xyz", slice), StatusCode::kInvalidArgument);
    EXPECT_EQ(Read(GRPC_COMPRESS_DEFLATE, gzip, slice), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, Deflated("\xff\xff")), StatusCode::kInvalidArgument);
  EXPECT_EQ(status_.message(), "the message is no ModelInferRequest");
}

TEST_F(GrpcMessage, ABombEndsAtTheLimit) {
  EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, GzipBomb(2000)), StatusCode::kResourceExhausted);
  EXPECT_THAT(status_.message(), HasSubstr("more than 1048576 bytes"));
  // A message of exactly the limit: key, length in three bytes, data.
  inference::ModelInferRequest sent;
  sent.add_raw_input_contents(std::string(limit_ - 4, 'x'));
  const std::string text = sent.SerializeAsString();
  ASSERT_EQ(text.size(), limit_);
  EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, Deflated(text)), StatusCode::kOk) << status_.message();
  limit_ -= 1;
  EXPECT_EQ(Read(GRPC_COMPRESS_GZIP, Deflated(text)), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace duly
