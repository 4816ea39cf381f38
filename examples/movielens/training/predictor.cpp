// SPDX-License-Identifier: MIT
#include <movielens/training/predictor.hpp>

namespace movielens {

std::unique_ptr<Predictor> open_predictor(const ModelFile& file) {
  return file.options().gate == "hash" ? open_hash_gate(file) : open_feature_gate(file);
}

}  // namespace movielens
