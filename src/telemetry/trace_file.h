// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/result.h"

namespace duly {

// Where traces are written: a JSON array in FILE, or in FILE.0, FILE.1, ... with so many traces in
// each. A reader finds a complete array at any time. What stood in a file before is overwritten
// when it is first opened.
// Threading: Open from any thread, Append from one at a time.
class TraceFile {
 public:
  explicit TraceFile(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }

  // Opens what the next trace goes to, which is the way to know whether it can be written. The
  // message names it. Only regular files are written, and no links followed.
  Status Open(std::uint64_t per_file);
  // elements: of one trace, with commas between. per_file: 0: all traces into FILE itself.
  Status Append(std::string_view elements, std::uint64_t per_file);

 private:
  struct Part;

  Result<std::shared_ptr<Part>> PartFor(std::uint64_t per_file);

  const std::string path_;
  Mutex mutex_;
  std::shared_ptr<Part> whole_ DULY_GUARDED_BY(mutex_);
  std::shared_ptr<Part> numbered_ DULY_GUARDED_BY(mutex_);
  std::uint64_t next_number_ DULY_GUARDED_BY(mutex_) = 0;
};

}  // namespace duly
