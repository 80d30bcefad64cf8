package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// The forms of output.
const (
	formTable = "table"
	formJSON  = "json"
	formJSONL = "jsonl"
)

// formFlag adds the flag that chooses among forms, the first of which is the default.
func formFlag(cmd *cobra.Command, form *string, forms ...string) {
	cmd.Flags().StringVarP(form, "output", "o", forms[0], "how to print: "+strings.Join(forms, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
	check := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(forms, *form) {
			return usagef("--output is %q; it must be one of %s", *form, strings.Join(forms, ", "))
		}
		if check != nil {
			return check(cmd, args)
		}
		return nil
	}
}

// rowsPerPart is the number of rows that a table holds and aligns at a time.
const rowsPerPart = 500

// A table prints rows whose columns are aligned, a part at a time.
type table struct {
	w    *tabwriter.Writer
	rows int
}

func (a *app) table(headings ...string) *table {
	t := &table{w: tabwriter.NewWriter(a, 4, 0, 2, ' ', 0)}
	if len(headings) > 0 {
		fmt.Fprintln(t.w, strings.Join(headings, "\t"))
	}
	return t
}

func (t *table) row(cells ...string) error {
	for i, cell := range cells {
		if cell = safeLine(cell); cell == "" {
			cell = "-"
		}
		cells[i] = cell
	}
	if _, err := fmt.Fprintln(t.w, strings.Join(cells, "\t")); err != nil {
		return err
	}
	if t.rows++; t.rows%rowsPerPart == 0 {
		return t.w.Flush()
	}
	return nil
}

func (t *table) end() error { return t.w.Flush() }

// A list prints values as one JSON document or one a line, each as it comes.
type list struct {
	a      *app
	name   string // of the document's member
	lines  bool
	values int
}

func (l *list) add(v any) error {
	text, err := encode(v, "")
	if err != nil {
		return err
	}
	if !l.lines {
		before := ",\n  "
		if l.values == 0 {
			before = fmt.Sprintf("{%q: [\n  ", l.name)
		}
		text = append([]byte(before), strings.TrimSuffix(string(text), "\n")...)
	}
	l.values++
	_, err = l.a.Write(text)
	return err
}

// end ends the document, with the number of values that could not be read.
func (l *list) end(unreadable int) error {
	if l.lines {
		return nil
	}
	before := "\n"
	if l.values == 0 {
		before = fmt.Sprintf("{%q: [", l.name)
	}
	_, err := fmt.Fprintf(l.a, "%s], \"unreadable\": %d}\n", before, unreadable)
	return err
}

// encode returns v as JSON that is safe for a terminal, on one line or, with an indent, on
// several.
func encode(v any, indent string) ([]byte, error) {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return safeJSON(w.Bytes()), nil
}
