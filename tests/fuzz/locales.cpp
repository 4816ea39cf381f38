// SPDX-License-Identifier: MIT
// Text that a machine reads again, under locales with any marks: emitted headers, files of weights,
// explanations and messages are byte for byte those of the classic locale, and the numbers in an
// emitted header are those of the gate.
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <comet/gates/comet.hpp>
#include <comet/gates/dselect_k.hpp>
#include <comet/gates/hash.hpp>
#include <comet/gates/softmax.hpp>
#include <comet/gates/top_k.hpp>
#include <comet/inference/emit_cpp.hpp>
#include <comet/inference/explain.hpp>
#include <comet/inference/freeze.hpp>
#include <comet/io/safetensors.hpp>
#include <comet/metrics/routing.hpp>

#include <fuzz/fuzz.hpp>

namespace {

using comet::Index;
using comet::Matrix;
using comet::RandomKey;
using comet::fuzz::Bytes;
using comet::fuzz::expect;
using comet::fuzz::MemoryFile;

/// Any marks between digits, groups of any size, and any words for true and false.
class AnyPunctuation : public std::numpunct<char> {
 public:
  explicit AnyPunctuation(Bytes& bytes)
      : point_(char(bytes.between(1, 255))), separator_(char(bytes.between(1, 255))) {
    for (auto groups = bytes.between(0, 3); groups > 0; --groups)
      grouping_ += char(bytes.between(1, 4));
    for (auto letters = bytes.between(0, 4); letters > 0; --letters)
      word_ += char(bytes.between(1, 255));
  }

 protected:
  [[nodiscard]] char do_decimal_point() const override { return point_; }
  [[nodiscard]] char do_thousands_sep() const override { return separator_; }
  [[nodiscard]] std::string do_grouping() const override { return grouping_; }
  [[nodiscard]] std::string do_truename() const override { return word_; }
  [[nodiscard]] std::string do_falsename() const override { return word_ + word_; }

 private:
  char point_, separator_;
  std::string grouping_, word_;
};

std::string content_of(const MemoryFile& file) {
  std::ifstream stream(file.path(), std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string saved(const auto& model) {
  const MemoryFile file("");
  comet::save_parameters(file.path(), model, {{"steps", "1234567"}});
  return content_of(file);
}

std::string message_of(Index rows) {
  try {
    comet::detail::check_equal("fuzz", "x.rows()", rows, "input_dim", -1);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

/// The numbers behind "NAME[] = {" or "NAME = ", up to the end of the statement.
std::vector<double> numbers_behind(const std::string& text, const std::string& name) {
  std::size_t place = text.find("inline constexpr");
  while (place != std::string::npos) {
    const std::size_t end = text.find(';', place);
    const std::string_view line = std::string_view(text).substr(place, end - place);
    for (const std::string& opening : {" " + name + "[] = {", " " + name + " = "}) {
      const std::size_t found = line.find(opening);
      if (found == std::string_view::npos) continue;
      std::istringstream words{std::string(line.substr(found + opening.size()))};
      words.imbue(std::locale::classic());
      std::vector<double> numbers;
      for (std::string word; words >> word && word != "}";) {
        char* last = nullptr;
        numbers.push_back(std::strtod(word.c_str(), &last));
        const std::string_view rest = last;
        expect(rest == "," || rest == "f," || rest.empty() || rest == ",}" || rest == "f,}",
               "a number in a header is one");
      }
      return numbers;
    }
    place = text.find("inline constexpr", place + 1);
  }
  return {};
}

template <class S>
void expect_planes(const std::string& text, const std::string& name,
                   const comet::Hyperplanes<S>& planes) {
  const std::vector<double> written = numbers_behind(text, name + "_weight");
  expect(Index(written.size()) == planes.weight().size(), "every weight is written");
  for (Index i = 0; i < planes.weight().size(); ++i)
    expect(written[std::size_t(i)] == double(planes.weight().data()[i]),
           "a weight is written as it is");
}

/// All that a gate becomes as text.
template <class G>
std::string written(const G& gate, const std::locale& locale) {
  std::ostringstream out;
  out.imbue(locale);
  comet::emit_cpp(comet::freeze(gate), out);
  return out.str();
}

/// Finite parameters of the sort that breaks things.
template <class G>
void scatter(G& gate, Bytes& bytes) {
  using S = typename G::Scalar;
  comet::for_each_parameter(gate, [&](const comet::ParameterName&, auto& values) {
    for (Index i = 0; i < values.size() && !bytes.empty(); ++i) {
      const S value = bytes.number<S>();
      if (std::isfinite(value)) values.data()[i] = value;
    }
  });
}

std::string explained(const auto& gate, const auto& x, const std::locale& locale) {
  try {
    const auto explanation = comet::explain(gate, x);
    std::ostringstream dot;
    dot.imbue(locale);
    comet::write_dot(explanation, dot);
    std::ostringstream text;
    text << explanation;
    return text.str() + dot.str();
  } catch (const comet::NotFinite& error) {
    return error.what();
  }
}

template <class G>
void check(G gate, Bytes& bytes, const std::locale& locale) {
  using S = typename G::Scalar;
  scatter(gate, bytes);
  const Matrix<S> x = Matrix<S>::Constant(gate.input_dim(), 1, S(0.125));
  const auto all = [&](const std::locale& each) {
    return std::vector<std::string>{written(gate, each), saved(gate),
                                    explained(gate, x.col(0), each),
                                    message_of(gate.input_dim() * 1000)};
  };
  std::locale::global(std::locale::classic());
  const auto expected = all(std::locale::classic());
  std::locale::global(locale);
  const auto found = all(locale);
  std::locale::global(std::locale::classic());
  expect(found == expected, "text is the same in every locale");
  const std::string& header = expected[0];
  expect(numbers_behind(header, "input_dim") == std::vector<double>{double(gate.input_dim())},
         "input_dim is written as it is");
  const auto frozen = comet::freeze(gate);
  const auto& tables = frozen.tables();
  if constexpr (requires { tables.splits; }) {
    expect_planes(header, "split", tables.splits);
    expect_planes(header, "leaf", tables.leaves);
  }
  if constexpr (requires { tables.bits; }) expect_planes(header, "bit", tables.bits);
  if constexpr (requires { tables.logits; }) expect_planes(header, "expert", tables.logits);
}

void check_hash(Bytes& bytes, const std::locale& locale) {
  const Index num_ids = 100 * bytes.between(1, 40);
  const Index num_experts = 500 * bytes.between(1, 4);
  const comet::HashGate<float> gate(
      comet::HashGateOptions{.num_experts = num_experts, .num_ids = num_ids}, RandomKey(1));
  std::ostringstream expected, found;
  comet::emit_cpp(gate, expected);
  std::locale::global(locale);
  found.imbue(locale);
  comet::emit_cpp(gate, found);
  std::locale::global(std::locale::classic());
  expect(found.str() == expected.str(), "a table is the same in every locale");
  const auto experts = numbers_behind(expected.str(), "expert_of_id");
  expect(Index(experts.size()) == num_ids, "every id is written");
  for (Index id = 0; id < num_ids; ++id)
    expect(experts[std::size_t(id)] == double(gate.table()[std::size_t(id)]),
           "an expert is written as it is");
}

template <class S>
void check_kind(std::ptrdiff_t kind, Bytes& bytes, const std::locale& locale) {
  const Index input_dim = bytes.between(0, 3) == 0 ? 1200 : bytes.between(1, 20);
  const Index num_experts = bytes.between(1, 20);
  const Index k = bytes.between(1, 2) == 2 && num_experts > 1 ? 2 : 1;
  if (kind == 0)
    check(comet::CometGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = k},
                              RandomKey(7)),
          bytes, locale);
  if (kind == 1)
    check(comet::DSelectKGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = k},
                                 RandomKey(7)),
          bytes, locale);
  if (kind == 2)
    check(comet::TopKGate<S>({.input_dim = input_dim, .num_experts = num_experts, .k = k},
                             RandomKey(7)),
          bytes, locale);
  if (kind == 3)
    check(comet::SoftmaxGate<S>({.input_dim = input_dim, .num_experts = num_experts}, RandomKey(7)),
          bytes, locale);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, size);
  const std::locale locale(std::locale::classic(), new AnyPunctuation(bytes));
  const auto kind = bytes.between(0, 8);
  if (kind == 8)
    check_hash(bytes, locale);
  else if (kind < 4)
    check_kind<float>(kind, bytes, locale);
  else
    check_kind<double>(kind - 4, bytes, locale);
  return 0;
}
