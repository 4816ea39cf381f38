// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <comet/core/make_experts.hpp>
#include <comet/experts/dense.hpp>
#include <comet/gates/comet.hpp>
#include <comet/moe_layer.hpp>
#include <comet/training/routing_recorder.hpp>

#include <support/catch.hpp>
#include <support/locale.hpp>
#include <support/model.hpp>

using namespace comet;
using nlohmann::json;

namespace {

/// Two rows, the first of two experts.
template <class S>
Routing<S> two_rows(S weight) {
  Routing<S> routing;
  routing.push(0, weight);
  routing.push(2, S(1) - weight);
  routing.end_sample();
  routing.push(2, S(1));
  routing.end_sample();
  return routing;
}

template <class S>
std::string line_of(const RoutingRecord<S>& record) {
  std::ostringstream out;
  write_json_line(out, record);
  return out.str();
}

}  // namespace

TEST_CASE("a recorder keeps the last steps, a record per gate") {
  RoutingRecorder<double> recorder({.capacity = 2});
  const std::vector<Routing<double>> routings{two_rows(0.25), two_rows(0.5)};
  for (Index step = 10; step < 13; ++step) {
    const auto records = recorder.record(step, routings, 3);
    REQUIRE(records.size() == 2);
    CHECK(records[1].step == step);
    CHECK(records[1].gate == 1);
    CHECK(records[0].rows.num_samples() == 0);
  }
  REQUIRE(recorder.num_steps() == 2);
  CHECK(recorder.steps().front()[0].step == 11);
  CHECK(recorder.steps().back()[0].step == 12);
  const RoutingSummary& summary = recorder.steps().back()[0].summary;
  CHECK(summary.load == std::vector<Index>{1, 0, 2});
  CHECK(summary.mass == std::vector<double>{0.125, 0, 0.875});
  CHECK(summary.experts_per_sample == 1.5);
  CHECK_THROWS_WITH(recorder.rows(0),
                    "comet::RoutingRecorder::rows: rows are not kept: make the recorder with "
                    ".keep_rows = true");
  // What is refused leaves no step behind.
  CHECK_THROWS_AS(recorder.record(13, routings, 2), std::invalid_argument);
  CHECK(recorder.steps().back()[0].step == 12);
  recorder.clear();
  CHECK(recorder.num_steps() == 0);
  CHECK_THROWS_WITH(RoutingRecorder<float>({.capacity = 0}),
                    "comet::RoutingRecorder: capacity is 0, expected at least 1");
}

TEST_CASE("rows are kept on request, gate by gate") {
  RoutingRecorder<float> recorder({.keep_rows = true});
  const std::vector<Routing<float>> routings{two_rows(0.25F), two_rows(0.5F)};
  recorder.record(0, routings, 3);
  recorder.record(1, routings, 3);
  const auto rows = recorder.rows(1);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0].dense(3) == routings[1].dense(3));
  CHECK_THROWS_WITH(recorder.rows(2),
                    "comet::RoutingRecorder::rows: gate is 2, expected at most the last of the "
                    "step = 1");
  CHECK_THROWS_AS(recorder.rows(-1), std::invalid_argument);
}

TEMPLATE_TEST_CASE("a line of JSON reads back as the record, whatever the locale", "",
                   COMET_TEST_SCALARS) {
  using S = TestType;
  constexpr Index n = 6, num_samples = 1500;
  MoeLayer layer(CometGate<S>({.input_dim = 4, .num_experts = n, .k = 2}, RandomKey(1)),
                 make_experts<DenseExpert<S>>(n, {.input_dim = 4, .output_dim = 1}, RandomKey(2)));
  Pass pass(layer);
  const Matrix<S> x = test::random_matrix<S>(4, num_samples, 3);
  Matrix<S> y(1, num_samples);
  layer.predict(x, y, pass);
  RoutingRecorder<S> recorder({.keep_rows = true});
  const auto& record = recorder.record(1234567, pass)[0];
  const std::string plain = line_of(record);
  {
    const test::GroupingLocale locale;
    CHECK(line_of(record) == plain);
  }
  CHECK(plain.find('\n') == plain.size() - 1);
  const json read = json::parse(plain);
  const RoutingSummary& summary = record.summary;
  CHECK(read.at("step") == 1234567);
  CHECK(read.at("gate") == 0);
  CHECK(read.at("num_experts") == n);
  CHECK(read.at("num_rows") == num_samples);
  CHECK(read.at("experts_per_sample").get<double>() == summary.experts_per_sample);
  CHECK(read.at("effective_experts").get<double>() == summary.effective_experts);
  CHECK(read.at("effective_per_sample").get<double>() == summary.effective_per_sample);
  CHECK(read.at("mutual_information").get<double>() == summary.mutual_information);
  CHECK(read.at("load").get<std::vector<Index>>() == summary.load);
  CHECK(read.at("mass").get<std::vector<double>>() == summary.mass);
  Routing<S> rows;
  for (const json& row : read.at("rows")) {
    for (const json& entry : row) rows.push(entry.at(0).get<ExpertId>(), entry.at(1).get<S>());
    rows.end_sample();
  }
  CHECK(test::same_bits(rows.dense(n), pass.workspace.routing().dense(n)));
}

TEST_CASE("what is no number in JSON is null, and rows that are not kept are not there") {
  RoutingRecord<float> record{.step = 3, .gate = 1, .summary = {.num_experts = 1}};
  record.summary.experts_per_sample = std::numeric_limits<double>::infinity();
  record.summary.mass = {std::nan("")};
  record.summary.load = {0};
  CHECK(line_of(record) ==
        "{\"step\":3,\"gate\":1,\"num_experts\":1,\"num_rows\":0,\"experts_per_sample\":null,"
        "\"effective_experts\":0,\"effective_per_sample\":0,\"mutual_information\":0,"
        "\"load\":[0],\"mass\":[null]}\n");
}
