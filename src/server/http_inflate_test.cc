// SPDX-License-Identifier: Apache-2.0
#include "server/http_inflate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>

#include "server/zlib_test_util.h"

namespace duly {
namespace {

using ::testing::HasSubstr;

class InflatedBody : public ::testing::Test {
 protected:
  // Of the fault, or 0.
  int Inflate(ContentCoding coding, std::string_view coded, std::size_t json_size = 0) {
    HttpBody body;
    std::optional<HttpFault> fault =
        InflateBody(coding, std::as_bytes(std::span(coded)), json_size, limits_, budget_, body);
    if (fault) {
      message_ = std::move(fault->message);
      return fault->code;
    }
    buffer_ = body.Take();
    return 0;
  }
  std::string text() const {
    return {reinterpret_cast<const char*>(buffer_.data().data()), buffer_.size()};
  }

  HttpLimits limits_;
  std::shared_ptr<MemoryBudget> budget_ = std::make_shared<MemoryBudget>(std::size_t{1} << 30);
  std::string message_;
  Buffer buffer_;
};

TEST_F(InflatedBody, IsThatOfEachFormat) {
  std::string plain;
  for (int i = 0; i < 50000; ++i) plain += std::to_string(i);
  for (const std::string& text : {plain, std::string(), std::string("a")}) {
    EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(text)), 0) << message_;
    EXPECT_EQ(this->text(), text);
    EXPECT_EQ(Inflate(ContentCoding::kDeflate, Deflated(text, ZlibFormat::kZlib)), 0) << message_;
    EXPECT_EQ(this->text(), text);
    EXPECT_EQ(Inflate(ContentCoding::kDeflate, Deflated(text, ZlibFormat::kBare)), 0) << message_;
    EXPECT_EQ(this->text(), text);
  }
}

TEST_F(InflatedBody, IsAlignedBehindItsJson) {
  const std::string text(std::size_t{1} << 20, 'x');
  for (const std::size_t json_size : {1U, 63U, 64U, 100U}) {
    ASSERT_EQ(Inflate(ContentCoding::kGzip, Deflated(text), json_size), 0);
    const auto address = reinterpret_cast<std::uintptr_t>(buffer_.data().data() + json_size);
    EXPECT_EQ(address % 64, 0U) << json_size;
  }
}

TEST_F(InflatedBody, MustBeOneWholeStream) {
  const std::string text = "some text, and some text";
  const std::string gzip = Deflated(text);
  const std::string zlib = Deflated(text, ZlibFormat::kZlib);
  for (std::size_t size = 1; size < gzip.size(); ++size) {
    EXPECT_EQ(Inflate(ContentCoding::kGzip, gzip.substr(0, size)), 400) << size;
    EXPECT_EQ(message_, "the body ends within its gzip stream");
  }
  for (std::size_t size = 2; size < zlib.size(); ++size) {
    EXPECT_EQ(Inflate(ContentCoding::kDeflate, zlib.substr(0, size)), 400) << size;
  }
  EXPECT_EQ(Inflate(ContentCoding::kGzip, gzip + "x"), 400);
  EXPECT_THAT(message_, HasSubstr("1 bytes follow the end of the body's gzip stream"));
  EXPECT_EQ(Inflate(ContentCoding::kGzip, gzip + gzip), 400);
  EXPECT_THAT(message_, HasSubstr("expected one stream"));
  EXPECT_EQ(Inflate(ContentCoding::kDeflate, zlib + '\0'), 400);
}

TEST_F(InflatedBody, MustNotBeCorrupt) {
  const std::string gzip = Deflated("some text, and some text");
  // Data, checksum and length, from the end.
  for (const std::size_t place : {12U, 7U, 3U}) {
    std::string wrong = gzip;
    wrong[wrong.size() - place] ^= 0x55;
    EXPECT_EQ(Inflate(ContentCoding::kGzip, wrong), 400) << place;
    EXPECT_THAT(message_, HasSubstr("not a valid gzip stream")) << place;
  }
  EXPECT_EQ(Inflate(ContentCoding::kGzip, "{\"inputs\":[]}"), 400);
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated("a", ZlibFormat::kZlib)), 400);
  EXPECT_EQ(Inflate(ContentCoding::kDeflate, gzip), 400);
  // A zlib header that names a preset dictionary.
  EXPECT_EQ(Inflate(ContentCoding::kDeflate, std::string("\x78\xbb\0\0\0\1xyz", 9)), 400);
  EXPECT_THAT(message_, HasSubstr("dictionary"));
}

TEST_F(InflatedBody, LimitIsExact) {
  limits_.body_bytes = 200000;
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(std::string(200000, 'x'))), 0) << message_;
  EXPECT_EQ(buffer_.size(), 200000U);
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(std::string(200001, 'x'))), 413);
  EXPECT_THAT(message_, HasSubstr("more than 200000 bytes"));
}

// 10 GB from a few MB: an implementation that inflates on takes many times the test's time.
TEST_F(InflatedBody, ABombEndsAtTheLimit) {
  limits_.body_bytes = std::size_t{1} << 20;
  budget_ = std::make_shared<MemoryBudget>(std::size_t{2} << 20);
  EXPECT_EQ(Inflate(ContentCoding::kGzip, GzipBomb(10000)), 413) << message_;
}

TEST_F(InflatedBody, CountsAgainstTheMemoryOfAllBodies) {
  budget_ = std::make_shared<MemoryBudget>(std::size_t{4} << 20);
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(std::string(std::size_t{8} << 20, 'x'))), 503);
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(std::string(std::size_t{2} << 20, 'x'))), 0);
  const Buffer held = buffer_;
  EXPECT_EQ(Inflate(ContentCoding::kGzip, Deflated(std::string(std::size_t{2} << 20, 'x'))), 503);
}

}  // namespace
}  // namespace duly
