// SPDX-License-Identifier: MIT
#include <movielens/predictor.hpp>

namespace movielens {

std::unique_ptr<Predictor> open_predictor(const ModelFile& file) {
  const std::string& gate = file.options().gate;
  if (gate == "comet") return open_comet(file);
  if (gate == "dselect_k") return open_dselect_k(file);
  if (gate == "top_k") return open_top_k(file);
  if (gate == "hash") return open_hash(file);
  return open_softmax(file);
}

}  // namespace movielens
