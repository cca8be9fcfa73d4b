// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/check.h"
#include "base/scratch_folder.h"

namespace duly {

// For tests: a folder of its own, removed at the end.
class TempFolder {
 public:
  const std::string& path() const { return folder_.path(); }
  std::string At(const std::string& name) const { return path() + "/" + name; }
  // Makes the file and the folders above it; returns its path.
  std::string Write(const std::string& name, std::string_view text) const {
    DULY_CHECK(folder_.Write(name, text).ok());
    return At(name);
  }

 private:
  const ScratchFolder folder_ = ScratchFolder::Make().value();
};

}  // namespace duly
