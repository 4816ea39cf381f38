// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <comet/core/types.hpp>
#include <comet/io/safetensors.hpp>

#include <movielens/base/order.hpp>
#include <movielens/model/dataset.hpp>
#include <movielens/model/model.hpp>
#include <movielens/model/train_options.hpp>

namespace movielens {

/// \brief A trained model on the disk: its parameters, and what rebuilds it and the rows it was
/// trained on.
class ModelFile {
 public:
  /// \throws comet::FileError if it is not a file of a model, or does not fit its own description
  explicit ModelFile(const std::filesystem::path& path);

  [[nodiscard]] const comet::TensorFile& file() const noexcept { return file_; }
  /// Of its training; `data` and `out` are empty.
  [[nodiscard]] const TrainOptions& options() const noexcept { return options_; }
  /// With the numbers of users and items.
  [[nodiscard]] const ModelOptions& model() const noexcept { return options_.model; }
  [[nodiscard]] const std::string& source() const noexcept { return source_; }
  [[nodiscard]] const Order& order() const noexcept { return order_; }
  /// Ids as the ratings have them, in the order of the embeddings.
  [[nodiscard]] const std::vector<std::string>& user_ids() const noexcept { return user_ids_; }
  [[nodiscard]] const std::vector<std::string>& item_ids() const noexcept { return item_ids_; }

  /// \brief Makes a model this one. \throws comet::FileError if their sizes or gates differ
  template <class Model>
  void load(Model& model) const;

 private:
  void check_sizes() const;

  comet::TensorFile file_;
  TrainOptions options_;
  std::string source_;
  Order order_;
  std::vector<std::string> user_ids_, item_ids_;
};

/// \throws comet::FileError if the model is of other users or items than the data
void check_ids(const ModelFile& file, const std::vector<std::string>& user_ids,
               const std::vector<std::string>& item_ids, const std::string& source);

namespace detail {

/// Of the gate of a task that is a table.
inline std::string table_name(std::size_t task) {
  return "gates." + std::to_string(task) + ".table";
}

/// Ids as bytes, one per line, since they may be any text, and back.
std::vector<std::uint8_t> bytes_of(const std::vector<std::string>& ids);

inline constexpr const char* user_ids_name = "user_ids";
inline constexpr const char* item_ids_name = "item_ids";

comet::Metadata describe(const TrainOptions& options, const Dataset& data, const Order& order);

template <class Gate>
concept HasTable = requires(const Gate& gate) {
  gate.gate().table();
};

}  // namespace detail

/// \throws comet::FileError if the file cannot be written
template <class Gate>
void save_model(const std::filesystem::path& path, TwoTaskModel<Gate>& model,
                const TrainOptions& options, const Dataset& data) {
  const auto& gates = model.mixture().gates();
  std::vector<comet::Tensor> tensors = comet::parameter_tensors(model);
  if constexpr (detail::HasTable<Gate>)
    for (std::size_t task = 0; task < gates.size(); ++task)
      tensors.push_back(comet::make_tensor<comet::ExpertId>(
          detail::table_name(task), {gates[task].gate().num_ids()}, gates[task].gate().table()));
  const auto users = detail::bytes_of(data.user_ids);
  const auto items = detail::bytes_of(data.item_ids);
  tensors.push_back(
      comet::make_tensor<std::uint8_t>(detail::user_ids_name, {Index(users.size())}, users));
  tensors.push_back(
      comet::make_tensor<std::uint8_t>(detail::item_ids_name, {Index(items.size())}, items));
  comet::save_tensors(path, std::move(tensors), detail::describe(options, data, order_of(gates)));
}

template <class Model>
void ModelFile::load(Model& model) const {
  auto& gates = model.mixture().gates();
  using Gate = std::remove_cvref_t<decltype(gates.front())>;
  std::set<std::string> others = {detail::user_ids_name, detail::item_ids_name};
  for (std::size_t task = 0; task < gates.size(); ++task) others.insert(detail::table_name(task));
  comet::load_parameters(file_, model, "", others);
  try {
    if constexpr (detail::HasTable<Gate>) {
      using Table = std::remove_cvref_t<decltype(gates.front().gate())>;
      for (std::size_t task = 0; task < gates.size(); ++task)
        gates[task] = Gate(Table(file_.values<comet::ExpertId>(detail::table_name(task)),
                                 gates[task].num_experts()));
    }
    set_order(gates, order_);
  } catch (const std::logic_error& error) {
    file_.refuse(std::string("does not fit the model: ") + error.what());
  }
}

}  // namespace movielens
