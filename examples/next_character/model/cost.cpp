// SPDX-License-Identifier: MIT
#include <next_character/model/cost.hpp>

#include <bit>
#include <cstddef>
#include <string_view>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/static_dselect_k.hpp>
#include <comet/kernels/portable/soft_tree.hpp>

namespace programs::next_character {
namespace {

/// Of a gate that looks at as many for every sample.
double planes_of(const comet::AnyGate<float>& gate) {
  const std::string_view name = gate.name();
  if (name == comet::HashGate<float>::name || name == comet::StaticDSelectKGate<float>::name)
    return 0;
  if (name == comet::DSelectKGate<float>::name)
    return double(gate.num_selectors()) *
           double(1 + std::bit_width(std::size_t(gate.num_experts() - 1)));
  return double(gate.num_experts());
}

}  // namespace

void MixtureCost::add(const Model& model, const Model::Pass& pass) {
  const auto& routing = pass.workspace.mixture().routing();
  const auto& experts = model.mixture().experts();
  for (const comet::ExpertId expert : routing.experts())
    sum_ += experts[std::size_t(expert)].cost();
  const auto& gate = model.gates().front().gate();
  const auto features = pass.workspace.normalized();
  const double planes = gate.name() == comet::CometGate<float>::name
                            ? reached_planes(gate, comet::Samples<float>(features))
                            : planes_of(gate) * double(routing.num_samples());
  sum_ += planes * double(features.rows());
  samples_ += double(routing.num_samples());
}

double MixtureCost::reached_planes(const comet::AnyGate<float>& gate,
                                   const comet::Samples<float>& samples) {
  gate.route_slots(samples, slots_, pass_);
  const comet::portable::TreeShape tree(gate.num_experts());
  const Index trees = gate.num_selectors();
  seen_by_.assign(std::size_t((gate.num_experts() - 1) * trees), -1);
  double planes = double(slots_.num_entries());  // a leaf each
  for (Index b = 0; b < slots_.num_samples(); ++b)
    for (auto i = slots_.offsets()[std::size_t(b)]; i < slots_.offsets()[std::size_t(b) + 1]; ++i) {
      const Index slot = slots_.experts()[std::size_t(i)];
      const Index leaf = slot / trees;
      // Leaves of the last level come first, from left to right.
      const bool is_deep = tree.deepest + leaf <= 2 * tree.num_leaves - 2;
      Index node = tree.deepest + leaf - (is_deep ? 0 : tree.num_leaves);
      while (node > 0) {
        node = (node - 1) / 2;
        auto& seen = seen_by_[std::size_t(node * trees + slot % trees)];
        if (seen == b) break;  // and what is above it
        seen = b;
        ++planes;
      }
    }
  return planes;
}

}  // namespace programs::next_character
