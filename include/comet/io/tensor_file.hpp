// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/check.hpp>
#include <comet/core/types.hpp>
#include <comet/io/atomic_file.hpp>
#include <comet/io/file_error.hpp>
#include <comet/io/tensor.hpp>

/// \file
/// \brief Files of the safetensors format, written and read.
///
///     8 bytes: length of the header, little-endian
///     header:  JSON, {"__metadata__": {key: text}, name: {"dtype", "shape", "data_offsets"}, ...}
///     data:    the tensors in C order, little-endian, without gaps

namespace comet {

static_assert(std::endian::native == std::endian::little,
              "comet: safetensors files are little-endian, and so must be the machine");

/// Texts by name, kept beside the tensors.
using Metadata = std::map<std::string, std::string>;

namespace detail {

/// The metadata's key for the version of what a file of ours holds; other writers have none.
inline constexpr const char* format_key = "comet_format";
inline constexpr int format_version = 1;
inline constexpr std::uint64_t longest_header = 100'000'000;  // as in Python's package

/// Text of a file in a message: in quotes, one line, cut when long.
inline std::string quoted_name(const std::string& text) {
  constexpr std::size_t longest = 80;
  const std::string all =
      nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return all.size() <= longest ? all : all.substr(0, longest) + "...\"";
}

}  // namespace detail

/// \brief Writes tensors to a file, which appears whole or not at all: a crash leaves the old one.
/// \param metadata  texts in UTF-8; "comet_format" is added
/// \throws std::invalid_argument if a name comes twice, is not UTF-8 or is "__metadata__", or a
///         tensor's bytes do not fit its shape
/// \throws FileError if the file cannot be written
inline void save_tensors(const std::filesystem::path& file, std::vector<Tensor> tensors,
                         Metadata metadata = {}) {
  constexpr const char* where = "save_tensors";
  // The largest elements first, so that all of them are aligned.
  std::stable_sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) {
    return detail::size_of_dtype(a.dtype) > detail::size_of_dtype(b.dtype);
  });
  metadata[detail::format_key] = std::to_string(detail::format_version);
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  std::set<std::string_view> names = {"__metadata__"};
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    if (!names.insert(tensor.name).second)
      detail::raise(where, "the name " + detail::quoted_name(tensor.name) + " is taken already");
    std::uint64_t size = 0;
    if (!detail::size_of_tensor(tensor.shape, detail::size_of_dtype(tensor.dtype), size) ||
        size != tensor.bytes.size())
      detail::raise(where, "the bytes of " + detail::quoted_name(tensor.name), tensor.bytes.size(),
                    "those of " + tensor.dtype + ' ' + detail::shape_text(tensor.shape));
    auto& entry = header[tensor.name];
    entry["dtype"] = tensor.dtype;
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, offset + size};
    offset += size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    detail::raise(where, "a name or a text of the metadata is not UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data are aligned, too
  AtomicFile output(file);
  const std::uint64_t length = text.size();
  output.write(std::as_bytes(std::span(&length, 1)));
  output.write(std::as_bytes(std::span(text)));
  for (const Tensor& tensor : tensors) output.write(tensor.bytes);
  output.commit();
}

/// \brief A safetensors file, read and checked.
///
/// Nothing in the file is believed before it is checked, and nothing is allocated by a number of
/// the file that exceeds the file's own size. Copies share the memory.
class TensorFile {
 public:
  /// \throws FileError if the file cannot be read, is truncated, holds tensors that overlap, leave
  ///         holes or lie outside, a dtype that is not known, a name twice, or is of a newer
  ///         version
  explicit TensorFile(std::filesystem::path file) : file_(std::move(file)) {
    parse(read());
    check_format();
  }

  /// The file that was read.
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_; }
  /// The texts beside the tensors.
  [[nodiscard]] const Metadata& metadata() const noexcept { return metadata_; }
  /// In the order of the header; the bytes live as long as this or a copy of it.
  [[nodiscard]] const std::vector<Tensor>& tensors() const noexcept { return tensors_; }

  /// \return null if there is none of this name
  [[nodiscard]] const Tensor* find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &tensors_[found->second];
  }

  /// \throws FileError if there is none of this name
  [[nodiscard]] const Tensor& tensor(const std::string& name) const {
    if (const Tensor* found = find(name)) return *found;
    refuse("tensor " + detail::quoted_name(name) + " is missing");
  }

  /// \brief The numbers of a tensor of any shape.
  /// \throws FileError if there is none of this name, or its numbers are not of type T
  template <class T>
  [[nodiscard]] std::vector<T> values(const std::string& name) const {
    const Tensor& from = tensor(name);
    check_dtype<T>(from);
    std::vector<T> result(from.bytes.size() / sizeof(T));
    // A file of another writer may hold numbers anywhere, aligned or not: copied as bytes.
    if (!result.empty()) std::memcpy(result.data(), from.bytes.data(), from.bytes.size());
    return result;
  }

  /// \throws FileError with a sentence about this file
  [[noreturn]] void refuse(const std::string& reason) const { throw FileError(file_, reason); }

  /// \throws FileError if the tensor's numbers are not of type T
  template <class T>
  void check_dtype(const Tensor& tensor) const {
    if (tensor.dtype != detail::dtype_of<T>())
      refuse("tensor " + detail::quoted_name(tensor.name) + " has numbers of type " + tensor.dtype +
             ", expected " + detail::dtype_of<T>());
  }

 private:
  using Json = nlohmann::ordered_json;

  /// Takes the whole file into memory. \return the header
  std::string_view read() {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(file_, error);
    if (error) refuse("cannot be read");  // opening a pipe waits for who writes to it
    std::ifstream stream(file_, std::ios::binary);
    if (!stream) refuse("cannot be read");
    std::uint64_t length = 0;
    if (size < sizeof length)
      refuse("is no safetensors file, or truncated: " + std::to_string(size) + " bytes");
    stream.read(reinterpret_cast<char*>(&length), sizeof length);
    if (length > detail::longest_header || length > size - sizeof length)
      refuse("is no safetensors file, or truncated: a header of " + std::to_string(length) +
             " bytes in a file of " + std::to_string(size));
    auto content = std::make_shared<std::vector<std::byte>>(std::size_t(size - sizeof length));
    stream.read(reinterpret_cast<char*>(content->data()), std::streamsize(content->size()));
    if (!stream) refuse("cannot be read to its end");
    content_ = content;
    data_ = std::span<const std::byte>(*content).subspan(std::size_t(length));
    return {reinterpret_cast<const char*>(content->data()), std::size_t(length)};
  }

  void parse(std::string_view text) {
    const Json header = parse_json(text);
    if (!header.is_object()) refuse("the header is not a JSON object");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        read_metadata(entry);
        continue;
      }
      by_name_[name] = tensors_.size();
      tensors_.push_back(read_tensor(name, entry, places));
    }
    check_places(std::move(places));
  }

  /// Keys that come twice, which a parser passes over, are refused here; so is deep nesting.
  Json parse_json(std::string_view text) const {
    std::vector<std::set<std::string>> keys;  // of the objects that are open
    const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
      constexpr int deepest = 3;
      if (depth > deepest) refuse("the header is nested too deeply");
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end) keys.pop_back();
      if (event == Json::parse_event_t::key) {
        const auto name = value.get<std::string>();
        if (!keys.back().insert(name).second)
          refuse("the header has " + detail::quoted_name(name) + " twice");
      }
      return true;
    };
    try {
      return Json::parse(text, check);
    } catch (const nlohmann::json::parse_error& error) {
      refuse("the header is not JSON, from byte " + std::to_string(error.byte) + " on");
    } catch (const nlohmann::json::out_of_range&) {
      refuse("the header has a number that is too large");
    }
  }

  void read_metadata(const Json& entry) {
    const auto wrong = [&]() { refuse("the metadata are not texts by name"); };
    if (!entry.is_object()) wrong();
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) wrong();
      metadata_[key] = value.get<std::string>();
    }
  }

  Tensor read_tensor(const std::string& name, const Json& entry,
                     std::vector<std::pair<std::uint64_t, std::uint64_t>>& places) const {
    const auto wrong = [&](const std::string& reason) {
      refuse("tensor " + detail::quoted_name(name) + ' ' + reason);
    };
    const auto is_list = [&](const char* key) {
      if (!entry.contains(key) || !entry[key].is_array()) return false;
      return std::all_of(entry[key].begin(), entry[key].end(), [](const Json& number) {
        return number.is_number_unsigned() &&
               number.get<std::uint64_t>() <= std::uint64_t(std::numeric_limits<Index>::max());
      });
    };
    if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
        !is_list("shape") || !is_list("data_offsets") || entry["data_offsets"].size() != 2)
      wrong("is not described by dtype, shape and data_offsets");
    Tensor tensor;
    tensor.name = name;
    tensor.dtype = entry["dtype"].get<std::string>();
    const std::uint64_t item = detail::size_of_dtype(tensor.dtype);
    if (item == 0)
      wrong("has numbers of type " + detail::quoted_name(tensor.dtype) + ", not known here");
    tensor.shape = entry["shape"].get<std::vector<Index>>();
    const auto begin = entry["data_offsets"][0].get<std::uint64_t>();
    const auto end = entry["data_offsets"][1].get<std::uint64_t>();
    if (begin > end || end > data_.size())
      wrong("lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
            std::to_string(data_.size()) + ": truncated or damaged");
    std::uint64_t size = 0;
    if (!detail::size_of_tensor(tensor.shape, item, size) || size != end - begin)
      wrong("has " + std::to_string(end - begin) + " bytes, which is not " + tensor.dtype + ' ' +
            detail::shape_text(tensor.shape));
    tensor.bytes = data_.subspan(std::size_t(begin), std::size_t(size));
    places.emplace_back(begin, end);
    return tensor;
  }

  /// One behind the other, from the first byte to the last.
  void check_places(std::vector<std::pair<std::uint64_t, std::uint64_t>> places) const {
    std::sort(places.begin(), places.end());
    std::uint64_t last = 0;
    for (const auto& [begin, end] : places) {
      if (begin != last)
        refuse(std::string("the tensors ") + (begin < last ? "overlap" : "leave a hole") +
               " at byte " + std::to_string(std::min(begin, last)) + " of the data");
      last = end;
    }
    if (last != data_.size())
      refuse("the tensors end at byte " + std::to_string(last) + " of " +
             std::to_string(data_.size()));
  }

  void check_format() const {
    const auto found = metadata_.find(detail::format_key);
    if (found == metadata_.end() || found->second == std::to_string(detail::format_version)) return;
    refuse("is of format " + detail::quoted_name(found->second) + ", this program reads format " +
           std::to_string(detail::format_version) + ": it was written by another version");
  }

  std::filesystem::path file_;
  std::shared_ptr<const std::vector<std::byte>> content_;  // header and data
  std::span<const std::byte> data_;
  Metadata metadata_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string, std::size_t> by_name_;
};

}  // namespace comet
