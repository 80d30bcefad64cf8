package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// Text of servers and clients may contain sequences that move a terminal's cursor, set its
// title or write to its clipboard, and characters that reverse the order of a line. All
// output passes through the functions of this file.

// safeText returns s without such sequences and characters, but with its newlines.
func safeText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || !hidden(r) {
			return r
		}
		return -1
	}, ansi.Strip(strings.ToValidUTF8(s, string(utf8.RuneError))))
}

// safeLine is safeText on one line.
func safeLine(s string) string {
	return strings.Join(strings.Fields(safeText(s)), " ")
}

// hidden reports whether a terminal would interpret r instead of showing it.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// safeJSON escapes such characters in JSON; the JSON keeps its meaning.
func safeJSON(encoded []byte) []byte {
	text := strings.ToValidUTF8(string(encoded), string(utf8.RuneError))
	if strings.IndexFunc(text, func(r rune) bool { return r != '\n' && hidden(r) }) < 0 {
		return []byte(text)
	}
	var w strings.Builder
	for _, r := range text {
		if r != '\n' && hidden(r) {
			fmt.Fprintf(&w, `\u%04x`, r) // hidden characters are all below U+10000
		} else {
			w.WriteRune(r)
		}
	}
	return []byte(w.String())
}
