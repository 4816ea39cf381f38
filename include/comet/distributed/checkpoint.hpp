// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <comet/core/parameters.hpp>
#include <comet/core/types.hpp>
#include <comet/distributed/collectives.hpp>
#include <comet/distributed/communicator.hpp>
#include <comet/distributed/detail/shard_index.hpp>
#include <comet/distributed/replicated.hpp>
#include <comet/io/file_error.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/io/tensor.hpp>
#include <comet/io/tensor_file.hpp>

namespace comet {

/// \brief A training on ranks, saved and resumed by the names of its tensors: on as many ranks as
/// it likes.
///
/// One list says what belongs to it, for both ways. Each rank writes what it alone has, rank 0 what
/// all have too, in safetensors files of their own; an index tells which tensor is in which, in the
/// form in which Python's packages split large models. No rank ever holds another's experts. All
/// ranks must see the directory.
///
/// \code
///   Checkpoint checkpoint(world);
///   checkpoint.add_parameters(layer, "model.");
///   checkpoint.add_optimizer(layer, adam, "adam.");
///   checkpoint.add_state(layer.gates(), "gates.");         // biases and permutations, if any
///   checkpoint.save("run/model.safetensors.index.json");
///   ...
///   checkpoint.load("run/model.safetensors.index.json");   // perhaps on other ranks
/// \endcode
/// The index is written last: a crash, or a full disk on one rank, leaves the checkpoint that was
/// there. Needs nlohmann/json: link comet::safetensors.
/// \par Cost  the bytes of a rank's tensors, once more in memory while they are loaded; the names
///            of all tensors on every rank
template <Communicator C>
class Checkpoint {
 public:
  /// \param world  must stay, as must all that is added
  explicit Checkpoint(C& world) : world_(&world) {}

  /// \brief The parameters of a model: `prefix` + their names.
  template <class Model>
  void add_parameters(Model& model, const std::string& prefix = "") {
    const auto own = own_tensors(model);
    std::size_t number = 0;
    for_each_parameter(model, [&](const ParameterName& name, auto& values) {
      add(prefix + name.str(), values.shape(), std::span(values.data(), std::size_t(values.size())),
          own[number++] != 0);
    });
  }

  /// \brief The state of a model's optimizer. Where it keeps a number for each parameter, these are
  /// named by the parameters: `prefix` + `mean.experts.5.weight`; what else it has is the same on
  /// every rank.
  template <class Model, class Optimizer>
  void add_optimizer(const Model& model, Optimizer& optimizer, const std::string& prefix) {
    const auto own = own_tensors(model);
    const Index total = count_parameters(model);
    const auto take = [&]<class T>(const std::string& piece, std::span<T> all) {
      if (!std::floating_point<T> || total == 0 || Index(all.size()) != total)
        return add(piece, {Index(all.size())}, all, false);
      std::size_t number = 0, first = 0;
      for_each_parameter(model, [&](const ParameterName& name, const auto& values) {
        const auto size = std::size_t(values.size());
        add(piece + '.' + name.str(), values.shape(), all.subspan(first, size), own[number++] != 0);
        first += size;
      });
    };
    detail::for_each_state(optimizer, prefix, take);
    restored_.push_back([&optimizer] { detail::restored(optimizer); });
  }

  /// \brief State that every rank has: of gates, a search, a count of steps.
  /// \param part  Stateful, or a range of such
  template <class Part>
  void add_state(Part& part, const std::string& prefix) {
    const auto take = [&](const std::string& name, auto values) {
      add(name, {Index(values.size())}, values, false);
    };
    detail::for_each_state(part, prefix, take);
    restored_.push_back([&part] { detail::restored(part); });
  }

  /// \brief Writes all of it, on every rank, beside the index: `model.safetensors.index.json` has
  /// `model.3.00001-of-00004.safetensors` for the third time that it is saved on four ranks.
  /// \param index     the file that names the others
  /// \param metadata  of rank 0: texts in UTF-8
  /// \throws FileError on every rank, if one of them cannot write; what was there stays
  /// \throws std::invalid_argument if a name comes twice
  /// \throws CommunicationError if another rank does not take part
  void save(const std::filesystem::path& index, const Metadata& metadata = {}) {
    detail::ShardIndex before, after;
    after.metadata = metadata;
    if (world_->rank() == 0) before = detail::ShardIndex::read_if_any(index);
    after.generation = before.generation + 1;
    broadcast(*world_, std::span(&after.generation, 1), 0);
    const std::string shard =
        detail::shard_name(index, after.generation, world_->rank(), world_->size());

    std::vector<Tensor> tensors;
    std::uint64_t bytes = 0;
    for (const Piece& piece : pieces_)
      if (piece.own || world_->rank() == 0) {
        tensors.push_back({piece.name, piece.dtype, piece.shape, piece.bytes});
        bytes += piece.bytes.size();
        after.shards[piece.name] = shard;
      }
    together(index, "write its part", [&] {
      if (!tensors.empty()) save_tensors(index.parent_path() / shard, std::move(tensors), metadata);
    });
    after.total_size = sum_over_ranks(*world_, bytes);
    gather_names(after);
    together(index, "write the index", [&] {
      if (world_->rank() != 0) return;
      after.write(index);
      detail::remove_shards(index, before, after);
    });
  }

  /// \brief Sets all of it to what the files have: on every rank, or on none.
  /// \return the metadata
  /// \throws FileError on every rank, if one of them finds a tensor missing, of another shape or of
  ///         other numbers, or the checkpoint is of another model
  /// \throws CommunicationError if another rank does not take part
  Metadata load(const std::filesystem::path& index) {
    detail::ShardIndex found;
    std::vector<std::byte> staged;
    const Index own =
        std::count_if(pieces_.begin(), pieces_.end(), [](const Piece& piece) { return piece.own; });
    const Index all = sum_over_ranks(*world_, own) + Index(pieces_.size()) - own;
    together(index, "read its part", [&] {
      found = detail::ShardIndex::read(index);
      if (Index(found.shards.size()) != all)
        throw FileError(index, "has " + std::to_string(found.shards.size()) +
                                   " tensors, expected " + std::to_string(all));
      staged = read(index, found);
    });
    swap(staged);
    try {
      together(index, "take over its part", [&] {
        try {
          for (const auto& each : restored_) each();
        } catch (const std::invalid_argument& error) {
          throw FileError(index, std::string("holds what is no state: ") + error.what());
        }
      });
    } catch (const FileError&) {
      swap(staged);
      for (const auto& each : restored_) each();
      throw;
    }
    return found.metadata;
  }

 private:
  struct Piece {
    std::string name;
    std::string dtype;
    std::vector<Index> shape;
    std::span<std::byte> bytes;
    bool own;
  };

  template <class T>
  void add(const std::string& name, std::vector<Index> shape, std::span<T> values, bool own) {
    pieces_.push_back(
        {name, detail::dtype_of<T>(), std::move(shape), std::as_writable_bytes(values), own});
  }

  /// Runs f; if it fails on one rank, it fails on all.
  template <class F>
  void together(const std::filesystem::path& index, const char* what, F f) {
    std::exception_ptr failure;
    try {
      f();
    } catch (...) {
      failure = std::current_exception();
    }
    const auto failed = all_gather(*world_, std::uint8_t(failure != nullptr));
    if (failure) std::rethrow_exception(failure);
    for (std::size_t r = 0; r < failed.size(); ++r)
      if (failed[r] != 0)
        throw FileError(index, "rank " + std::to_string(r) + " could not " + what);
  }

  /// What every rank has written, on every rank.
  void gather_names(detail::ShardIndex& index) {
    const std::string mine = index.shards_text();
    const auto sizes = all_gather(*world_, Index(mine.size()));
    std::string all(std::size_t(std::accumulate(sizes.begin(), sizes.end(), Index(0))), ' ');
    all_gather(*world_, mine, sizes, std::span(all));
    std::size_t first = 0;
    for (const Index size : sizes) {
      index.add_shards(all.substr(first, std::size_t(size)));
      first += std::size_t(size);
    }
  }

  /// The bytes of all pieces, one behind the other; a file at a time is in memory.
  [[nodiscard]] std::vector<std::byte> read(const std::filesystem::path& index,
                                            const detail::ShardIndex& found) const {
    std::map<std::string, std::vector<std::pair<const Piece*, std::size_t>>> by_shard;
    std::size_t size = 0;
    for (const Piece& piece : pieces_) {
      const auto place = found.shards.find(piece.name);
      if (place == found.shards.end())
        throw FileError(index, "tensor " + detail::quoted_name(piece.name) + " is missing");
      by_shard[place->second].emplace_back(&piece, size);
      size += piece.bytes.size();
    }
    std::vector<std::byte> staged(size);
    for (const auto& [shard, pieces] : by_shard) {
      const TensorFile file(index.parent_path() / shard);
      for (const auto& [piece, first] : pieces) {
        const Tensor& tensor = file.tensor(piece->name);
        if (tensor.dtype != piece->dtype || tensor.bytes.size() != piece->bytes.size() ||
            detail::without_leading_ones(tensor.shape) !=
                detail::without_leading_ones(piece->shape))
          file.refuse("tensor " + detail::quoted_name(piece->name) + " is " + tensor.dtype + ' ' +
                      detail::shape_text(tensor.shape) + ", expected " + piece->dtype + ' ' +
                      detail::shape_text(piece->shape));
        std::copy(tensor.bytes.begin(), tensor.bytes.end(), staged.begin() + std::ptrdiff_t(first));
      }
    }
    return staged;
  }
  void swap(std::vector<std::byte>& staged) {
    auto next = staged.begin();
    for (const Piece& piece : pieces_)
      next = std::swap_ranges(piece.bytes.begin(), piece.bytes.end(), next);
  }

  C* world_;
  std::vector<Piece> pieces_;
  std::vector<std::function<void()>> restored_;
};

}  // namespace comet
