// SPDX-License-Identifier: Apache-2.0
#include "server/outcome_codes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace duly {
namespace {

struct HttpRow {
  StatusCode status;
  std::uint16_t http;
};
// 499 is what proxies log for a client that went away; nobody reads it from the wire.
constexpr std::array<HttpRow, 13> kHttpCodes{{{StatusCode::kOk, 200},
                                              {StatusCode::kCancelled, 499},
                                              {StatusCode::kInvalidArgument, 400},
                                              {StatusCode::kDeadlineExceeded, 504},
                                              {StatusCode::kNotFound, 404},
                                              {StatusCode::kAlreadyExists, 400},
                                              {StatusCode::kPermissionDenied, 403},
                                              {StatusCode::kResourceExhausted, 503},
                                              {StatusCode::kFailedPrecondition, 400},
                                              {StatusCode::kUnimplemented, 501},
                                              {StatusCode::kInternal, 500},
                                              {StatusCode::kUnavailable, 503},
                                              {StatusCode::kUnauthenticated, 401}}};

struct ReasonRow {
  std::uint16_t http;
  std::string_view text;
};
constexpr std::array<ReasonRow, 22> kHttpReasons{{{200, "OK"},
                                                  {400, "Bad Request"},
                                                  {401, "Unauthorized"},
                                                  {403, "Forbidden"},
                                                  {404, "Not Found"},
                                                  {405, "Method Not Allowed"},
                                                  {408, "Request Timeout"},
                                                  {409, "Conflict"},
                                                  {411, "Length Required"},
                                                  {413, "Content Too Large"},
                                                  {414, "URI Too Long"},
                                                  {415, "Unsupported Media Type"},
                                                  {417, "Expectation Failed"},
                                                  {429, "Too Many Requests"},
                                                  {431, "Request Header Fields Too Large"},
                                                  {499, "Client Closed Request"},
                                                  {500, "Internal Server Error"},
                                                  {501, "Not Implemented"},
                                                  {503, "Service Unavailable"},
                                                  {504, "Gateway Timeout"},
                                                  {505, "HTTP Version Not Supported"},
                                                  {100, "Continue"}}};

struct RejectRow {
  RejectReason reason;
  StatusCode status;
  std::string_view message;
};
constexpr std::array<RejectRow, 6> kRejections{
    {{RejectReason::kNone, StatusCode::kResourceExhausted, "rejected"},
     {RejectReason::kQueueFull, StatusCode::kResourceExhausted, "rejected: the queue is full"},
     {RejectReason::kPredictedLate, StatusCode::kResourceExhausted,
      "rejected: by prediction the answer would come after its SLO"},
     {RejectReason::kYielded, StatusCode::kResourceExhausted,
      "rejected: gave way to an application below its share of the node"},
     {RejectReason::kShuttingDown, StatusCode::kUnavailable,
      "rejected: the server is shutting down"},
     {RejectReason::kModelUnavailable, StatusCode::kUnavailable,
      "rejected: the model is not available"}}};

}  // namespace

std::uint16_t HttpCode(StatusCode code) {
  for (const HttpRow& row : kHttpCodes) {
    if (row.status == code) return row.http;
  }
  return 500;
}

std::string_view HttpReason(std::uint16_t http_code) {
  for (const ReasonRow& row : kHttpReasons) {
    if (row.http == http_code) return row.text;
  }
  return {};
}

bool IsRetryable(StatusCode code) {
  return code == StatusCode::kResourceExhausted || code == StatusCode::kUnavailable;
}

Status StatusOf(const InferResponse& response, std::string_view model) {
  switch (response.outcome) {
    case Outcome::kOnTime:
    case Outcome::kLate:
      return Status();
    case Outcome::kRejected:
      for (const RejectRow& row : kRejections) {
        if (row.reason != response.reason) continue;
        return Status(row.status, fmt::format("model '{}': {}", model, row.message));
      }
      return Status(StatusCode::kResourceExhausted, fmt::format("model '{}': rejected", model));
    case Outcome::kExpired:
      return Status(StatusCode::kDeadlineExceeded,
                    fmt::format("model '{}': the request's timeout expired in the queue", model));
    case Outcome::kCancelled:
      return Status(StatusCode::kCancelled,
                    fmt::format("model '{}': the request was cancelled", model));
    case Outcome::kFailed:
      break;
  }
  return Status(StatusCode::kInternal, fmt::format("model '{}': execution failed{}{}", model,
                                                   response.status.message().empty() ? "" : ": ",
                                                   response.status.message()));
}

std::int64_t RetryAfterSeconds(Duration retry_after) {
  return std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(retry_after).count());
}

}  // namespace duly
