// SPDX-License-Identifier: Apache-2.0
#include "runtime/response_cache.h"

#include <openssl/evp.h>

#include <iterator>
#include <span>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace duly {
namespace {

// Of a node of the list, one of the map, and their allocations.
constexpr std::size_t kEntryBytes = 256;

// Every part is preceded by its length, so that no two sequences of parts are the same bytes.
class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new()) {
    DULY_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
  }
  ~Digest() { EVP_MD_CTX_free(context_); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Add(std::span<const std::byte> bytes) {
    AddNumber(bytes.size());
    Update(bytes.data(), bytes.size());
  }
  void Add(std::string_view text) { Add(std::as_bytes(std::span(text))); }
  template <typename T>
  void AddNumber(T value) {
    static_assert(std::is_arithmetic_v<T>);
    Update(&value, sizeof(value));
  }
  ResponseCache::Key Take() {
    ResponseCache::Key key{};
    DULY_CHECK(EVP_DigestFinal_ex(context_, key.data(), nullptr) == 1);
    return key;
  }

 private:
  void Update(const void* data, std::size_t size) {
    DULY_CHECK(EVP_DigestUpdate(context_, data, size) == 1);
  }

  EVP_MD_CTX* const context_;
};

std::size_t BytesOf(const CachedAnswer& answer) {
  std::size_t bytes = kEntryBytes;
  for (const Tensor& output : answer.outputs) {
    bytes += sizeof(output) + output.name.size() + output.shape.size() * sizeof(std::int64_t) +
             output.data.size();
  }
  return bytes;
}

}  // namespace

ResponseCache::Key ResponseCache::KeyOf(const InferRequest& request) {
  Digest digest;
  digest.Add(request.model->spec.name);
  digest.AddNumber(request.model->spec.version);
  digest.AddNumber(request.application);
  digest.AddNumber(request.variants);
  digest.AddNumber(request.min_accuracy_pct.value_or(-1));
  digest.AddNumber(request.rows);
  digest.AddNumber(request.wanted_outputs.size());
  for (const std::uint32_t output : request.wanted_outputs) digest.AddNumber(output);
  digest.AddNumber(request.inputs.size());
  for (const Tensor& input : request.inputs) {
    digest.Add(input.name);
    digest.AddNumber(static_cast<std::uint8_t>(input.type));
    digest.Add(std::as_bytes(std::span(input.shape)));
    digest.Add(input.data.data());
  }
  return digest.Take();
}

std::optional<CachedAnswer> ResponseCache::Find(const Key& key, const ServedModel& model) {
  const MutexLock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  const Entries::iterator entry = found->second;
  if (!IsGenerationOf(entry->generation, model)) {
    if (entry->generation.expired()) Erase(entry);
    return std::nullopt;
  }
  entries_.splice(entries_.begin(), entries_, entry);
  return entry->answer;
}

void ResponseCache::Insert(const Key& key, const ServedModel& model, CachedAnswer answer) {
  const std::size_t size = BytesOf(answer);
  if (size > capacity_) return;
  for (Tensor& output : answer.outputs) output.data = Buffer::CopyOf(output.data.data());
  const MutexLock lock(mutex_);
  if (const auto before = by_key_.find(key); before != by_key_.end()) Erase(before->second);
  while (bytes_ + size > capacity_) Erase(std::prev(entries_.end()));
  entries_.push_front({key, model.use, std::move(answer), size});
  by_key_.emplace(key, entries_.begin());
  bytes_ += size;
}

std::size_t ResponseCache::bytes() const {
  const MutexLock lock(mutex_);
  return bytes_;
}

void ResponseCache::Erase(Entries::iterator entry) {
  bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

}  // namespace duly
