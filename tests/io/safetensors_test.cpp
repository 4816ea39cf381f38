// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <Eigen/Core>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/hyperplanes.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/optimizers/adam.hpp>

#include <support/catch.hpp>
#include <support/model.hpp>
#include <support/temporary_directory.hpp>

using namespace comet;
using comet::test::content_of;
using comet::test::TemporaryDirectory;

namespace {

struct Gate {
  Hyperplanes<float> split;
  template <class F>
  void visit(F&& f) const {
    f("split", split);
  }
};

struct Layer {
  using Scalar = float;
  std::vector<Gate> gates;
  std::vector<DenseExpert<float>> experts;
  template <class F>
  void visit(F&& f) const {
    f("experts", experts);
    f("gates", gates);
  }
};

Layer make_layer(std::uint64_t seed, Index num_experts = 3) {
  const RandomKey key(seed);
  Gate gate{Hyperplanes<float>(4, 4)};
  gate.split.initialize(1.0, key.fold(9));
  return {{gate},
          make_experts<DenseExpert<float>>(num_experts, {.input_dim = 4, .output_dim = 2}, key)};
}

/// Three numbers in double.
struct OneTensor {
  using Scalar = double;
  Parameter<double> values = {3};
  template <class F>
  void visit(F&& f) const {
    f("bias", values);
  }
};

struct OneBias {
  using Scalar = float;
  Parameter<float> bias = {1};
  template <class F>
  void visit(F&& f) const {
    f("bias", bias);
  }
};

struct Filters {
  using Scalar = double;
  Parameter<double> filters = {2, 3, 1, 4};
  Parameter<double> row = {1, 3};
  template <class F>
  void visit(F&& f) const {
    f("filters", filters);
    f("row", row);
  }
};

/// State of every kind that there is.
struct Counter {
  std::vector<float> sums = {1, 2, 3};
  std::vector<double> means = {0.5};
  std::vector<std::int32_t> order = {2, 0, 1};
  std::int64_t steps = 7;
  int restorations = 0;

  template <class F>
  void visit_state(F&& f) {
    f("sums", std::span<float>(sums));
    f("means", std::span<double>(means));
    f("order", std::span<std::int32_t>(order));
    f("steps", std::span<std::int64_t>(&steps, 1));
  }
  template <class F>
  void visit_state(F&& f) const {
    f("sums", std::span<const float>(sums));
    f("means", std::span<const double>(means));
    f("order", std::span<const std::int32_t>(order));
    f("steps", std::span<const std::int64_t>(&steps, 1));
  }
  void restored() {
    ++restorations;
    if (steps < 0) throw std::invalid_argument("Counter: steps is negative");
  }
  friend bool operator==(const Counter& a, const Counter& b) {
    return a.sums == b.sums && a.means == b.means && a.order == b.order && a.steps == b.steps;
  }
};
static_assert(Stateful<Counter>);

/// A file as any program may write it.
std::string raw_file(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string text(sizeof length, '\0');
  std::memcpy(text.data(), &length, sizeof length);
  return text + header + data;
}

std::size_t files_in(const std::filesystem::path& directory) {
  return std::size_t(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("the parameters of a model go into a file and come back, bit for bit") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "model.safetensors";
  const Layer model = make_layer(1);  // which is not touched by being saved
  Layer other = make_layer(2);
  REQUIRE(!test::same_bits(test::values_of(model), test::values_of(other)));
  save_parameters(path, model, {{"note", "Gr\u00fc\u00dfe\n"}});
  const TensorFile file(path);
  load_parameters(file, other);
  CHECK(test::same_bits(test::values_of(model), test::values_of(other)));
  CHECK(file.metadata() == Metadata{{"comet_format", "1"}, {"note", "Gr\u00fc\u00dfe\n"}});
  // Copies share the memory and outlive the original.
  auto copy = TensorFile(path);
  copy = TensorFile(copy);
  CHECK(copy.values<float>("experts.0.weight") == file.values<float>("experts.0.weight"));
  // Nothing is left beside it, and the same model makes the same bytes again.
  const std::string before = content_of(path);
  save_parameters(path, other, {{"note", "Gr\u00fc\u00dfe\n"}});
  CHECK(content_of(path) == before);
  CHECK(files_in(directory.path()) == 1);
}

TEST_CASE("weights of in x out are C-order arrays [out, in], biases are vectors") {
  const TemporaryDirectory directory;
  Layer model = make_layer(1);
  save_parameters(directory.path() / "model", model);
  const TensorFile file(directory.path() / "model");
  const Tensor& weight = file.tensor("experts.2.weight");
  CHECK(weight.dtype == "F32");
  CHECK(weight.shape == std::vector<Index>{2, 4});
  const auto values = file.values<float>("experts.2.weight");
  for (Index out = 0; out < 2; ++out)
    for (Index in = 0; in < 4; ++in)
      CHECK(values[std::size_t(out * 4 + in)] == model.experts[2].weight()(in, out));
  CHECK(file.tensor("experts.2.bias").shape == std::vector<Index>{2});
  CHECK(file.tensor("gates.0.split.weight").shape == std::vector<Index>{4, 4});
}

TEST_CASE("the bytes of a file are those that the format describes") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "file";
  const std::vector<std::uint8_t> bytes = {1, 2, 3};
  const std::vector<double> numbers = {1, -2};
  save_tensors(
      path, {make_tensor<std::uint8_t>("b", {3}, bytes), make_tensor<double>("a", {2, 1}, numbers),
             make_tensor<float>("empty", {0, 7}, {})});
  std::string header = R"({"__metadata__":{"comet_format":"1"},)"
                       R"("a":{"dtype":"F64","shape":[2,1],"data_offsets":[0,16]},)"
                       R"("empty":{"dtype":"F32","shape":[0,7],"data_offsets":[16,16]},)"
                       R"("b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string data(16, '\0');
  std::memcpy(data.data(), numbers.data(), 16);
  CHECK(content_of(path) == raw_file(header, data + "\1\2\3"));
  const TensorFile file(path);
  CHECK(file.values<std::uint8_t>("b") == bytes);
  CHECK(file.values<double>("a") == numbers);
  CHECK(file.values<float>("empty").empty());
}

TEST_CASE("files of other writers: no metadata, numbers out of line, columns as matrices") {
  const TemporaryDirectory directory;
  // The number begins at an odd address.
  const float number = 1.5F;
  std::string data = "x";
  data.append(reinterpret_cast<const char*>(&number), sizeof number);
  const auto path = directory.write(
      "file", raw_file(R"({"b":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
                       R"("bias":{"shape":[1,1],"dtype":"F32","data_offsets":[1,5]}} )",
                       data));
  const TensorFile file(path);
  CHECK(file.metadata().empty());
  OneBias model;
  load_parameters(file, model, "", {"b"});
  CHECK(model.bias(0, 0) == number);
  CHECK_THROWS_WITH(load_parameters(file, model),
                    path.string() + ": tensor \"b\" is none of the model's");
}

TEST_CASE("a frozen expert goes into a file as it keeps its weights, and comes back") {
  const TemporaryDirectory dir;
  const DenseExpert<float> expert({.input_dim = 5, .output_dim = 3}, RandomKey(1));
  const DenseExpert<float> other({.input_dim = 5, .output_dim = 3}, RandomKey(2));
  for (const auto& [storage, dtype] :
       {std::pair(Storage::full, "F32"), std::pair(Storage::bf16, "BF16"),
        std::pair(Storage::int8, "I8")}) {
    const auto frozen = expert.freeze(storage);
    save_parameters(dir.path() / "frozen", frozen);
    const TensorFile file(dir.path() / "frozen");
    CHECK(file.tensor("weight").dtype == dtype);
    CHECK(file.tensor("weight").shape == std::vector<Index>{3, 5});
    CHECK((file.find("scale") != nullptr) == (storage == Storage::int8));
    auto read = other.freeze(storage);
    load_parameters(file, read);
    const Matrix<float> x = test::random_matrix<float>(5, 4, 3);
    Matrix<float> y(3, 4), expected(3, 4), cache(0, 4);
    frozen.predict(x, expected, cache);
    read.predict(x, y, cache);
    CHECK(y == expected);
  }
  save_parameters(dir.path() / "frozen", expert.freeze(Storage::int8));
  auto half = other.freeze(Storage::bf16);
  CHECK_THROWS_WITH(load_parameters(TensorFile(dir.path() / "frozen"), half),
                    ContainsSubstring("tensor \"weight\" has numbers of type I8, expected BF16"));
}

TEMPLATE_TEST_CASE("half precision is widened to what the model computes with", "", Bfloat16,
                   Eigen::half) {
  const TemporaryDirectory dir;
  const std::vector<TestType> numbers = {TestType(1.5F), TestType(-0.0078125F), TestType(1e-3F)};
  save_tensors(dir.path() / "half",
               {make_tensor<TestType>("bias", {3}, std::span<const TestType>(numbers))});
  const TensorFile file(dir.path() / "half");
  CHECK(file.values<TestType>("bias") == numbers);
  OneTensor model;
  load_parameters(file, model);
  for (Index i = 0; i < 3; ++i)
    CHECK(model.values(i) == double(static_cast<float>(numbers[std::size_t(i)])));
  CHECK_THROWS_WITH((void)file.values<float>("bias"), ContainsSubstring("expected F32"));
}

TEST_CASE("a shape of more bytes than a number holds is refused") {
  CHECK_THROWS_WITH(make_tensor<float>("x", {Index(1) << 62, 4}, {}),
                    ContainsSubstring("comet::make_tensor: shape is ") &&
                        ContainsSubstring("expected fewer than 2^64 bytes"));
}

TEST_CASE("a file that does not fit the model is refused and leaves it as it is") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "model";
  Layer model = make_layer(1);
  const auto refused = [&](std::vector<Tensor> tensors, const std::string& reason) {
    save_tensors(path, std::move(tensors));
    Layer other = make_layer(2);
    const auto before = test::values_of(other);
    CHECK_THROWS_WITH(load_parameters(TensorFile(path), other), path.string() + ": " + reason);
    CHECK(test::same_bits(test::values_of(other), before));
  };
  const auto tensors = parameter_tensors(model);
  auto fewer = tensors;
  fewer.pop_back();
  refused(fewer, "tensor \"" + tensors.back().name + "\" is missing");
  auto more = tensors;
  more.push_back(make_tensor<float>("experts.3.weight", {0}, {}));
  refused(more, "tensor \"experts.3.weight\" is none of the model's");
  auto turned = tensors;
  turned.front().shape = {4, 2};
  refused(turned, "tensor \"experts.0.weight\" has shape [4, 2], expected [2, 4]");
  const std::vector<double> twice(8);
  auto wide = tensors;
  wide.front() = make_tensor<double>("experts.0.weight", {2, 4}, twice);
  refused(wide, "tensor \"experts.0.weight\" has numbers of type F64, expected F32");
  // Under a prefix, only what begins with it is looked at.
  std::vector<Tensor> prefixed = parameter_tensors(model, "model.");
  prefixed.push_back(make_tensor<double>("adam.mean", {8}, twice));
  save_tensors(path, prefixed);
  Layer other = make_layer(2);
  load_parameters(TensorFile(path), other, "model.");
  CHECK(test::same_bits(test::values_of(other), test::values_of(model)));
}

TEST_CASE("shapes are the parameters' own, up to axes of 1 in front") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "model";
  Filters model;
  model.filters = test::random_matrix<double>(4, 6, 1);
  model.row = test::random_matrix<double>(3, 1, 2);
  save_parameters(path, model);
  CHECK(TensorFile(path).tensor("filters").shape == std::vector<Index>{2, 3, 1, 4});
  CHECK(TensorFile(path).tensor("row").shape == std::vector<Index>{1, 3});
  auto tensors = parameter_tensors(model);
  tensors[1].shape = {3};
  save_tensors(path, tensors);
  Filters other;
  load_parameters(TensorFile(path), other);
  CHECK(test::same_bits(test::values_of(other), test::values_of(model)));
  tensors[0].shape = {4, 3, 1, 2};
  save_tensors(path, tensors);
  CHECK_THROWS_WITH(
      load_parameters(TensorFile(path), other),
      path.string() + ": tensor \"filters\" has shape [4, 3, 1, 2], expected [2, 3, 1, 4]");
}

TEST_CASE("the state of parts goes into a file and comes back; of a range, with numbers") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "state";
  Counter one;
  std::vector<Counter> several(2);
  several[1].order = {0, 1, 2};
  several[1].steps = 9;
  save_tensors(path, joined({state_tensors(one, "one."), state_tensors(several, "several.")}));
  const TensorFile file(path);
  CHECK(file.tensor("one.order").dtype == "I32");
  CHECK(file.tensor("several.1.steps").shape == std::vector<Index>{1});
  Counter other{.sums = {0, 0, 0}, .means = {0}, .order = {0, 0, 0}, .steps = 0};
  std::vector<Counter> others(2);
  load_state(file, other, "one.");
  load_state(file, others, "several.");
  CHECK(other == one);
  CHECK(other.restorations == 1);
  CHECK(others == several);
}

TEST_CASE("the state of more parts than there are is refused, parameters beside it are not") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "state";
  const std::vector<Counter> saved(3);
  save_tensors(path, state_tensors(saved, "s."));
  std::vector<Counter> two(2), three(3);
  two[0].steps = 1;
  const auto before = two;
  CHECK_THROWS_AS(load_state(TensorFile(path), two, "s."), FileError);
  CHECK_THROWS_WITH(
      load_state(TensorFile(path), two, "s."),
      path.string() + ": tensor \"s.2.sums\" is of one more part than the 2 that there are");
  CHECK(two == before);
  load_state(TensorFile(path), three, "s.");
  // Parameters by the same prefix, numbered as well.
  const std::vector<double> weight(4);
  save_tensors(path, joined({state_tensors(std::vector<Counter>(2), "s."),
                             {make_tensor<double>("s.2.weight", {4}, weight)},
                             {make_tensor<double>("s.weight", {4}, weight)}}));
  load_state(TensorFile(path), two, "s.");
  CHECK(two == std::vector<Counter>(2));
}

TEST_CASE("a state that does not fit is refused and leaves everything as it is") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "state";
  const auto refused = [&](const Counter& saved, const std::string& reason) {
    save_tensors(path, state_tensors(saved, "s."));
    Counter other{.sums = {4, 4, 4}, .steps = 1};
    const Counter before = other;
    CHECK_THROWS_WITH(load_state(TensorFile(path), other, "s."), path.string() + ": " + reason);
    CHECK_THROWS_AS(load_state(TensorFile(path), other, "s."), FileError);
    CHECK(other == before);
  };
  refused({.sums = {1, 2}}, "tensor \"s.sums\" has 2 numbers, expected 3");
  refused({.order = {0, 1, 2, 3}}, "tensor \"s.order\" has 4 numbers, expected 3");
  refused({.steps = -5}, "the tensors \"s.*\" are no state: Counter: steps is negative");
  Counter other;
  CHECK_THROWS_WITH(load_state(TensorFile(path), other, "t."),
                    path.string() + ": tensor \"t.sums\" is missing");
  // Moments of another model, and a number of steps that is none.
  Layer small = make_layer(1), large = make_layer(1, 5);
  Adam adam(small), larger(large);
  save_tensors(path, state_tensors(larger, "adam."));
  CHECK_THROWS_WITH(load_state(TensorFile(path), adam, "adam."),
                    path.string() + ": tensor \"adam.mean\" has 70 numbers, expected 50");
  larger.visit_state([](const std::string& name, auto values) {
    if (name == "steps") values[0] = -5;
  });
  save_tensors(path, state_tensors(larger, "adam."));
  Adam fresh(large);
  CHECK_THROWS_WITH(load_state(TensorFile(path), fresh, "adam."),
                    path.string() +
                        ": the tensors \"adam.*\" are no state: comet::Adam::restored: "
                        "steps is -5, expected at least 0");
}

TEST_CASE("what is not a whole, consistent file is refused with one line") {
  const TemporaryDirectory directory;
  const auto refused = [&](const std::string& content, const std::string& reason) {
    const auto path = directory.write("file", content);
    try {
      (void)TensorFile(path);
      FAIL("not refused: " << reason);
    } catch (const FileError& error) {
      CHECK(error.what() == path.string() + ": " + reason);
    }
  };
  const auto header = [&](const std::string& text, const std::string& reason) {
    refused(raw_file(text, "12345678"), reason);
  };
  CHECK_THROWS_WITH(TensorFile("no/such/file"), "no/such/file: cannot be read");
  CHECK_THROWS_AS(TensorFile(directory.path()), FileError);
  // A pipe, where nobody writes: opening it would wait for ever.
  const std::string pipe = (directory.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  CHECK_THROWS_WITH(TensorFile(pipe), pipe + ": cannot be read");
  refused("", "is no safetensors file, or truncated: 0 bytes");
  refused("1234567", "is no safetensors file, or truncated: 7 bytes");
  refused(raw_file(R"({"a":)", "").substr(0, 10),
          "is no safetensors file, or truncated: a header of 5 bytes in a file of 10");
  // A number that would be an absurd amount of memory.
  refused("\xff\xff\xff\xff\xff\xff\xff\xff{}",
          "is no safetensors file, or truncated: a header of 18446744073709551615 bytes in a file "
          "of 10");
  header("", "the header is not JSON, from byte 1 on");
  header("{\"a\":", "the header is not JSON, from byte 6 on");
  header("[1]", "the header is not a JSON object");
  header(R"({"a":1e999})", "the header has a number that is too large");
  header("{}", "the tensors end at byte 0 of 8");
  header(R"({"a":{"b":[[[[1]]]]}})", "the header is nested too deeply");
  header(R"({"__metadata__":{"a":1}})", "the metadata are not texts by name");
  header(R"({"__metadata__":{"comet_format":"2"},"a":{"dtype":"F32","shape":[2],)"
         R"("data_offsets":[0,8]}})",
         "is of format \"2\", this program reads format 1: it was written by another version");

  const auto a = [](const std::string& dtype, const std::string& shape, const std::string& places) {
    return R"("a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + places +
           "}";
  };
  const auto one = [&](const std::string& dtype, const std::string& shape,
                       const std::string& places, const std::string& reason) {
    header("{" + a(dtype, shape, places) + "}", "tensor \"a\" " + reason);
  };
  const std::string bare = "is not described by dtype, shape and data_offsets";
  header(R"({"a":3})", "tensor \"a\" " + bare);
  header(R"({"a":{"dtype":"F32","shape":[2]}})", "tensor \"a\" " + bare);
  one("F32", "[-2]", "[0,8]", bare);
  one("F32", "[2.0]", "[0,8]", bare);
  one("F32", "2", "[0,8]", bare);
  one("F32", "[2]", "[0,8,8]", bare);
  one("F32", "[2]", "[0,99999999999999999999]", bare);
  one("Q4", "[2]", "[0,8]", "has numbers of type \"Q4\", not known here");
  one("F32", "[2]", "[0,16]", "lies at bytes 0 to 16 of 8: truncated or damaged");
  one("F32", "[2]", "[8,0]", "lies at bytes 8 to 0 of 8: truncated or damaged");
  one("F32", "[3]", "[0,8]", "has 8 bytes, which is not F32 [3]");
  // 2^62 numbers of 4 bytes: 0 modulo 2^64.
  one("F32", "[4611686018427387904]", "[0,0]",
      "has 0 bytes, which is not F32 [4611686018427387904]");
  header("{" + a("F32", "[1]", "[0,4]") + "," + a("F32", "[1]", "[4,8]") + "}",
         "the header has \"a\" twice");
  const auto two = [&](const std::string& first, const std::string& second) {
    return R"({"b":{"dtype":"I8","shape":[4],"data_offsets":)" + second + "}," +
           a("F32", "[1]", first) + "}";
  };
  header(two("[0,4]", "[2,6]"), "the tensors overlap at byte 2 of the data");
  header(two("[0,4]", "[0,4]"), "the tensors overlap at byte 0 of the data");
  refused(raw_file(two("[0,4]", "[5,9]"), "123456789"),
          "the tensors leave a hole at byte 4 of the data");
  // Names cannot break the line, however they are written.
  header(R"({"a\nb":3})", "tensor \"a\\nb\" " + bare);
}

TEST_CASE("every file that is cut short is refused") {
  const TemporaryDirectory directory;
  Layer model = make_layer(1);
  save_parameters(directory.path() / "model", model);
  const std::string content = content_of(directory.path() / "model");
  for (std::size_t length = 0; length < content.size(); length += 7) {
    const auto path = directory.write("cut", content.substr(0, length));
    CHECK_THROWS_AS(TensorFile(path), FileError);
  }
}

TEST_CASE("a file with any byte changed is refused or gives tensors of its size") {
  const TemporaryDirectory directory;
  Layer model = make_layer(1);
  save_parameters(directory.path() / "model", model);
  const std::string content = content_of(directory.path() / "model");
  const RandomKey key(5);
  for (std::uint64_t i = 0; i < 300; ++i) {
    std::string changed = content;
    changed[std::size_t(key.index(2 * i, 400))] = char(key.index(2 * i + 1, 256));
    const auto path = directory.write("changed", changed);
    try {
      const TensorFile file(path);
      for (const Tensor& tensor : file.tensors()) CHECK(tensor.bytes.size() <= content.size());
    } catch (const FileError& error) {
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
    }
  }
}

TEST_CASE("a file that cannot be written leaves the old one and no other") {
  const TemporaryDirectory directory;
  Layer model = make_layer(1);
  const auto blocked = directory.path() / "blocked";
  std::filesystem::create_directories(blocked / "inside");
  CHECK_THROWS_AS(save_parameters(blocked, model), FileError);
  CHECK_THROWS_WITH(save_parameters(directory.path() / "none" / "model", model),
                    (directory.path() / "none" / "model").string() +
                        ": cannot be written: No such file or directory");
  CHECK(files_in(directory.path()) == 1);
  CHECK(files_in(blocked) == 1);
}

TEST_CASE("tensors that contradict themselves are not written") {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "file";
  const std::vector<float> two = {1, 2};
  CHECK_THROWS_WITH(make_tensor<float>("a", {3}, two),
                    "comet::make_tensor: values.size() is 2, expected the product of [3] = 3");
  const Tensor a = make_tensor<float>("a", {2}, two);
  Tensor wrong = a;
  wrong.shape = {2, 2};
  CHECK_THROWS_WITH(save_tensors(path, {a, a}),
                    "comet::save_tensors: the name \"a\" is taken already");
  CHECK_THROWS_WITH(save_tensors(path, {wrong}),
                    "comet::save_tensors: the bytes of \"a\" is 8, expected those of F32 [2, 2]");
  CHECK_THROWS_WITH(save_tensors(path, {a}, {{"note", "\xff"}}),
                    "comet::save_tensors: a name or a text of the metadata is not UTF-8");
  CHECK(files_in(directory.path()) == 0);
}
