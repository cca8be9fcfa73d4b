// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/time.h"

namespace duly::sim {

// What happens next among a fixed number of entries, each of which has one time. Of those at the
// same time the one with the smallest number comes first. Setting a time costs O(log n).
class Agenda {
 public:
  explicit Agenda(std::size_t entries) {
    for (std::uint32_t i = 0; i < entries; ++i) {
      heap_.push_back({kNever, i});
      place_.push_back(i);
    }
  }

  void Set(std::uint32_t entry, TimePoint when) {
    std::size_t place = place_[entry];
    const TimePoint before = heap_[place].when;
    if (before == when) return;
    const Item item{when, entry};
    if (when < before) {
      for (; place > 0 && item < heap_[(place - 1) / 2]; place = (place - 1) / 2) {
        Put(heap_[(place - 1) / 2], place);
      }
    } else {
      for (std::size_t child = 2 * place + 1; child < heap_.size(); child = 2 * place + 1) {
        if (child + 1 < heap_.size() && heap_[child + 1] < heap_[child]) ++child;
        if (item < heap_[child]) break;
        Put(heap_[child], place);
        place = child;
      }
    }
    Put(item, place);
  }

  // kNever: nothing will happen.
  TimePoint next_time() const { return heap_.front().when; }
  std::uint32_t next_entry() const { return heap_.front().entry; }

 private:
  struct Item {
    TimePoint when;
    std::uint32_t entry;
    bool operator<(const Item& other) const {
      return when != other.when ? when < other.when : entry < other.entry;
    }
  };

  void Put(Item item, std::size_t place) {
    heap_[place] = item;
    place_[item.entry] = static_cast<std::uint32_t>(place);
  }

  std::vector<Item> heap_;
  std::vector<std::uint32_t> place_;  // of each entry in the heap
};

}  // namespace duly::sim
