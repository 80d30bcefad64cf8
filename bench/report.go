package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
)

// A report has all that a run found.
type report struct {
	sheets []*sheet
	plots  map[string][]byte // by file name
}

// sheet returns the sheet of that file; one without results if the run left it out.
func (r *report) sheet(file string) *sheet {
	for _, s := range r.sheets {
		if s.file == file {
			return s
		}
	}
	return &sheet{file: file}
}

// markdown writes a table. Its first column is text, the others are figures.
func markdown(rows [][]string) string {
	var b strings.Builder
	rule := []string{"---"}
	for range len(rows[0]) - 1 {
		rule = append(rule, "--:")
	}
	for _, row := range slices.Insert(slices.Clone(rows), 1, rule) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

// table has a row for each contestant of its first column. A column reads "title|file|metric|keys".
func (r *report) table(title string, columns ...string) (string, error) {
	rows := [][]string{{title}}
	for i, column := range columns {
		spec := strings.Split(column, "|")
		if len(spec) != 4 {
			return "", fmt.Errorf("%q is no column", column)
		}
		s := r.sheet(spec[1])
		result := s.find(strings.Split(spec[3], ",")...)
		if i == 0 {
			for _, name := range result.Names {
				rows = append(rows, []string{name})
			}
		}
		rows[0] = append(rows[0], spec[0])
		for at, row := range rows[1:] {
			text := "-"
			if m := s.metric(spec[2]); m != nil {
				text = figure(result.stat(row[0], m).Median)
			}
			rows[1+at] = append(row, text)
		}
	}
	return markdown(rows), nil
}

// wrapped joins items by commas, in lines of at most 118 characters.
func wrapped(items []string, newline string) string {
	text, length := items[0], len(items[0])
	for _, item := range items[1:] {
		if length += 2 + len(item); length > 116 {
			text, length = text+","+newline+item, len(item)
			continue
		}
		text += ", " + item
	}
	return text
}

// print writes the sheets as tables of text.
func (r *report) print(w io.Writer, about string) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range r.sheets {
		fmt.Fprintf(out, "%s\n", s.file)
		for _, row := range s.rows() {
			fmt.Fprintln(out, strings.Join(row, "\t"))
		}
		fmt.Fprintln(out)
	}
	_, err := fmt.Fprintf(out, "%s\n%s\n", r.verdicts(), about)
	return errors.Join(err, out.Flush())
}

// page is RESULTS.md without its figures.
//
//go:embed results.tmpl
var page string

// write writes all files into a directory, RESULTS.md last.
func (r *report) write(dir, about string) error {
	files := make(map[string][]byte)
	var links []string
	for _, s := range r.sheets {
		text, err := s.csv()
		if err != nil {
			return err
		}
		name := "results/" + s.file + ".csv"
		files[name] = text
		links = append(links, fmt.Sprintf("[%s](%s)", s.file, name))
	}
	for name, svg := range r.plots {
		files[name] = svg
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"table": r.table, "arithmetic": r.arithmetic, "verdicts": r.verdicts,
		"about": func() string { return about },
		"files": func() string { return wrapped(links, "\n") },
	}).Parse(page)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := errors.Join(t.Execute(&text, nil), os.MkdirAll(filepath.Join(dir, "results"), 0o755)); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), text.Bytes(), 0o644)
}
