// SPDX-License-Identifier: MIT
#include <movielens/data/file_kind.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace programs::movielens {
namespace {

using namespace std::string_view_literals;

struct Kind {
  std::string_view first_bytes;
  std::string_view reason;
};

constexpr std::string_view utf_16 =
    "is text in UTF-16, expected UTF-8: convert it, as with iconv -f UTF-16 -t UTF-8";
constexpr std::string_view utf_32 =
    "is text in UTF-32, expected UTF-8: convert it, as with iconv -f UTF-32 -t UTF-8";
constexpr std::string_view html = "is a web page, not the table that it may offer";
constexpr std::string_view json = "is JSON, expected a table as text: export it as CSV";
constexpr std::string_view pickle =
    "is a Python pickle, expected a table as text: export it as CSV";

constexpr auto kinds = std::to_array<Kind>({
    {"\x1F\x8B"sv, "is compressed by gzip: unpack it first, as with gunzip"},
    {"PK\3\4"sv, "is a zip archive or a spreadsheet (.xlsx): unpack it, or export it as CSV"},
    {"PK\5\6"sv, "is an empty zip archive"},
    {"BZh"sv, "is compressed by bzip2: unpack it first, as with bunzip2"},
    {"\xFD"
     "7zXZ\0"sv,
     "is compressed by xz: unpack it first, as with unxz"},
    {"\x28\xB5\x2F\xFD"sv, "is compressed by zstd: unpack it first, as with unzstd"},
    {"7z\xBC\xAF\x27\x1C"sv, "is a 7z archive: unpack it first"},
    {"Rar!\x1A"sv, "is a rar archive: unpack it first"},
    {"PAR1"sv, "is a Parquet file, expected a table as text: export it as CSV"},
    {"ARROW1"sv, "is an Arrow file, expected a table as text: export it as CSV"},
    {"\x89HDF"sv, "is an HDF5 file, expected a table as text: export it as CSV"},
    {"\x93NUMPY"sv, "is a NumPy array, expected a table as text: export it as CSV"},
    {"SQLite format 3\0"sv, "is an SQLite database, expected a table as text: export it as CSV"},
    {"\xD0\xCF\x11\xE0"sv, "is a spreadsheet (.xls): export it as CSV"},
    {"%PDF-"sv, "is a PDF, expected a table as text"},
    {"\x80\x02"sv, pickle},
    {"\x80\x03"sv, pickle},
    {"\x80\x04\x95"sv, pickle},
    {"\x80\x05\x95"sv, pickle},
    // Before UTF-16, whose mark is the beginning of one of them.
    {"\xFF\xFE\0\0"sv, utf_32},
    {"\0\0\xFE\xFF"sv, utf_32},
    {"\xFF\xFE"sv, utf_16},
    {"\xFE\xFF"sv, utf_16},
    {"<!DOCTYPE"sv, html},
    {"<!doctype"sv, html},
    {"<html"sv, html},
    {"<HTML"sv, html},
    {"<?xml"sv, "is XML, expected a table as text"},
    {"{\""sv, json},
    {"[{"sv, json},
    {"version https://git-lfs"sv, "is a pointer of Git LFS: fetch the file it stands for"},
});

/// Every other of the first letters is zero: UTF-16 without a mark.
bool alternates_with_zeros(std::string_view text) {
  if (text.size() < 4) return false;
  const std::size_t zero = text[0] == '\0' ? 0 : 1;
  for (std::size_t i = 0; i < 4; ++i)
    if ((text[i] == '\0') != (i % 2 == zero)) return false;
  return true;
}

}  // namespace

std::string_view other_kind_of_file(std::string_view first_bytes) {
  for (const Kind& kind : kinds)
    if (first_bytes.starts_with(kind.first_bytes)) return kind.reason;
  return alternates_with_zeros(first_bytes) ? utf_16 : std::string_view{};
}

}  // namespace programs::movielens
