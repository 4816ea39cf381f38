// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <iterator>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/random.hpp>
#include <comet/core/types.hpp>

#include <bert/model/config.hpp>
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

/// \brief The gates of a model, one for each layer that has a mixture, as one range.
template <class Layers>
class GateRange {
 public:
  GateRange() = default;
  explicit GateRange(Layers& layers) {
    for (auto& layer : layers)
      if (layer.mixture) mixtures_.push_back(&*layer.mixture);
  }

  [[nodiscard]] std::size_t size() const { return mixtures_.size(); }
  [[nodiscard]] bool empty() const { return mixtures_.empty(); }
  [[nodiscard]] decltype(auto) operator[](std::size_t i) const {
    return mixtures_[i]->layer().gates().front();
  }
  [[nodiscard]] decltype(auto) front() const { return (*this)[0]; }

  /// Over a range that outlives it.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using difference_type = std::ptrdiff_t;
    using value_type = typename std::remove_cvref_t<decltype(*std::declval<Layers&>().front().mixture)>::Gate;
    using reference = decltype(std::declval<const GateRange&>()[0]);
    using pointer = void;

    Iterator() = default;
    Iterator(const GateRange* range, std::size_t place) : range_(range), place_(place) {}
    [[nodiscard]] reference operator*() const { return (*range_)[place_]; }
    Iterator& operator++() {
      ++place_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++place_;
      return before;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const GateRange* range_ = nullptr;
    std::size_t place_ = 0;
  };
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, size()}; }

 private:
  using MixturePointer = decltype(&*std::declval<Layers&>().front().mixture);
  std::vector<MixturePointer> mixtures_;
};

/// \brief A BERT with a classifier, dense or with mixtures. A regular value: copies are deep.
/// \tparam S  float or double
template <class S>
class Bert {
 public:
  using Scalar = S;
  using Layers = std::vector<BertLayer<S>>;

  /// Weights and biases of 0, norms that change nothing.
  /// \throws std::invalid_argument naming a size that cannot be
  explicit Bert(const BertConfig& config);

  [[nodiscard]] const BertConfig& config() const noexcept { return config_; }
  /// Says how many units the feed-forward blocks have now.
  void set_intermediate(Index units) { config_.intermediate = units; }

  comet::Parameter<S> word, position, type;  ///< hidden x rows
  Norm<S> norm;                              ///< of their sum
  Layers layers;
  Affine<S> pooler, classifier;

  /// Of the layers that have mixtures, to be changed in place until the next pass.
  [[nodiscard]] GateRange<Layers>& gates() {
    gates_ = GateRange<Layers>(layers);
    return gates_;
  }
  [[nodiscard]] GateRange<const Layers> gates() const { return GateRange<const Layers>(layers); }

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
  GateRange<Layers> gates_;
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
