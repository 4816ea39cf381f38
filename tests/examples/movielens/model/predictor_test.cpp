// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <comet/core/storage.hpp>

#include <movielens/data/dataset.hpp>
#include <movielens/model/build_model.hpp>
#include <movielens/model/model_file.hpp>
#include <movielens/model/predictor.hpp>
#include <movielens/model/train_options.hpp>

#include <support/catch.hpp>
#include <support/temporary_directory.hpp>

using namespace programs::movielens;

TEST_CASE("movielens: a predictor with weights of eight bits has the reasons of the full ones") {
  Dataset data;
  data.user_ids = {"ann", "bob"};
  data.item_ids = {"1", "2", "3", "4", "5"};
  data.rows.num_users = 2;
  data.rows.num_items = 5;
  TrainOptions options;
  options.model.num_users = 2;
  options.model.num_items = 5;
  const comet::test::TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "model.safetensors";
  save_model(path, build_model(options, 2, std::vector<std::int64_t>(5, 1)), options, data, {});

  const ModelFile file(path);
  const std::vector<std::int32_t> others = {0, 1, 2};
  const auto reasons = [&](comet::Storage storage) {
    const Predictor predictor(file, storage);
    return predictor.reasons(1, others).of(4);
  };
  const std::array<std::string, 3> full = reasons(comet::Storage::full);
  CHECK_THAT(full[0], StartsWith("watched: expert"));
  CHECK_THAT(full[1], StartsWith("stars: expert"));
  CHECK_THAT(full[2], StartsWith("apart: "));
  CHECK(reasons(comet::Storage::int8) == full);
}
