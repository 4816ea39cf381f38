// SPDX-License-Identifier: MIT
#include <movielens/model/predictor.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include <movielens/model/gate_predictor.hpp>
#include <movielens/model/gates.hpp>
#include <movielens/model/model_builder.hpp>

namespace movielens {

std::unique_ptr<Predictor> open_predictor(const ModelFile& file) {
  // A gate's table is in the file; until it is loaded, every item is as frequent as the others.
  const std::vector<std::int64_t> frequency(std::size_t(file.model().num_items), 0);
  return with_gate_maker(
      file.options(), frequency, [&](auto make_gate) -> std::unique_ptr<Predictor> {
        auto model =
            build_model(file.options(), file.model().num_users, file.model().num_items, make_gate);
        using Gate = typename decltype(model)::GateType;
        return std::make_unique<GatePredictor<Gate>>(file, std::move(model));
      });
}

}  // namespace movielens
