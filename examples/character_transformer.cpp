// SPDX-License-Identifier: MIT
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <memory>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <comet/adapters/libtorch.hpp>
#include <comet/comet.hpp>
#include <comet/io/file_error.hpp>

#include <next_character/data/text.hpp>

/// \file
/// \brief A small transformer that says which character of a text comes next, with a mixture where
/// the feed-forward part of each block would be. Attention, norms and the optimizer are LibTorch's,
/// the mixture is comet's; with `--gate dense` the feed-forward part is LibTorch's, too.
///
///     character_transformer [TEXT] [--gate comet] [--spread 0.01] [--steps 1200]

namespace {

using namespace comet;
namespace nn = torch::nn;
using programs::next_character::Symbol;
using programs::next_character::Text;
using torch::Tensor;

constexpr Index width = 128, num_blocks = 2, num_heads = 4, context = 128;
constexpr Index hidden_dim = 256, num_experts = 8;

struct Options {
  std::string text;  // a file or a folder; empty for Python's standard library
  std::string gate = "comet";
  double spread = 0;
  Index steps = 1200, batch_size = 24, threads = 1;
  std::uint64_t seed = 1;

  [[nodiscard]] bool is_dense() const { return gate.starts_with("dense"); }
};

// ---------------------------------------------------------------------------------- the mixture

using Mixture = MoeLayer<AnyGate<float>, MlpExpert<float>>;
using MixtureModule = TorchMoeLayer<Mixture>;

AnyGate<float> make_gate(const Options& options, RandomKey key) {
  // A softmax over the one selected logit is 1 and has no gradient: over all of them, then.
  if (options.gate == "top_k")
    return AnyGate<float>(TopKGate<float>({.input_dim = width,
                                           .num_experts = num_experts,
                                           .k = 1,
                                           .softmax = TopKSoftmax::all,
                                           .load_balance = 0.01},
                                          key));
  return AnyGate<float>(CometGate<float>({.input_dim = width,
                                          .num_experts = num_experts,
                                          .k = 1,
                                          .entropy = 0.01,
                                          .spread = options.spread,
                                          .split_scale = 0.2},
                                         key));
}

TorchMoe make_mixture(const Options& options, RandomKey key) {
  const MlpExpertOptions expert{.input_dim = width,
                                .hidden_dim = hidden_dim,
                                .output_dim = width,
                                .activation = Activation::gelu};
  const Mixture layer(make_gate(options, key.fold(0)),
                      make_experts<MlpExpert<float>>(num_experts, expert, key.fold(1)));
  return make_torch_moe(layer, {.key = key.fold(2), .threads = options.threads});
}

/// The dense twin: as one expert, or half again as wide, with the same start.
nn::Sequential make_dense(const Options& options) {
  const Index hidden = options.gate == "dense_wide" ? hidden_dim * 3 / 2 : hidden_dim;
  nn::Sequential dense(nn::Linear(width, hidden), nn::GELU(), nn::Linear(hidden, width));
  for (const auto& tensor : dense->parameters()) {
    if (tensor.dim() == 2) {
      nn::init::xavier_uniform_(tensor);
    } else {
      nn::init::zeros_(tensor);
    }
  }
  return dense;
}

// ------------------------------------------------------------------------------ the transformer

struct Attention : nn::Module {
  nn::Linear in = register_module("in", nn::Linear(width, 3 * width));
  nn::Linear out = register_module("out", nn::Linear(width, width));
  Tensor future = register_buffer(
      "future", torch::full({context, context}, -std::numeric_limits<float>::infinity()).triu(1));

  Tensor forward(const Tensor& x) {  // (B, length, width)
    const Index length = x.size(1), head_dim = width / num_heads;
    const Tensor parts =
        in(x).view({x.size(0), length, 3, num_heads, head_dim}).permute({2, 0, 3, 1, 4});
    const Tensor scores = parts[0].matmul(parts[1].transpose(2, 3)) / std::sqrt(double(head_dim));
    const Tensor shares = (scores + future.slice(0, 0, length).slice(1, 0, length)).softmax(3);
    return out(shares.matmul(parts[2]).transpose(1, 2).reshape(x.sizes()));
  }
};

nn::LayerNorm make_norm() { return nn::LayerNorm(nn::LayerNormOptions({width})); }

struct Block : nn::Module {
  nn::LayerNorm attention_norm = register_module("attention_norm", make_norm());
  std::shared_ptr<Attention> attention =
      register_module("attention", std::make_shared<Attention>());
  nn::LayerNorm norm = register_module("norm", make_norm());
  TorchMoe mixture = nullptr;  // this or dense
  nn::Sequential dense = nullptr;
  Tensor normalized;  // what it has seen last, for the figures

  Block(const Options& options, RandomKey key) {
    if (options.is_dense()) {
      dense = register_module("dense", make_dense(options));
    } else {
      mixture = register_module("mixture", make_mixture(options, key));
    }
  }

  Tensor forward(const Tensor& x) {
    const Tensor y = x + attention->forward(attention_norm(x));
    const Tensor h = norm(y);
    normalized = h.detach();
    return y + (mixture ? mixture->forward(h) : dense->forward(h));
  }
};

struct Transformer : nn::Module {
  nn::Embedding symbols, places;
  std::vector<std::shared_ptr<Block>> blocks;
  nn::LayerNorm norm = register_module("norm", make_norm());
  nn::Linear output;

  Transformer(const Options& options, Index num_symbols)
      : symbols(register_module("symbols", nn::Embedding(num_symbols, width))),
        places(register_module("places", nn::Embedding(context, width))),
        output(register_module("output", nn::Linear(width, num_symbols))) {
    for (const auto& embedding : {symbols, places}) nn::init::normal_(embedding->weight, 0, 0.02);
    for (Index i = 0; i < num_blocks; ++i)
      blocks.push_back(register_module(
          "block" + std::to_string(i),
          std::make_shared<Block>(options, RandomKey(options.seed).fold(std::uint64_t(i)))));
  }

  /// Logits of what follows each character. \param text  (B, length) \return (B, length, symbols)
  Tensor forward(const Tensor& text) {
    Tensor x = symbols(text) + places(torch::arange(text.size(1)));
    for (const auto& block : blocks) x = block->forward(x);
    return output(norm(x));
  }

  /// What the gates ask for in the last forward(): a part of the loss.
  Tensor regularization() {
    Tensor sum = torch::zeros({});
    for (const auto& block : blocks)
      if (block->mixture) sum = sum + block->mixture->regularization();
    return sum;
  }

  /// Multiply-adds of a token beside the feed-forward parts.
  [[nodiscard]] double cost_of_the_rest() const {
    const double attention = 4 * width * width + 2 * context * width;
    return num_blocks * attention + double(output->weight.numel());
  }
};

// ----------------------------------------------------------------------------- training, figures

/// Characters and what follows each of them.
struct Batch {
  Tensor text, next;  // (B, context)
};

Batch gather(std::span<const Symbol> from, const std::vector<std::size_t>& places) {
  const Tensor windows = torch::empty({Index(places.size()), context + 1}, torch::kInt64);
  auto* to = windows.data_ptr<std::int64_t>();
  for (const std::size_t place : places)
    to = std::copy_n(from.begin() + std::ptrdiff_t(place), context + 1, to);
  return {windows.slice(1, 0, context), windows.slice(1, 1)};
}

/// In nats.
Tensor cross_entropy(Transformer& model, const Batch& batch) {
  return nn::functional::cross_entropy(model.forward(batch.text).flatten(0, 1),
                                       batch.next.flatten());
}

/// What a feed-forward part has done for the tokens of some batches.
struct Usage {
  double tokens = 0, multiply_adds = 0;
  std::vector<double> load = std::vector<double>(num_experts, 0.0);

  /// Of the batch that the block has just seen.
  void add(const Block& block) {
    const Index batch = block.normalized.numel() / width;
    tokens += double(batch);
    if (!block.mixture) {
      for (const auto& tensor : block.dense->parameters())
        if (tensor.dim() == 2) multiply_adds += double(batch * tensor.numel());
      return;
    }
    const auto& module = *block.mixture->as<MixtureModule>();
    const Mixture& layer = module.layer();
    const auto summary = summarize(module.pass().workspace.routings().front(), num_experts);
    for (std::size_t e = 0; e < load.size(); ++e) {
      load[e] += double(summary.load[e]);
      multiply_adds += double(summary.load[e]) * layer.experts()[e].cost();
    }
    // A token is a column of what comet sees.
    const Eigen::Map<const comet::Matrix<float>> x(block.normalized.data_ptr<float>(), width,
                                                   batch);
    multiply_adds += routing_cost(layer.gates().front(), x);
  }

  [[nodiscard]] double pairs() const {
    double sum = 0;
    for (const double count : load) sum += count;
    return sum;
  }
  /// Of a token; 1 for a dense part.
  [[nodiscard]] double experts() const { return pairs() > 0 ? pairs() / tokens : 1; }
  /// exp(entropy of the shares of the load): n if it is even, 1 if one expert has it all.
  [[nodiscard]] double effective_experts() const {
    double entropy = 0;
    for (const double count : load)
      if (count > 0) entropy -= count / pairs() * std::log(count / pairs());
    return std::exp(entropy);
  }
};

using Usages = std::vector<Usage>;

void add_usage(const Transformer& model, Usages& usages) {
  for (std::size_t i = 0; i < usages.size(); ++i) usages[i].add(*model.blocks[i]);
}

/// "1.52 1.35", a number for each block.
std::string by_block(const Usages& usages, double (Usage::*figure)() const) {
  std::string text;
  for (const Usage& usage : usages) {
    char number[32];
    std::snprintf(number, sizeof number, text.empty() ? "%.2f" : " %.2f", (usage.*figure)());
    text += number;
  }
  return text;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Mean bits of a loss in nats.
double bits(double nats) { return nats / std::numbers::ln2; }

void set_learning_rate(torch::optim::AdamW& optimizer, double rate) {
  for (auto& group : optimizer.param_groups())
    static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
}

/// Returns the tokens a second.
double train(Transformer& model, std::span<const Symbol> text, const Options& options) {
  const Index warm_up = std::min<Index>(100, options.steps / 4);
  const Schedule rate = Schedule::warm_up(warm_up).then_cosine(2e-3, options.steps - warm_up);
  torch::optim::AdamW optimizer(model.parameters(),
                                torch::optim::AdamWOptions(2e-3).weight_decay(0.01));
  const RandomKey key = RandomKey(options.seed).fold(num_blocks);
  std::vector<std::size_t> places(static_cast<std::size_t>(options.batch_size));
  const Index report_every = std::max<Index>(1, options.steps / 10);
  const auto start = std::chrono::steady_clock::now();
  const auto tokens_per_second = [&](Index steps) {
    return double(steps * options.batch_size * context) / seconds_since(start);
  };
  double nats = 0;
  for (Index step = 0; step < options.steps; ++step) {
    for (std::size_t i = 0; i < places.size(); ++i)
      places[i] = key.fold(std::uint64_t(step)).index(i, text.size() - context);
    Tensor loss = cross_entropy(model, gather(text, places));
    nats += loss.item<double>() / double(report_every);
    loss = loss + model.regularization();  // a statement of its own: forward() comes before
    optimizer.zero_grad();
    loss.backward();
    nn::utils::clip_grad_norm_(model.parameters(), 1.0);
    set_learning_rate(optimizer, rate(step + 1));
    optimizer.step();
    if ((step + 1) % report_every == 0) {
      Usages usages(num_blocks);
      add_usage(model, usages);
      std::fprintf(stderr, "step %5lld  %.3f bits  experts a token %s  %.0f tokens/s\n",
                   static_cast<long long>(step + 1), bits(nats),
                   by_block(usages, &Usage::experts).c_str(), tokens_per_second(step + 1));
      nats = 0;
    }
  }
  return tokens_per_second(options.steps);
}

struct Evaluation {
  double bits = 0, tokens_per_second = 0;
  Usages usages = Usages(num_blocks);
};

/// Of the first windows of a text, one behind the other.
Evaluation evaluate(Transformer& model, std::span<const Symbol> text, const Options& options) {
  constexpr std::size_t most_windows = 2000;
  const std::size_t count = std::min(most_windows, (text.size() - 1) / context);
  const auto batch_size = static_cast<std::size_t>(options.batch_size);
  const torch::NoGradGuard no_gradients;
  model.eval();
  Evaluation result;
  double nats = 0, seconds = 0;
  for (std::size_t first = 0; first < count; first += batch_size) {
    std::vector<std::size_t> places;
    for (std::size_t i = first; i < std::min(count, first + batch_size); ++i)
      places.push_back(i * context);
    const Batch batch = gather(text, places);
    const auto start = std::chrono::steady_clock::now();
    nats += double(places.size()) * cross_entropy(model, batch).item<double>();
    seconds += seconds_since(start);
    add_usage(model, result.usages);
  }
  model.train();
  result.bits = bits(nats / double(count));
  result.tokens_per_second = double(count * context) / seconds;
  return result;
}

void check(const Options& options) {
  if (options.spread != 0 && options.gate != "comet")
    throw std::invalid_argument("--spread is of --gate comet, and the gate is " + options.gate);
}

void run(const Options& options) {
  check(options);
  torch::set_num_threads(int(options.threads));
  torch::manual_seed(options.seed);
  const Text text = programs::next_character::read_text({.data = options.text, .endings = {}},
                                                        context, RandomKey(options.seed));
  Transformer model(options, text.alphabet.size());
  std::fprintf(stderr, "%s: %zu characters to train on, %zu held out, %lld symbols\n",
               text.source.c_str(), text.train().size(), text.test().size(),
               static_cast<long long>(text.alphabet.size()));
  const double training = train(model, text.train(), options);
  const Evaluation held_out = evaluate(model, text.test(), options);
  double multiply_adds = 0;
  for (const Usage& usage : held_out.usages) multiply_adds += usage.multiply_adds / usage.tokens;
  std::printf("bits a character, held out          %.3f\n", held_out.bits);
  std::printf("experts a token, by block           %s\n",
              by_block(held_out.usages, &Usage::experts).c_str());
  std::printf("effective experts, by block         %s\n",
              by_block(held_out.usages, &Usage::effective_experts).c_str());
  std::printf("multiply-adds a token, feed-forward %.0f\n", multiply_adds);
  std::printf("multiply-adds a token, the rest     %.0f\n", model.cost_of_the_rest());
  std::printf("tokens a second, training           %.0f\n", training);
  std::printf("tokens a second, prediction         %.0f\n", held_out.tokens_per_second);
}

/// What the user can put right, by other options or another text.
bool is_of_the_input(const std::exception& error) {
  return dynamic_cast<const comet::FileError*>(&error) != nullptr ||
         dynamic_cast<const std::invalid_argument*>(&error) != nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("A transformer of characters, its feed-forward parts mixtures or dense.");
  app.add_option("text", options.text, "a file, or a folder; default Python's standard library");
  app.add_option("--gate", options.gate, "comet, top_k, dense or dense_wide")
      ->check(CLI::IsMember({"comet", "top_k", "dense", "dense_wide"}))
      ->capture_default_str();
  app.add_option("--spread", options.spread, "COMET's reward for even use of the experts")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--steps", options.steps, "of training")
      ->check(CLI::Range(4, 1'000'000))
      ->capture_default_str();
  app.add_option("--batch-size", options.batch_size, "windows of 128 characters a step")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "of weights, split and batches")->capture_default_str();
  app.add_option("--threads", options.threads, "of LibTorch and of comet")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
    run(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "character_transformer: %s\n", error.what());
    return is_of_the_input(error) ? 2 : 1;
  }
}
