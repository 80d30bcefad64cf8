package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A sheet is a CSV file of results: a row for each contestant in each contest.
type sheet struct {
	file      string   // its name, without .csv
	keys      []string // columns that say of which contest a row is
	names     string   // the column of contestants; empty: "store"
	columns   []column // the first one has quartiles and a ratio too
	reference string   // the contestant to which the ratio is, if any
	results   []Result
}

// A column has the medians of a metric; the unit is in its name.
type column struct {
	name   string
	metric metric
}

// find returns the result with those keys. One without contestants stands for a contest that
// the run leaves out.
func (s *sheet) find(keys ...string) Result {
	for _, r := range s.results {
		if slices.Equal(r.Keys, keys) {
			return r
		}
	}
	return newResult(keys...)
}

// metric returns that of a column, or nil.
func (s *sheet) metric(column string) metric {
	for _, c := range s.columns {
		if c.name == column {
			return c.metric
		}
	}
	return nil
}

func (s *sheet) rows() [][]string {
	header := append(slices.Clone(s.keys), cmp.Or(s.names, "store"), "turns")
	for i, col := range s.columns {
		header = append(header, col.name)
		if i == 0 {
			header = append(header, col.name+"_q1", col.name+"_q3")
			if s.reference != "" {
				header = append(header, "ratio_to_"+strings.NewReplacer(" ", "_", "-", "_", ",", "").Replace(s.reference))
			}
		}
	}
	rows := [][]string{header}
	for _, r := range s.results {
		for _, name := range r.Names {
			if r.has(name) {
				rows = append(rows, s.row(r, name))
			}
		}
	}
	return rows
}

func (s *sheet) row(r Result, name string) []string {
	row := append(slices.Clone(r.Keys), name, strconv.Itoa(len(r.Samples[name])))
	for i, col := range s.columns {
		stat := r.stat(name, col.metric)
		row = append(row, plain(stat.Median))
		if i > 0 {
			continue
		}
		row = append(row, plain(stat.Q1), plain(stat.Q3))
		if s.reference != "" {
			row = append(row, plain(r.ratio(name, s.reference, col.metric).Median))
		}
	}
	return row
}

func (s *sheet) csv() ([]byte, error) {
	var text bytes.Buffer
	err := csv.NewWriter(&text).WriteAll(s.rows()) // which flushes
	return text.Bytes(), err
}

// plain writes a number with four digits that matter, for programs. One that was not measured
// is empty.
func plain(v float64) string {
	if math.IsNaN(v) || v == 0 {
		return ""
	}
	decimals := max(0, 3-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
