// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/io/atomic_file.hpp>
#include <comet/io/file_error.hpp>
#include <comet/io/tensor_file.hpp>

namespace comet::detail {

/// \brief The index of a checkpoint in several files: {"metadata": {...}, "weight_map": {tensor:
/// file}}.
struct ShardIndex {
  Index generation = 0;  ///< how many times it has been saved
  std::uint64_t total_size = 0;
  Metadata metadata;                          ///< the caller's
  std::map<std::string, std::string> shards;  ///< per tensor, the name of its file

  /// \throws FileError if it cannot be read or is no index
  static ShardIndex read(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw FileError(file, "cannot be read");
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    try {
      return parse(file, nlohmann::json::parse(text));
    } catch (const nlohmann::json::exception&) {
      throw FileError(file, "is no index of a checkpoint");
    }
  }
  /// None of these is worth keeping: no file, or one that is no index.
  static ShardIndex read_if_any(const std::filesystem::path& file) {
    try {
      return read(file);
    } catch (const FileError&) {
      return {};
    }
  }

  void write(const std::filesystem::path& file) const {
    nlohmann::json json;
    json["metadata"] = metadata;
    json["metadata"]["total_size"] = total_size;
    json["metadata"][format_key] = std::to_string(format_version);
    json["metadata"]["generation"] = generation;
    json["weight_map"] = shards;
    const std::string text = json.dump(1) + '\n';
    AtomicFile output(file);
    output.write(std::as_bytes(std::span(text)));
    output.commit();
  }

  /// The names for another rank.
  [[nodiscard]] std::string shards_text() const { return nlohmann::json(shards).dump(); }
  void add_shards(const std::string& text) {
    const std::map<std::string, std::string> more = nlohmann::json::parse(text);
    for (const auto& [name, shard] : more)
      if (!shards.emplace(name, shard).second && shards[name] != shard)
        raise("Checkpoint::save", "two ranks have a tensor " + quoted_name(name) + " of their own");
  }

 private:
  static ShardIndex parse(const std::filesystem::path& file, const nlohmann::json& json) {
    ShardIndex index;
    for (const auto& [key, value] : json.at("metadata").items()) {
      if (key == "generation") {
        index.generation = value.get<Index>();
      } else if (key == "total_size") {
        index.total_size = value.get<std::uint64_t>();
      } else if (key == format_key) {
        if (value.get<std::string>() != std::to_string(format_version))
          throw FileError(file, "was written by another version");
      } else {
        index.metadata[key] = value.get<std::string>();
      }
    }
    index.shards = json.at("weight_map").get<std::map<std::string, std::string>>();
    for (const auto& [name, shard] : index.shards)
      if (std::filesystem::path(shard).filename() != shard || shard == "." || shard == "..")
        throw FileError(file, "names a file elsewhere: " + quoted_name(shard));
    return index;
  }
};

/// `model.safetensors.index.json` has `model.3.00001-of-00004.safetensors` beside it.
inline std::string shard_name(const std::filesystem::path& index, Index generation, Index rank,
                              Index size) {
  std::string stem = index.filename().string();
  for (const std::string_view end : {".json", ".index", ".safetensors"})
    if (stem.size() > end.size() && stem.ends_with(end)) stem.resize(stem.size() - end.size());
  const auto padded = [](Index number) {
    const std::string text = std::to_string(number);
    return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
  };
  return stem + '.' + std::to_string(generation) + '.' + padded(rank + 1) + "-of-" + padded(size) +
         ".safetensors";
}

/// Those of the index that was there before this one.
inline void remove_shards(const std::filesystem::path& file, const ShardIndex& before,
                          const ShardIndex& after) {
  std::set<std::string> old;
  for (const auto& [name, shard] : before.shards) old.insert(shard);
  for (const auto& [name, shard] : after.shards) old.erase(shard);
  std::error_code ignored;
  for (const std::string& shard : old) std::filesystem::remove(file.parent_path() / shard, ignored);
}

}  // namespace comet::detail
