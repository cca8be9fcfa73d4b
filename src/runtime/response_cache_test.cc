// SPDX-License-Identifier: Apache-2.0
#include "runtime/response_cache.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace duly {
namespace {

std::shared_ptr<ServedModel> Model(const std::string& name = "m") {
  auto model = std::make_shared<ServedModel>();
  model->spec.name = name;
  model->use = std::make_shared<int>(0);
  return model;
}

Tensor Filled(std::string name, std::size_t bytes, char fill) {
  const std::string data(bytes, fill);
  return {std::move(name),
          DataType::kUint8,
          {static_cast<std::int64_t>(bytes)},
          Buffer::CopyOf(std::as_bytes(std::span(data)))};
}

InferRequest Request(std::shared_ptr<const ServedModel> model, char fill = 'a') {
  InferRequest request;
  request.model = std::move(model);
  request.inputs = {Filled("x", 8, fill), Filled("z", 8, fill)};
  request.wanted_outputs = {0, 1};
  return request;
}

CachedAnswer AnswerOf(std::size_t bytes) {
  return {.variant = 0, .device = "cpu", .batch_rows = 1, .outputs = {Filled("y", bytes, 'y')}};
}

TEST(ResponseCache, EverythingThatMayChangeTheAnswerChangesTheKey) {
  const std::shared_ptr<ServedModel> model = Model();
  const std::vector<std::function<void(InferRequest&)>> changes = {
      [](InferRequest&) {}, [](InferRequest& r) { r.model = Model("n"); },
      [](InferRequest& r) {
        auto other = Model();
        other->spec.version = 2;
        r.model = other;
      },
      [](InferRequest& r) { r.application = 1; }, [](InferRequest& r) { r.variants = 2; },
      [](InferRequest& r) { r.min_accuracy_pct = 70; }, [](InferRequest& r) { r.rows = 8; },
      [](InferRequest& r) {
        r.wanted_outputs = {1, 0};
      },
      [](InferRequest& r) { r.wanted_outputs.clear(); },
      [](InferRequest& r) { r.inputs.pop_back(); }, [](InferRequest& r) { r.inputs[0].name = "w"; },
      [](InferRequest& r) { r.inputs[0].type = DataType::kInt8; },
      [](InferRequest& r) {
        r.inputs[0].shape = {2, 4};
      },
      [](InferRequest& r) { r.inputs[1] = Filled("z", 8, 'b'); },
      // The same bytes in a row, cut elsewhere.
      [](InferRequest& r) {
        r.inputs = {Filled("x", 9, 'a'), Filled("z", 7, 'a')};
      }};
  std::set<ResponseCache::Key> keys;
  for (const auto& change : changes) {
    InferRequest request = Request(model);
    change(request);
    EXPECT_TRUE(keys.insert(ResponseCache::KeyOf(request)).second) << keys.size();
  }
  // What only orders or bounds it does not.
  InferRequest request = Request(model);
  request.priority = 1;
  request.timeout = std::chrono::seconds(1);
  request.slo = std::chrono::seconds(1);
  EXPECT_TRUE(keys.contains(ResponseCache::KeyOf(request)));
}

TEST(ResponseCache, GivesWhatItWasGiven) {
  ResponseCache cache(4096);
  const auto model = Model();
  const ResponseCache::Key key = ResponseCache::KeyOf(Request(model));
  EXPECT_FALSE(cache.Find(key, *model));
  CachedAnswer answer = AnswerOf(16);
  const std::byte* const given = answer.outputs[0].data.data().data();
  cache.Insert(key, *model, std::move(answer));
  const auto found = cache.Find(key, *model);
  ASSERT_TRUE(found);
  ASSERT_EQ(found->outputs.size(), 1U);
  EXPECT_EQ(found->outputs[0].name, "y");
  EXPECT_EQ(found->outputs[0].shape, (Shape{16}));
  EXPECT_EQ(found->outputs[0].data.size(), 16U);
  EXPECT_EQ(found->outputs[0].data.data()[15], std::byte{'y'});
  EXPECT_NE(found->outputs[0].data.data().data(), given) << "part of a batch would hold all of it";
  EXPECT_EQ(found->device, "cpu");
}

TEST(ResponseCache, WhatWasNotAskedForTheLongestGivesWay) {
  ResponseCache cache(4 * 1024);
  const auto model = Model();
  std::vector<ResponseCache::Key> keys;
  for (const char fill : {'a', 'b', 'c', 'd', 'e'}) {
    keys.push_back(ResponseCache::KeyOf(Request(model, fill)));
  }
  // Three fit.
  for (std::size_t i = 0; i < 3; ++i) cache.Insert(keys[i], *model, AnswerOf(900));
  EXPECT_LE(cache.bytes(), 4096U);
  EXPECT_TRUE(cache.Find(keys[0], *model));
  cache.Insert(keys[3], *model, AnswerOf(900));
  EXPECT_FALSE(cache.Find(keys[1], *model));
  EXPECT_TRUE(cache.Find(keys[0], *model));
  EXPECT_TRUE(cache.Find(keys[2], *model));
  EXPECT_TRUE(cache.Find(keys[3], *model));
  EXPECT_LE(cache.bytes(), 4096U);
  // Replaced, not added; and too large, not kept.
  const std::size_t before = cache.bytes();
  cache.Insert(keys[3], *model, AnswerOf(900));
  EXPECT_EQ(cache.bytes(), before);
  cache.Insert(keys[4], *model, AnswerOf(5000));
  EXPECT_FALSE(cache.Find(keys[4], *model));
  EXPECT_EQ(cache.bytes(), before);
}

TEST(ResponseCache, AnAnswerIsOfItsGenerationOnly) {
  ResponseCache cache(4096);
  auto before = Model();
  const ResponseCache::Key key = ResponseCache::KeyOf(Request(before));
  cache.Insert(key, *before, AnswerOf(16));
  const auto after = Model();
  EXPECT_EQ(ResponseCache::KeyOf(Request(after)), key);
  EXPECT_FALSE(cache.Find(key, *after));
  EXPECT_TRUE(cache.Find(key, *before)) << "its requests may still be on their way";
  before.reset();
  EXPECT_FALSE(cache.Find(key, *after));
  EXPECT_EQ(cache.bytes(), 0U) << "nobody can ask for it any more";
}

}  // namespace
}  // namespace duly
