// SPDX-License-Identifier: MIT
// The two-task model of the COMET paper on a table of ratings, in one file: has the user watched
// the movie, and how many stars? Two embeddings, a mixture with a gate per task, two heads.
//
//   two_task [ratings.csv [epochs]]
//
// The table has a header and user, item and rating as its first three columns, as MovieLens has.
// Without one, ratings are made up. examples/movielens is this model as a program.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <comet/comet.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace comet;

namespace {

using S = float;

/// Pairs of a user and an item, some watched and rated, some not.
struct Rows {
  std::vector<std::int32_t> user, item;
  std::vector<S> watched, rating;  // the rating counts where watched is 1

  [[nodiscard]] Index size() const { return Index(user.size()); }
  void add(std::int32_t u, std::int32_t i, S w, S r) {
    user.push_back(u);
    item.push_back(i);
    watched.push_back(w);
    rating.push_back(r);
  }
};

struct Data {
  Index num_users = 0, num_items = 0;
  Rows train, test;
};

/// Users and items by number, from a table of texts.
struct Numbers {
  std::map<std::string, std::int32_t> of;
  std::int32_t operator()(const std::string& text) {
    return of.emplace(text, std::int32_t(of.size())).first->second;
  }
};

/// A number that is all of a text. \throws std::invalid_argument if there is none
template <class Number>
Number number_from(const std::string& what, const std::string& text) {
  Number number{};
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || rest != text.data() + text.size())
    throw std::invalid_argument(what + " is \"" + text + "\", expected a number");
  return number;
}

Rows read_ratings(const char* file, Index& num_users, Index& num_items) {
  std::ifstream in(file);
  if (!in) throw std::invalid_argument(std::string(file) + ": cannot be read");
  Rows rows;
  Numbers users, items;
  std::string line, user, item, rating;
  std::getline(in, line);  // the header
  for (Index number = 2; std::getline(in, line); ++number) {
    const std::string place = file + (':' + std::to_string(number)) + ": ";
    if (line.ends_with('\r')) line.pop_back();
    std::istringstream fields(line);
    if (!std::getline(fields, user, ',') || !std::getline(fields, item, ',') ||
        !std::getline(fields, rating, ','))
      throw std::invalid_argument(place + "expected user, item and rating");
    rows.add(users(user), items(item), 1, number_from<S>(place + "the rating", rating));
  }
  if (rows.size() == 0) throw std::invalid_argument(std::string(file) + ": no ratings in it");
  num_users = Index(users.of.size());
  num_items = Index(items.of.size());
  return rows;
}

/// Some items are watched more than others, users prefer one of two kinds of them, and some are
/// better than others for everyone.
Rows make_up_ratings(Index num_users, Index num_items, Index count, RandomKey key) {
  Rows rows;
  std::set<std::pair<Index, Index>> taken;
  for (Index n = 0; rows.size() < count; ++n) {
    const auto user = Index(key.fold(0).index(std::uint64_t(n), std::uint64_t(num_users)));
    const auto item = Index(key.fold(1).index(std::uint64_t(n), std::uint64_t(num_items)));
    const bool alike = user % 2 == item % 2;
    const double appeal = std::pow(key.fold(4).uniform(std::uint64_t(item)), 2);
    if (key.fold(2).uniform(std::uint64_t(n)) > appeal * (alike ? 1.0 : 0.3)) continue;
    if (!taken.insert({user, item}).second) continue;
    const double quality = key.fold(3).uniform(std::uint64_t(item), -1.0, 1.0);
    rows.add(std::int32_t(user), std::int32_t(item), 1, S(3 + quality + (alike ? 0.8 : -0.8)));
  }
  return rows;
}

/// As many unwatched pairs as watched ones, and a tenth of all for the test.
Data make_data(const Rows& rated, Index num_users, Index num_items, RandomKey key) {
  std::set<std::pair<std::int32_t, std::int32_t>> taken;
  for (Index n = 0; n < rated.size(); ++n)
    taken.insert({rated.user[std::size_t(n)], rated.item[std::size_t(n)]});
  Data data{.num_users = num_users, .num_items = num_items, .train = {}, .test = {}};
  for (Index n = 0; n < rated.size(); ++n) {
    const auto row = std::size_t(n);
    Rows& part = key.fold(0).uniform(row) < 0.1 ? data.test : data.train;
    part.add(rated.user[row], rated.item[row], 1, rated.rating[row]);
    for (std::uint64_t attempt = 0; attempt < 100; ++attempt) {
      const auto item =
          std::int32_t(key.fold(1).fold(row).index(attempt, std::uint64_t(num_items)));
      if (!taken.insert({rated.user[row], item}).second) continue;
      part.add(rated.user[row], item, 0, 0);
      break;
    }
  }
  return data;
}

struct Head {
  using Scalar = S;
  Dense<S> hidden, output;

  Head(Index input_dim, RandomKey key)
      : hidden({.input_dim = input_dim, .output_dim = 32, .activation = Activation::relu},
               key.fold(0)),
        output({.input_dim = 32, .output_dim = 1}, key.fold(1)) {}
  void visit(auto&& f) const {
    f("hidden", hidden);
    f("output", output);
  }
};

struct Model {
  using Scalar = S;
  Embedding<S> users, items;
  MoeLayer<CometGate<S>, DenseExpert<S>> mixture;
  std::vector<Head> heads;  // watched, stars

  Model(const Data& data, RandomKey key)
      : users({.num_ids = data.num_users, .output_dim = 32}, key.fold(0)),
        items({.num_ids = data.num_items, .output_dim = 32}, key.fold(1)),
        mixture(make_gates<CometGate<S>>(
                    2, {.input_dim = 64, .num_experts = 8, .k = 2, .entropy = 0.05}, key.fold(2)),
                make_experts<DenseExpert<S>>(8, {.input_dim = 64, .output_dim = 64, .dropout = 0.3},
                                             key.fold(3))) {
    for (int task = 0; task < 2; ++task) heads.emplace_back(64, key.fold(4).fold(task));
  }
  void visit(auto&& f) const {
    f("users", users);
    f("items", items);
    f("mixture", mixture);
    f("heads", heads);
  }
};

struct Loss {
  double watched = 0, stars = 0;
};

/// Columns of one task.
auto part(auto& matrix, std::size_t task) {
  return matrix.middleCols(Index(task) * matrix.cols() / 2, matrix.cols() / 2);
}

/// Runs the model on batches; everything that changes is here, the model is const.
class Runner {
 public:
  Runner(const Model& model, ThreadPool* pool) : model_(model), gradients_(model) {
    auto rest = gradients_.view();
    users_ = Pass(model.users, rest.next(model.users), pool);
    items_ = Pass(model.items, rest.next(model.items), pool);
    mixture_ = Pass(model.mixture, rest.next(model.mixture), pool);
    for (const Head& head : model.heads) {
      hidden_.emplace_back(head.hidden, rest.next(head.hidden), pool);
      output_.emplace_back(head.output, rest.next(head.output), pool);
    }
  }

  [[nodiscard]] Gradients<S>& gradients() { return gradients_; }
  [[nodiscard]] std::string routing() const { return summary(mixture_); }

  /// The loss of some rows, without a key; with one, a training pass: adds the gradients, too.
  Loss run(const Rows& rows, std::span<const Index> batch, const RandomKey* key) {
    const auto B = Index(batch.size());
    load(rows, batch);
    Matrix<S> x(64, B), mixed(64, 2 * B), hidden(32, 2 * B), out(1, 2 * B);
    model_.users.forward(user_, x.topRows(32));
    model_.items.forward(item_, x.bottomRows(32));
    if (key != nullptr) {
      model_.mixture.forward(x, mixed, *key, mixture_);
    } else {
      model_.mixture.predict(x, mixed, mixture_);
    }
    for (std::size_t t = 0; t < 2; ++t) {
      model_.heads[t].hidden.predict(part(mixed, t), part(hidden, t), hidden_[t]);
      model_.heads[t].output.predict(part(hidden, t), part(out, t), output_[t]);
    }
    Matrix<S> dout(1, 2 * B);
    const Loss loss{binary_cross_entropy(part(out, 0), watched_, part(dout, 0)),
                    mean_squared_error(part(out, 1), rating_, watched_, part(dout, 1))};
    if (key != nullptr) backward(x, mixed, hidden, out, Matrix<S>(dout / 2));
    return loss;
  }

 private:
  void backward(const Matrix<S>& x, const Matrix<S>& mixed, const Matrix<S>& hidden,
                const Matrix<S>& out, const Matrix<S>& dout) {
    Matrix<S> dhidden = Matrix<S>::Zero(hidden.rows(), hidden.cols());
    Matrix<S> dmixed = Matrix<S>::Zero(mixed.rows(), mixed.cols());
    Matrix<S> dx = Matrix<S>::Zero(x.rows(), x.cols());
    for (std::size_t t = 0; t < 2; ++t) {
      model_.heads[t].output.backward(part(hidden, t), part(out, t), part(dout, t),
                                      part(dhidden, t), output_[t]);
      model_.heads[t].hidden.backward(part(mixed, t), part(hidden, t), part(dhidden, t),
                                      part(dmixed, t), hidden_[t]);
    }
    model_.mixture.backward(x, dmixed, dx, mixture_);
    model_.users.backward(user_, dx.topRows(32), users_);
    model_.items.backward(item_, dx.bottomRows(32), items_);
  }

  void load(const Rows& rows, std::span<const Index> batch) {
    user_.clear();
    item_.clear();
    watched_.resize(1, Index(batch.size()));
    rating_.resize(1, Index(batch.size()));
    for (std::size_t b = 0; b < batch.size(); ++b) {
      const auto row = std::size_t(batch[b]);
      user_.push_back(rows.user[row]);
      item_.push_back(rows.item[row]);
      watched_(0, Index(b)) = rows.watched[row];
      rating_(0, Index(b)) = rows.rating[row];
    }
  }

  const Model& model_;
  Gradients<S> gradients_;
  Pass<Embedding<S>> users_, items_;
  Pass<MoeLayer<CometGate<S>, DenseExpert<S>>> mixture_;
  std::vector<Pass<Dense<S>>> hidden_, output_;
  std::vector<std::int32_t> user_, item_;
  Matrix<S> watched_, rating_;
};

}  // namespace

int main(int argc, char** argv) try {
  const RandomKey key(1);
  Index num_users = 100, num_items = 200;
  const Rows rated = argc > 1 ? read_ratings(argv[1], num_users, num_items)
                              : make_up_ratings(num_users, num_items, 4000, key.fold(0));
  const Data data = make_data(rated, num_users, num_items, key.fold(1));
  const int epochs = argc > 2 ? number_from<int>("epochs", argv[2]) : 5;
  if (epochs < 1)
    throw std::invalid_argument("epochs is " + std::to_string(epochs) + ", expected at least 1");

  ThreadPool pool;
  Model model(data, key.fold(2));
  Runner runner(model, &pool);
  Adam adam(model, {.learning_rate = 1e-3}, &pool);
  std::vector<Index> order(std::size_t(data.train.size())), all(std::size_t(data.test.size()));
  std::iota(order.begin(), order.end(), Index(0));
  std::iota(all.begin(), all.end(), Index(0));
  for (int epoch = 0; epoch < epochs; ++epoch) {
    key.fold(3).fold(epoch).shuffle(std::span(order));
    for (std::size_t first = 0; first < order.size(); first += 128) {
      const auto batch =
          std::span(order).subspan(first, std::min<std::size_t>(128, order.size() - first));
      const RandomKey step = key.fold(4).fold(epoch).fold(first);
      runner.run(data.train, batch, &step);
      adam.step(model, runner.gradients());
    }
    const Loss loss = runner.run(data.test, all, nullptr);
    std::printf("epoch %2d   watched: cross-entropy %.3f   stars: root mean squared error %.3f\n",
                epoch + 1, loss.watched, std::sqrt(loss.stars));
  }
  std::printf("%s\n", runner.routing().c_str());
} catch (const std::invalid_argument& error) {
  std::cerr << "two_task: " << error.what() << '\n';
  return 2;
} catch (const std::exception& error) {
  std::cerr << "two_task: " << error.what() << '\n';
  return 1;
}
