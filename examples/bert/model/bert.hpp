// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <bert/model/config.hpp>
#include <bert/model/layer_range.hpp>
#include <bert/model/mixture.hpp>

/// \file
/// \brief The numbers of a BERT, by the names of pretrained files. They are comet's, so that its
/// optimizers, checkpoints and files serve; LibTorch computes on the same memory, see network.hpp.

namespace programs::bert {

/// An affine map.
template <class S>
struct Affine {
  comet::Parameter<S> weight;  ///< in x out: the shape [out, in]
  comet::Parameter<S> bias;

  Affine(Index in, Index out) : weight(in, out), bias({out}) {}
  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
    f("bias", bias);
  }
};

/// Scale and shift of a layer norm.
template <class S>
struct Norm {
  comet::Parameter<S> weight;
  comet::Parameter<S> bias;

  explicit Norm(Index size) : weight({size}), bias({size}) { weight.setOnes(); }
  template <class F>
  void visit(F&& f) const {
    f("weight", weight);
    f("bias", bias);
  }
};

/// \brief A layer of the encoder: attention, and a feed-forward part, which is a dense block or a
/// mixture.
template <class S>
struct BertLayer {
  Affine<S> query, key, value;
  Affine<S> attention_output;
  Norm<S> attention_norm;
  struct Block {
    Affine<S> intermediate, output;
  };
  std::optional<Block> block;
  std::optional<Mixture<S>> mixture;
  Norm<S> output_norm;

  explicit BertLayer(const BertConfig& c)
      : query(c.hidden, c.hidden),
        key(c.hidden, c.hidden),
        value(c.hidden, c.hidden),
        attention_output(c.hidden, c.hidden),
        attention_norm(c.hidden),
        block(Block{{c.hidden, c.intermediate}, {c.intermediate, c.hidden}}),
        output_norm(c.hidden) {}

  template <class F>
  void visit(F&& f) const {
    f("attention.self.query", query);
    f("attention.self.key", key);
    f("attention.self.value", value);
    f("attention.output.dense", attention_output);
    f("attention.output.LayerNorm", attention_norm);
    if (block) {
      f("intermediate.dense", block->intermediate);
      f("output.dense", block->output);
    }
    if (mixture) f("moe", *mixture);
    f("output.LayerNorm", output_norm);
  }
};

/// \brief A BERT with a classifier, dense or with mixtures. A regular value: copies are deep.
/// \tparam S  float or double
template <class S>
class Bert {
  struct GateOf {
    static auto& get(auto& mixture) { return mixture.layer().gates().front(); }
  };
  struct GatePassOf {
    static const auto& get(const auto& mixture) { return mixture.pass().workspace.gates().front(); }
  };

 public:
  using Scalar = S;
  using Layers = std::vector<BertLayer<S>>;

  /// Weights and biases of 0, norms that change nothing.
  /// \throws std::invalid_argument naming a size that cannot be
  explicit Bert(const BertConfig& config);

  [[nodiscard]] const BertConfig& config() const noexcept { return config_; }
  /// Says how many units the feed-forward blocks have now.
  void set_intermediate(Index units) { config_.intermediate = units; }
  /// Another word table, of as many pieces as it has columns.
  void set_words(comet::Parameter<S> words) {
    config_.vocab = words.cols();
    word = std::move(words);
  }

  comet::Parameter<S> word, position, type;  ///< hidden x rows
  Norm<S> norm;                              ///< of their sum
  Layers layers;
  Affine<S> pooler, classifier;

  /// Of the layers that have mixtures, to be changed in place until the next pass.
  [[nodiscard]] LayerRange<Layers, GateOf>& gates() {
    gates_ = LayerRange<Layers, GateOf>(layers);
    return gates_;
  }
  [[nodiscard]] LayerRange<const Layers, GateOf> gates() const {
    return LayerRange<const Layers, GateOf>(layers);
  }
  /// Of the gates, as their last pass left them.
  [[nodiscard]] LayerRange<const Layers, GatePassOf> gate_passes() const {
    return LayerRange<const Layers, GatePassOf>(layers);
  }

  template <class F>
  void visit(F&& f) const {
    f("embeddings.word_embeddings.weight", word);
    f("embeddings.position_embeddings.weight", position);
    f("embeddings.token_type_embeddings.weight", type);
    f("embeddings.LayerNorm", norm);
    f("encoder.layer", layers);
    f("pooler.dense", pooler);
    f("classifier", classifier);
  }

 private:
  BertConfig config_;
  LayerRange<Layers, GateOf> gates_;
};

extern template class Bert<float>;
extern template class Bert<double>;

/// Draws the weights of the classifier: normal(0, 0.02).
template <class S>
void draw_classifier(Bert<S>& model, comet::RandomKey key);
/// The same of all weights: a model that has learned nothing.
template <class S>
void draw_weights(Bert<S>& model, comet::RandomKey key);

/// Whether an optimizer shrinks a tensor of this name: weights of maps, embeddings and gates, but
/// neither biases nor norms.
[[nodiscard]] bool decays(std::string_view name);

}  // namespace programs::bert
