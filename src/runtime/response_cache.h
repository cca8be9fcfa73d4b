// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "model/tensor.h"
#include "runtime/infer.h"

namespace duly {

// An answer that may be given again.
struct CachedAnswer {
  std::uint32_t variant = 0;  // of the model, which computed it
  std::string_view device;    // lives as long as the node
  std::uint32_t batch_rows = 0;
  std::vector<Tensor> outputs;
};

// Answers by the requests that they are of, within a number of bytes; those that were not asked for
// the longest give way. An answer belongs to the generation that computed it, and is no other's.
// Threading: all methods from any thread.
class ResponseCache {
 public:
  // SHA-256 of all that an answer may depend on but the generation: model and version, the inputs
  // with names, types, shapes and bytes, the wanted outputs, the application, the variants and the
  // accuracy that are allowed. Nobody can make two requests of one key.
  using Key = std::array<unsigned char, 32>;
  static Key KeyOf(const InferRequest& request);

  explicit ResponseCache(std::size_t bytes) : capacity_(bytes) {}

  // Of the generation of `model`.
  std::optional<CachedAnswer> Find(const Key& key, const ServedModel& model);
  // The outputs are copied: they may be parts of a batch, and hold all of it. One that is too large
  // is not kept.
  void Insert(const Key& key, const ServedModel& model, CachedAnswer answer);

  // With what it takes to keep them.
  std::size_t bytes() const;

 private:
  struct Entry {
    Key key;
    std::weak_ptr<const void> generation;  // ServedModel::use
    CachedAnswer answer;
    std::size_t bytes = 0;
  };
  using Entries = std::list<Entry>;

  void Erase(Entries::iterator entry) DULY_REQUIRES(mutex_);

  const std::size_t capacity_;
  mutable Mutex mutex_;
  Entries entries_ DULY_GUARDED_BY(mutex_);  // last asked for first
  std::map<Key, Entries::iterator> by_key_ DULY_GUARDED_BY(mutex_);
  std::size_t bytes_ DULY_GUARDED_BY(mutex_) = 0;
};

// Whether a reference to the use of a generation is to that of `model`, also after the generation's
// index has gone to another one.
inline bool IsGenerationOf(const std::weak_ptr<const void>& use, const ServedModel& model) {
  return !use.owner_before(model.use) && !model.use.owner_before(use);
}

}  // namespace duly
