// SPDX-License-Identifier: MIT
#include <bert/model/moefy.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <comet/core/check.hpp>
#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>

namespace programs::bert {
namespace {

template <class From, class To>
void copy_parameters(const From& from, To& to) {
  using S = typename To::Scalar;
  std::vector<const comet::Parameter<S>*> sources;
  comet::for_each_parameter(
      from, [&](const comet::ParameterName&, const auto& p) { sources.push_back(&p); });
  std::size_t i = 0;
  comet::for_each_parameter(to,
                            [&](const comet::ParameterName&, auto& p) { p = *sources.at(i++); });
}

/// The two maps of a block, or an expert, as one part.
template <class S>
struct Maps {
  using Scalar = S;
  typename BertLayer<S>::Block& block;

  template <class F>
  void visit(F&& f) const {
    f("hidden", block.intermediate);
    f("output", block.output);
  }
};

template <class S>
std::span<const S> column(const comet::Matrix<S>& importance, std::size_t layer) {
  return {importance.col(Index(layer)).data(), std::size_t(importance.rows())};
}

template <class S>
void check_importance(const char* where, const Bert<S>& teacher,
                      const comet::Matrix<S>& importance) {
  comet::detail::check_equal(where, "importance.cols()", importance.cols(), "num_hidden_layers",
                             teacher.config().layers);
  comet::detail::check_equal(where, "importance.rows()", importance.rows(), "intermediate_size",
                             teacher.config().intermediate);
}

}  // namespace

template <class S>
comet::MlpExpert<S> expert_of(const BertLayer<S>& layer) {
  if (!layer.block) comet::detail::raise("expert_of", "the layer is not dense");
  const auto& weight = layer.block->intermediate.weight;
  comet::MlpExpert<S> expert({.input_dim = weight.rows(),
                              .hidden_dim = weight.cols(),
                              .output_dim = layer.block->output.weight.cols(),
                              .activation = comet::Activation::gelu},
                             comet::RandomKey(0));
  typename BertLayer<S>::Block block = *layer.block;
  copy_parameters(Maps<S>{block}, expert);
  return expert;
}

template <class S>
Bert<S> moefied(const Bert<S>& teacher, const comet::UpcycleOptions& options,
                const comet::Matrix<S>& importance, const GateOfLayer<S>& make_gate,
                Index threads) {
  check_importance("moefied", teacher, importance);
  Bert<S> student = teacher;
  for (std::size_t l = 0; l < student.layers.size(); ++l) {
    BertLayer<S>& layer = student.layers[l];
    auto experts = comet::upcycle(expert_of(layer), options, column(importance, l));
    layer.mixture.emplace(typename Mixture<S>::Layer({make_gate(Index(l))}, std::move(experts)),
                          threads);
    layer.block.reset();
  }
  return student;
}

template <class S>
Bert<S> pruned(const Bert<S>& teacher, Index units, const comet::Matrix<S>& importance) {
  check_importance("pruned", teacher, importance);
  Bert<S> smaller = teacher;
  for (std::size_t l = 0; l < smaller.layers.size(); ++l) {
    BertLayer<S>& layer = smaller.layers[l];
    const auto experts = comet::upcycle(expert_of(layer), {.num_experts = 1, .shared = units},
                                        column(importance, l));
    layer.block.emplace(typename BertLayer<S>::Block{{teacher.config().hidden, units},
                                                     {units, teacher.config().hidden}});
    Maps<S> maps{*layer.block};
    copy_parameters(experts.front(), maps);
  }
  smaller.set_intermediate(units);
  return smaller;
}

template comet::MlpExpert<float> expert_of(const BertLayer<float>&);
template comet::MlpExpert<double> expert_of(const BertLayer<double>&);
template Bert<float> moefied(const Bert<float>&, const comet::UpcycleOptions&,
                             const comet::Matrix<float>&, const GateOfLayer<float>&, Index);
template Bert<double> moefied(const Bert<double>&, const comet::UpcycleOptions&,
                              const comet::Matrix<double>&, const GateOfLayer<double>&, Index);
template Bert<float> pruned(const Bert<float>&, Index, const comet::Matrix<float>&);
template Bert<double> pruned(const Bert<double>&, Index, const comet::Matrix<double>&);

}  // namespace programs::bert
