// SPDX-License-Identifier: Apache-2.0
#include "cli/labelled_images.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

namespace duly {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 30;

struct Idx {
  std::vector<std::uint32_t> sizes;
  std::vector<std::uint8_t> data;
};

bool ReadExactly(gzFile file, std::uint8_t* target, std::size_t size) {
  return ::gzread(file, target, static_cast<unsigned>(size)) == static_cast<int>(size);
}

// Two zeros, the type (8: unsigned bytes), the number of dimensions, each as a big-endian 32-bit
// number, then the data. zlib also reads what is not compressed.
Result<Idx> ReadIdx(const std::string& path, std::size_t dimensions) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(::gzopen(path.c_str(), "rb"), &::gzclose);
  if (file == nullptr) return Error(StatusCode::kNotFound, "cannot be read");
  std::array<std::uint8_t, 4> magic{};
  if (!ReadExactly(file.get(), magic.data(), magic.size()) || magic[0] != 0 || magic[1] != 0 ||
      magic[2] != 8 || magic[3] != dimensions) {
    return Error(StatusCode::kInvalidArgument, "is no idx file of bytes in {} dimensions",
                 dimensions);
  }
  Idx idx;
  std::uint64_t bytes = 1;
  for (std::size_t i = 0; i < dimensions; ++i) {
    std::array<std::uint8_t, 4> big{};
    if (!ReadExactly(file.get(), big.data(), big.size())) {
      return Error(StatusCode::kInvalidArgument, "ends within its sizes");
    }
    const std::uint32_t size = std::uint32_t{big[0]} << 24 | std::uint32_t{big[1]} << 16 |
                               std::uint32_t{big[2]} << 8 | std::uint32_t{big[3]};
    idx.sizes.push_back(size);
    bytes = std::min(bytes * size, kMaxBytes + 1);
  }
  if (bytes == 0 || bytes > kMaxBytes) {
    return Error(StatusCode::kInvalidArgument, "has {}", bytes == 0 ? "no data" : "over 1 GiB");
  }
  idx.data.resize(bytes);
  std::uint8_t beyond = 0;
  if (!ReadExactly(file.get(), idx.data.data(), idx.data.size()) ||
      ::gzread(file.get(), &beyond, 1) != 0) {
    return Error(StatusCode::kInvalidArgument, "does not hold the {} bytes that its sizes say",
                 bytes);
  }
  return idx;
}

// The one file of the folder with such a name.
std::optional<Idx> FindIdx(const std::string& folder, const std::string& suffix,
                           std::size_t dimensions, Faults& faults) {
  std::vector<std::string> found;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.ends_with(suffix) || name.ends_with(suffix + ".gz")) {
      found.push_back(entry->path().string());
    }
  }
  if (error || found.size() != 1) {
    faults.Add({folder, 0, 0,
                error ? error.message() : fmt::format("{} files *{}[.gz]", found.size(), suffix),
                "one in a folder"});
    return std::nullopt;
  }
  Result<Idx> idx = ReadIdx(found.front(), dimensions);
  if (idx) return std::move(*idx);
  faults.Add({found.front(), 0, 0, idx.error().message(), ""});
  return std::nullopt;
}

}  // namespace

LabelledImages ReadLabelledImages(const std::string& folder, std::optional<std::uint32_t> limit,
                                  Faults& faults) {
  std::optional<Idx> images = FindIdx(folder, "-images-idx3-ubyte", 3, faults);
  std::optional<Idx> labels = FindIdx(folder, "-labels-idx1-ubyte", 1, faults);
  LabelledImages read;
  if (!images || !labels) return read;
  if (images->sizes[0] != labels->sizes[0]) {
    faults.Add({folder, 0, 0,
                fmt::format("{} images, {} labels", images->sizes[0], labels->sizes[0]),
                "as many of both"});
    return read;
  }
  read.count = std::min(images->sizes[0], limit.value_or(images->sizes[0]));
  read.rows = images->sizes[1];
  read.columns = images->sizes[2];
  read.pixels = std::move(images->data);
  read.pixels.resize(std::size_t{read.count} * read.rows * read.columns);
  read.labels = std::move(labels->data);
  read.labels.resize(read.count);
  return read;
}

}  // namespace duly
