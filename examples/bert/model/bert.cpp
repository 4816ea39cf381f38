// SPDX-License-Identifier: MIT
#include <bert/model/bert.hpp>

#include <cstdint>
#include <string>

namespace programs::bert {
namespace {

template <class S>
void draw(comet::Parameter<S>& weight, comet::RandomKey key) {
  constexpr double deviation = .02;
  for (Index i = 0; i < weight.size(); ++i)
    weight.data()[i] = S(deviation * key.normal(std::uint64_t(i)));
}

}  // namespace

template <class S>
Bert<S>::Bert(const BertConfig& config)
    : word((check(config), config.hidden), config.vocab),
      position(config.hidden, config.positions),
      type(config.hidden, config.types),
      norm(config.hidden),
      layers(std::size_t(config.layers), BertLayer<S>(config)),
      pooler(config.hidden, config.hidden),
      classifier(config.hidden, config.labels),
      config_(config) {}

template class Bert<float>;
template class Bert<double>;

template <class S>
void draw_classifier(Bert<S>& model, comet::RandomKey key) {
  draw(model.classifier.weight, key);
}

template <class S>
void draw_weights(Bert<S>& model, comet::RandomKey key) {
  comet::for_each_parameter(model, [&](const comet::ParameterName& name, auto& parameter) {
    if (!decays(name.str())) return;
    draw(parameter, key);
    key = key.fold(0);
  });
}

template void draw_classifier(Bert<float>&, comet::RandomKey);
template void draw_classifier(Bert<double>&, comet::RandomKey);
template void draw_weights(Bert<float>&, comet::RandomKey);
template void draw_weights(Bert<double>&, comet::RandomKey);

bool decays(std::string_view name) {
  return !name.ends_with("bias") && name.find("LayerNorm") == std::string_view::npos;
}

}  // namespace programs::bert
