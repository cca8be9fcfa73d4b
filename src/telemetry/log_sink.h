// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace duly {

// Where a log's bytes go. Threading: one thread at a time.
class LogSink {
 public:
  virtual ~LogSink() = default;
  // Appends all of `bytes`, or fails; after a failure nothing more is appended.
  virtual Status Append(std::span<const std::byte> bytes) = 0;
  // Makes everything durable and releases the sink.
  virtual Status Close() = 0;
};

// A new file; one of this name is replaced.
Result<std::unique_ptr<LogSink>> OpenLogFile(const std::string& file);

}  // namespace duly
